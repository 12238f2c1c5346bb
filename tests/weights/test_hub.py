"""Weights from a hub on the loopback: what is fetched, kept, and said of images."""

import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax import get_config
from imgrec_jax.build import models
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.preprocessing import read_normalization
from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.mobile import MobileNet
from imgrec_jax.weights import hub
from imgrec_jax.weights.convert import write_variables
from imgrec_jax.weights.files import write_tensors

pytest.importorskip("huggingface_hub")
COMMIT = "0" * 40
TIMM = {
    "architecture": "resnet50",
    "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 160, 160],
        "crop_pct": 0.95,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
FACE = {
    "architectures": ["MobileNetV2ForImageClassification"],
    "id2label": {"1": "cat", "0": "ant", "2": "dog"},
    "layer_norm_eps": 0.002,
    "tf_padding": False,
}
IMAGES = {
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 256},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def encoded(value):
    return json.dumps(value).encode()


FILES = {
    "/timm/net.x/resolve/main/config.json": encoded(TIMM),
    "/timm/net.x/resolve/main/model.safetensors": b"weights",
    "/timm/net.x/resolve/old/config.json": encoded(TIMM),
    "/timm/net.x/resolve/old/model.safetensors": b"old weights",
    "/face/net/resolve/main/config.json": encoded(FACE),
    "/face/net/resolve/main/preprocessor_config.json": encoded(IMAGES),
    "/face/net/resolve/main/model.safetensors": b"weights",
    "/face/pickle/resolve/main/config.json": encoded(TIMM),
    "/face/odd/resolve/main/config.json": encoded({"architectures": ["X"]}),
    "/face/odd/resolve/main/preprocessor_config.json": encoded({"size": 224}),
}


class Server(ThreadingHTTPServer):
    """A hub with a few files; it remembers what was asked."""

    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        if body := self.answer():
            self.wfile.write(body)

    def answer(self):
        path = self.path.partition("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        body = FILES.get(path)
        known = any(name.startswith("/".join(path.split("/")[:3]) + "/") for name in FILES)
        self.send_response(200 if body else 404)
        if body:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT if "/main/" in path else "1" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        return body

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    with Server(("127.0.0.1", 0), Handler) as made:
        made.requests = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


PROGRAM = """
import sys
from imgrec_jax.core.errors import UserError
from imgrec_jax.weights.hub import fetch
for name in sys.argv[1:]:
    try:
        path, expected = fetch(name)
        print(path.read_text(), path, tuple(expected), sep="|")
    except UserError as error:
        print(error)
"""


def fetched(server, home, *names, **environment):
    """Return the lines of a process with an environment of its own, which is read at its start."""
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **environment,
    }
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | settings
    command = [sys.executable, "-c", PROGRAM, *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def home(server, tmp_path_factory):
    """A cache, and what was said when it was filled."""
    folder = tmp_path_factory.mktemp("home")
    names = ["hf:timm/net.x", "hf:timm/net.x@old", "hf:face/net", "hf:face/none", "hf:face/pickle"]
    messages = fetched(server, folder, *names, "hf:face/odd")
    return SimpleNamespace(folder=folder, messages=messages)


def test_what_is_fetched_lies_in_hf_home(home, server):
    content, path, expected = home.messages[0].split("|")
    assert content == "weights"
    assert path.startswith(str(home.folder))
    assert path.endswith(f"/snapshots/{COMMIT}/model.safetensors")
    assert expected == ("((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 160, 0.95, (), {})")
    assert home.messages[1].startswith("old weights|")
    assert "GET /timm/net.x/resolve/main/model.safetensors" in server.requests


def test_what_transformers_says_of_images(home):
    assert home.messages[2].split("|")[2] == (
        "((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 224, 0.875, ('ant', 'cat', 'dog'), "
        "{'epsilon': 0.002, 'same': False})"
    )


@pytest.mark.parametrize(
    ("preprocessor", "size", "crop"),
    [
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, 0.875),  # ResNet, ConvNeXt
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, 384, 1.0),
        ({"size": {"height": 224, "width": 224}}, 224, 1.0),  # ViT
        ({"size": 256, "crop_size": 224, "do_center_crop": True}, 224, 0.875),
        ({"size": 256, "crop_size": 224, "do_center_crop": False}, 256, 1.0),
    ],
)
def test_sizes_as_transformers_spells_them(preprocessor, size, crop, tmp_path, monkeypatch):
    messages = {
        **IMAGES,
        **{k: preprocessor.get(k) for k in ("crop_size", "do_center_crop")},
        **preprocessor,
    }
    (tmp_path / "config.json").write_text(json.dumps(FACE), encoding="utf-8")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(messages), encoding="utf-8")
    monkeypatch.setattr(hub, "_download", lambda name, file: tmp_path / file)
    _, expected = hub.fetch("hf:x/y")
    assert (expected.size, expected.crop) == (size, crop)


def test_what_is_not_there_is_told(home):
    assert home.messages[3].startswith(
        "expected weights on the hub, got hf:face/none, which does not exist"
    )
    assert home.messages[4].startswith(
        "expected model.safetensors in hf:face/pickle, got none; try"
    )
    assert home.messages[5].startswith(
        "expected hf:face/odd to say in config.json or preprocessor_"
    )


