"""Super-resolution: its scores against plain NumPy, its colours, its predictions of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax.__main__ import main
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.config import get_config
from imgrec_jax.core import bicubic
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.models.super_resolution import ESPCN
from imgrec_jax.ops import image_quality
from imgrec_jax.runs import whole_image
from imgrec_jax.tasks.super_resolution import colour
from imgrec_jax.tasks.super_resolution.task import enlarge

SIZES = {"train/a": (40, 52), "train/b": (61, 38), "test/c": (41, 36), "test/grey": (30, 47)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Smooth images of several sizes, one of them grey."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        small = rng.uniform(0, 255, (height // 6, width // 6, 3))
        image = bicubic.resize(small, height, width).clip(0, 255).astype(np.uint8)
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0] if name.endswith("grey") else image).save(path)
    return root


def config_of(folder, **overrides):
    keys = {
        "task__name": "super_resolution",
        "task__super_resolution__scale": 2,
        "task__super_resolution__patch": 8,
        "data__source": f"super_resolution:{folder}",
        "data__normalization": "unit",
        "data__sampling": "shuffle(repeats=8)",
        "model__name": "espcn",
        "epochs": 2,
        "batch_size": 8,
        "eval_batch_size": 8,
        "parallel__mode": "single",
    }
    return get_config("base", **{**keys, **overrides})


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def workdir(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    imgrec_jax.train(config_of(folder), path)
    return path


@pytest.fixture(scope="module")
def run(workdir):
    return imgrec_jax.load(workdir)


def test_scores_are_those_of_each_image_alone(run, folder):
    """Of whole images, enlarged one by one, by the formula of PSNR."""
    ratios = []
    for name in ("c", "grey"):
        stored = read(folder / f"test/{name}.png")
        height, width = (side // 2 * 2 for side in stored.shape[:2])
        planes = stored.reshape(*stored.shape[:2], -1)[:height, :width]
        truth = np.broadcast_to(planes, (height, width, 3)).astype(np.float64)
        low = np.rint(bicubic.downscale(truth, 2).clip(0, 255) * 257).astype(np.uint16)
        batch = {"image": low[None], "grey": np.array([name == "grey"])}
        outputs = jax.jit(run.task.predict)(run.params, run.model_state, batch)
        predicted = np.floor(np.asarray(outputs["luma"])[0] + 0.5).clip(0, 255)
        luma = np.floor(np.asarray(image_quality.luma(jnp.asarray(truth, jnp.float32))) + 0.5)
        error = (predicted - (truth[..., 0] if name == "grey" else luma))[2:-2, 2:-2]
        ratios.append(10 * np.log10(255**2 / np.mean(error**2)))
    assert run.metrics["test_psnr"] == pytest.approx(np.mean(ratios), abs=2e-3)
    assert run.metrics["test_psnr_bicubic"] > 20
    assert 0 < run.metrics["test_ssim"] < run.metrics["test_ssim_bicubic"] < 1


def test_a_large_image_is_enlarged_in_tiles_as_a_whole(run, monkeypatch):
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    whole = run.look(image)
    assert whole.shape == (140, 180, 3)
    monkeypatch.setattr(whole_image, "_TILE", 32)
    monkeypatch.setattr(whole_image, "_OVERLAP", 6)
    np.testing.assert_allclose(run.look(image), whole, atol=1e-6)


def test_predict_takes_images_of_any_one_size(run, folder):
    assert run.predict([folder / "test/c.png"]).shape == (1, 82, 72, 3)
    with pytest.raises(UsageError, match="images of one size in a call, got 2 of several"):
        run.predict([folder / "test/c.png", folder / "test/grey.png"])
    with pytest.raises(UsageError, match=r"uint8\[n, h, w, 3\], got float64"):
        run.predict(np.zeros((1, 4, 4, 3)))


def test_the_verbs(run, workdir, folder, tmp_path, capsys):
    assert (workdir / "report.html").stat().st_size > 10_000
    out, image = tmp_path / "out", str(folder / "test/c.png")
    assert main(["predict", str(workdir), image, f"--out={out}"]) == 0
    assert "x2: 72x82" in capsys.readouterr().out
    assert read(out / "c_x2.png").shape == (82, 72, 3)
    assert read(out / "c_bicubic_and_enlarged.png").shape == (82, 2 * 72 + 4, 3)
    assert main(["evaluate", str(workdir)]) == 0
    printed = capsys.readouterr().out
    assert f"PSNR {run.metrics['test_psnr']:.2f} dB (bicubic" in printed
    assert main(["evaluate", str(workdir), f"--data=folder:{folder / 'train'}"]) == 0
    assert "train" in capsys.readouterr().out


def test_it_learns_to_beat_bicubic_enlargement(tmp_path):
    """Of sharp blocks, whose edges bicubic enlargement blurs."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 2)):
        (tmp_path / split).mkdir()
        for number in range(count):
            blocks = rng.integers(0, 2, (12, 12, 1)).repeat(3, 2).astype(np.uint8) * 200 + 20
            pixels = blocks.repeat(4, 0).repeat(4, 1)
            Image.fromarray(pixels).save(tmp_path / split / f"{number}.png")
    settings = {"optim__learning_rate": 5e-3, "data__sampling": "shuffle(repeats=64)"}
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam relies on it
        run = imgrec_jax.train(config_of(tmp_path, epochs=12, **settings), tmp_path / "run")
    assert run.metrics["test_psnr"] > run.metrics["test_psnr_bicubic"] + 3


def test_colours_come_back():
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 5, 6, 3)), jnp.float32)
    luma = colour.network_channels(images, "y")[..., 0]
    np.testing.assert_allclose(colour.with_luma(images, luma), images, atol=1e-5)
    grey = jnp.array([True, False])
    of = colour.network_channels(images, "y", grey)[..., 0]
    np.testing.assert_allclose(of[0], images[0, ..., 0], atol=1e-6)
    np.testing.assert_array_equal(of[1], luma[1])
    found = np.asarray(colour.with_luma(images, of, grey))
    np.testing.assert_allclose(found[0], np.asarray(images[0, ..., :1]).repeat(3, 2), atol=1e-6)
    np.testing.assert_array_equal(colour.network_channels(images, "rgb"), images)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__name": "convnet"}, "model that enlarges images 'convnet'"),
        ({"data__source": "digits"}, r"expected a data\.source of images for pairs"),
        ({"task__super_resolution__patch": 200}, r"at least 400x400 pixels, got 52x40"),
        ({"mix": "mixup"}, "expected mix='' for task 'super_resolution'"),
    ],
)
def test_what_does_not_fit_is_refused(folder, overrides, message):
    with pytest.raises(UserError, match=message):
        build_experiment(config_of(folder, **overrides))


def test_settings_of_the_task_are_checked():
    with pytest.raises(UsageError, match="scale of 2 or more, got 1"):
        enlarge(ESPCN(scale=1), scale=1)
    with pytest.raises(UsageError, match="channels of y or rgb, got 'yuv'"):
        enlarge(ESPCN(), scale=3, channels="yuv")
    with pytest.raises(UsageError, match="loss 'huber'; known: charbonnier, l1, l2"):
        enlarge(ESPCN(), scale=3, loss="huber")
