import functools
import json
import pickle
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import on

import imgrec_jax
from imgrec_jax.build import models
from imgrec_jax.build.initial_state import first_weights
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.state import create
from imgrec_jax.models.vit import ViT
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.weights.convert import find_scheme, read_variables, write_variables
from imgrec_jax.weights.files import read_tensors, write_tensors
from imgrec_jax.weights.start import start_from_file

TINY = functools.partial(ViT, patch=4, width=8, depth=1, heads=2)


@pytest.fixture
def variables():
    return jax.jit(TINY(num_classes=3).init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


@pytest.fixture
def file(variables, tmp_path, monkeypatch):
    monkeypatch.setitem(models.MODELS, "tiny", TINY)
    path = tmp_path / "tiny.safetensors"
    write_tensors(path, write_variables(variables, kind="ViT", scheme="timm"))
    return path


def test_torchs_layout(variables):
    """[out, in, rows, columns]; query, key and value one below the other."""
    tensors = write_variables(variables, kind="ViT", scheme="timm")
    params = variables["params"]
    embed = tensors["patch_embed.proj.weight"]
    assert embed.shape == (8, 3, 4, 4)
    assert embed[5, 2, 1, 3] == params["embed"]["kernel"][1, 3, 2, 5]
    fused = tensors["blocks.0.attn.qkv.weight"]
    assert fused.shape == (24, 8)
    assert fused[8 + 2, 6] == params["block1"]["attention"]["key"]["kernel"][6, 2]
    assert set(tensors) >= {"cls_token", "pos_embed", "norm.weight", "head.bias"}


def test_all_that_does_not_fit_is_listed(variables):
    tensors = write_variables(variables, kind="ViT", scheme="timm")
    del tensors["norm.bias"]
    tensors["blocks.0.ls1.gamma"] = np.ones(8, np.float32)
    tensors["head.weight"] = np.ones((3, 9), np.float32)
    with pytest.raises(UserError) as error:
        read_variables(tensors, variables, kind="ViT", scheme="timm")
    message = str(error.value)
    assert "got 3 that do not fit" in message
    assert "missing norm/bias (norm.bias)" in message
    assert "unused blocks.0.ls1.gamma" in message
    assert "misshapen head.weight (9, 3) for head/kernel (8, 3)" in message


def test_whose_names_they_are(variables):
    for scheme in ("timm", "torchvision", "huggingface"):
        names = list(write_variables(variables, kind="ViT", scheme=scheme))
        assert find_scheme("ViT", names) == scheme
    with pytest.raises(UserError, match="as timm, torchvision or Hugging Face name them"):
        find_scheme("ViT", ["conv1.weight", "layer1.0.conv1.weight"])
    with pytest.raises(UsageError, match="expected a network with published weights"):
        find_scheme("ConvNet", [])


def test_the_names_of_torchvisions_first_vits(variables):
    tensors = write_variables(variables, kind="ViT", scheme="torchvision")
    old = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): tensor
        for name, tensor in tensors.items()
    }
    assert "encoder.layers.encoder_layer_0.mlp.linear_2.bias" in old
    read = read_variables(old, variables, kind="ViT", scheme="torchvision")
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_a_loaded_network_is_a_run(file, variables):
    run = imgrec_jax.load_pretrained(file, model="tiny", image_size=8, labels=("a", "b", "c"))
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    assert run.labels == ("a", "b", "c")
    np.testing.assert_allclose(run.predict(images).sum(1), 1.0, rtol=1e-5)
    assert run.features(images).shape == (2, 8)
    expected = TINY(num_classes=0).apply(variables, run.inputs(images))
    np.testing.assert_allclose(run.features(images), expected, atol=1e-4)
    assert run.logits(run.inputs(images)).shape == (2, 3)


def test_positions_for_larger_images(file, variables):
    run = imgrec_jax.load_pretrained(file, model="tiny", image_size=16)
    positions = run.params["positions"]
    assert positions.shape == (1, 17, 8)
    np.testing.assert_array_equal(positions[:, 0], variables["params"]["positions"][:, 0])
    assert run.logits(np.zeros((1, 16, 16, 3), np.float32)).shape == (1, 3)


