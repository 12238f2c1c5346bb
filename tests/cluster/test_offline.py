"""Preparing images and training with the network off, as docs/offline.md says."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

# Its own network namespace has loopback and nothing else; as a user, within its own user namespace.
UNSHARE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]


def permitted():
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def offline(tmp_path):
    """Return a function that runs `python` with the network off."""
    if not permitted():
        pytest.skip("unshare --net is not permitted here, so the network cannot be turned off")

    def run(*arguments):
        return subprocess.run(
            [*UNSHARE, sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def draw_images(folder):
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for brightness, name in ((0, "dark"), (150, "light")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                noise = generator.integers(0, 60, (8, 8, 3)) + brightness
                cv2.imwrite(str(folder / split / name / f"{i}.png"), noise.astype(np.uint8))


def test_the_network_is_off(offline):
    """Else the other tests here would show nothing."""
    done = offline("-c", "import socket; socket.create_connection(('192.0.2.1', 80))")
    assert "Network is unreachable" in done.stderr


def test_images_are_packed_and_learned_without_a_network(offline, tmp_path):
    draw_images(tmp_path / "images")
    packed = offline("-m", "imgrec_jax", "data", "pack", "folder:images", "--out=packed")
    assert packed.returncode == 0, packed.stderr
    trained = offline(
        "-m",
        "imgrec_jax.main",
        "--config=cifar10",
        "--config.data.source=array_record:packed",
        "--config.epochs=1",
        "--config.batch_size=8",
        "--config.model.convnet.width=4",
        "--config.model.convnet.hidden=8",
        "--workdir=run",
    )
    assert trained.returncode == 0, trained.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["step"]) == ("finished", 5)


def test_packing_does_not_load_jax(tmp_path):
    """On a login node no accelerator is taken, whatever JAX_PLATFORMS says."""
    draw_images(tmp_path / "images")
    pack = "main(['pack', 'folder:images', '--out=packed', '--workers=1'])"
    code = f"import sys; from imgrec_jax.cli.data import main; print({pack}, 'jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("0 False\n"), done.stderr