def test_offline_the_cache_is_asked_alone(home, server):
    before = len(server.requests)
    cached, missing = fetched(
        server, home.folder, "hf:timm/net.x", "hf:timm/other", HF_HUB_OFFLINE="1"
    )
    assert cached == home.messages[0]
    assert missing.startswith("expected config.json of hf:timm/other in the cache, as the hub")
    assert len(server.requests) == before


TINY = functools.partial(MobileNet, stages=(), activation=nn.relu, stem=4, top=4)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function that puts weights of a tiny network on the hub, with what they expect."""
    monkeypatch.setitem(models.MODELS, "tiny", TINY)
    images = np.zeros((1, 8, 8, 3), np.float32)
    variables = jax.jit(TINY(num_classes=3).init)(jax.random.key(0), images)
    path = tmp_path / "model.safetensors"
    write_tensors(path, write_variables(variables, kind="MobileNet", scheme="timm"))

    def publish(**changes):
        preprocessor = hub.Expected(
            (0.5,) * 3, (0.5,) * 3, 8, 0.5, ("a", "b", "c"), {"epsilon": 0.1}
        )
        monkeypatch.setattr(hub, "fetch", lambda name: (path, preprocessor._replace(**changes)))
        return variables

    return publish


def test_a_loaded_network_takes_the_images_it_was_trained_with(published, tmp_path):
    published()
    run = imgrec_jax.load_pretrained("hf:x/y", "tiny")
    assert run.image_shape == (8, 8, 3)
    assert run.labels == ("a", "b", "c")
    assert (run.mean, run.std, run.module.epsilon) == ((0.5,) * 3, (0.5,) * 3, 0.1)
    image = np.zeros((16, 16, 3), np.uint8)
    image[4:12, 4:12] = 200
    Image.fromarray(image).save(tmp_path / "a.png")
    middle = np.full((1, 8, 8, 3), 200, np.uint8)  # half of each side
    np.testing.assert_array_equal(run.predict(tmp_path / "a.png"), run.predict(middle))
    other = imgrec_jax.load_pretrained(
        "hf:x/y", "tiny", image_size=16, normalization="0.1,0.2,0.3/1,1,1", epsilon=0.5
    )
    assert other.image_shape == (16, 16, 3)
    assert (other.mean, other.module.epsilon) == ((0.1, 0.2, 0.3), 0.5)
    published(labels=("a", "b"))
    assert imgrec_jax.load_pretrained("hf:x/y", "tiny").labels == ("0", "1", "2")
    published(size=0)
    with pytest.raises(UsageError, match="expected image_size for hf:x/y, got none; try"):
        imgrec_jax.load_pretrained("hf:x/y", "tiny")


@pytest.fixture
def experiment(tmp_path):
    """A function that builds one on 8x8 images of three classes in a folder."""
    for split, label in itertools.product(("train", "test"), "abc"):
        (tmp_path / "data" / split / label).mkdir(parents=True)
        for number in range(2):
            file = tmp_path / "data" / split / label / f"{number}.png"
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)

    def build(**keys):
        keys = {"data__source": f"folder:{tmp_path / 'data'}", "model__name": "tiny", **keys}
        config = get_config("base", init_from="hf:x/y", parallel__mode="single", **keys)
        return build_experiment(config)

    return build


def test_training_starts_from_the_hub_with_the_same_images(published, experiment):
    variables = published(crop=1.0)
    made, messages = experiment(), []
    started = made.warm_start(made.init(), messages.append)
    jax.tree.map(np.testing.assert_array_equal, started.params, variables["params"])
    assert messages[0].strip() == "note  hf:x/y was trained with the model's epsilon=0.1"
    assert messages[1].endswith("model.safetensors: 12 tensors of timm")


def test_other_images_are_refused_with_the_overrides_that_mend_it(published, experiment):
    published(size=12, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with pytest.raises(UsageError) as caught:
        experiment().warm_start(None, print)
    messages = str(caught.value)
    assert messages.startswith(
        "expected images as hf:x/y was trained with, got data.normalization="
    )
    assert (
        "symmetric, images of 8x8, data.center_crop=1; try --config.data.normalization=imagenet "
        in messages
    )
    assert (
        "--config.data.image_size=12 --config.data.center_crop=0.5, or its file as init_from ("
        in messages
    )
    mended = {"data__normalization": "imagenet", "data__image_size": 12, "data__center_crop": 0.5}
    made = experiment(**mended)
    assert made.warm_start(made.init(), print).step == 0
    published(size=0, crop=1.0, mean=(0.1, 0.2, 0.3))
    with pytest.raises(UsageError, match=r"tion=0\.1,0\.2,0\.3/0\.5,0\.5,0\.5, or its file"):
        experiment().warm_start(None, print)
    made = experiment(data__normalization="0.1,0.2,0.3/0.5,0.5,0.5")
    assert made.warm_start(made.init(), print).step == 0


def test_a_normalization_in_numbers():
    assert read_normalization("0.1,0.2/1,2") == ([0.1, 0.2], [1.0, 2.0])
    with pytest.raises(UsageError, match="normalization 'imagnet'; did you mean 'imagenet'"):
        read_normalization("imagnet")
    with pytest.raises(UsageError, match=r"as many deviations, each .* got '0"):
        read_normalization("0.5/0")