def test_positions_of_a_run_for_larger_images(tmp_path):
    """From 8x8 to 16x16 pixels: four patches and the class token, sixteen and the class token."""
    own = {"positions": np.ones((1, 5, 8), np.float32), "class_token": np.ones((1, 1, 8))}
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(create(own, {}, {}, ema=False), {}, {})
    config, message = imgrec_jax.get_config("base", init_from=str(tmp_path)), []
    for tokens, value in ((17, 1.0), (16, 0.0)):  # without a class token they stand elsewhere
        fresh = {
            "positions": np.zeros((1, tokens, 8), np.float32),
            "class_token": np.zeros((1, 1, 8)),
        }
        state = create(fresh, {}, {}, ema=False)
        started = first_weights(config, {}, None, on(1), state, message.append)
        assert started.params["positions"].shape == (1, tokens, 8)
        np.testing.assert_allclose(started.params["positions"], value, rtol=1e-5)
        np.testing.assert_array_equal(started.params["class_token"], 1.0)
    assert [line.split()[-1] for line in message] == [
        "positions",
        "class_token",
        "positions",
        "positions",
    ]


def test_a_run_is_written_for_others(file, variables, tmp_path):
    run = imgrec_jax.load_pretrained(file, model="tiny", image_size=8)
    imgrec_jax.save_pretrained(run, tmp_path / "face.safetensors", scheme="huggingface")
    tensors = read_tensors(tmp_path / "face.safetensors")
    assert "vit.encoder.layer.0.attention.attention.query.weight" in tensors
    read = read_variables(tensors, variables, kind="ViT", scheme="huggingface")
    jax.tree.map(np.testing.assert_array_equal, read, variables)
    with pytest.raises(UsageError, match="expected a scheme of timm, torchvision, huggingface"):
        imgrec_jax.save_pretrained(run, tmp_path / "x.safetensors", scheme="keras")


def test_what_cannot_be_loaded(file, tmp_path):
    with pytest.raises(UsageError, match="expected labels for the 3 classes"):
        imgrec_jax.load_pretrained(file, model="tiny", image_size=8, labels=("a",))
    with pytest.raises(UsageError, match="did you mean 'tiny'"):
        imgrec_jax.load_pretrained(file, model="tny", image_size=8)
    with pytest.raises(UsageError, match="takes no 'eps'"):
        imgrec_jax.load_pretrained(file, model="tiny", image_size=8, eps=1.0)
    with pytest.raises(UserError, match=r"expected a .safetensors file, got none at"):
        read_tensors(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"damaged.safetensors: .* try to download it again"):
        read_tensors(damaged)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"got .*model.pt, a pickle, .*save_file\(torch.load"):
        read_tensors(path)


class Trap:
    """Unpickling it would be the end."""

    def __reduce__(self):
        return (SystemExit, ("opened",))


def test_low_precision_is_read_as_float32(tmp_path):
    path = tmp_path / "half.safetensors"
    write_tensors(path, {"x": np.array([1.5, -2.0], np.float16), "n": np.array(3)})
    tensors = read_tensors(path)
    assert tensors["x"].dtype == np.float32
    assert tensors["n"].dtype.kind == "i"
    np.testing.assert_array_equal(tensors["x"], [1.5, -2.0])


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "C64", "F4"])
def test_types_that_need_a_scale_are_refused_in_one_line(tmp_path, dtype):
    size = {"C64": 8, "F4": 1}.get(dtype, 2)
    about = {"dtype": dtype, "shape": [size // 8 or 2], "data_offsets": [0, size]}
    header = json.dumps({"layer.weight": about}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(UserError, match=f"got {dtype} for 'layer.weight' in .*; try ") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [3, 5])
def test_training_starts_from_a_file(file, variables, classes):
    """A head for other classes is initialised, everything else is taken."""
    fresh = jax.jit(TINY(num_classes=classes).init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    fresh["params"]["head"]["bias"] += 7.0
    message = []
    state = create(fresh["params"], {}, (), ema=True)
    begun = start_from_file(str(file), "ViT", state, message.append)
    for name, taken in variables["params"].items():
        if name != "head":
            jax.tree.map(np.testing.assert_array_equal, begun.params[name], taken)
    np.testing.assert_array_equal(begun.params["head"]["bias"], 0.0 if classes == 3 else 7.0)
    assert begun.ema["params"] is begun.params
    assert ("initialised" in " ".join(message)) == (classes == 5)
