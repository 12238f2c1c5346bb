"""The installed package, without the clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

USE = """
import imgrec_jax
config = imgrec_jax.get_config("cifar10", batch_size=128, optim__learning_rate=0.5)
assert config.batch_size == 128 and config.optim.learning_rate == 0.5, config
assert "site" in imgrec_jax.__file__, imgrec_jax.__file__
assert {"cifar10", "cifar10_reference", "digits", "mnist"} <= set(imgrec_jax.config.known_configs())
import numpy as np
trained = imgrec_jax.train(imgrec_jax.get_config("digits", epochs=1), "run")
run = imgrec_jax.load("run")
images = np.zeros((3, 8, 8, 1), np.uint8)
probabilities = run.predict(images)
assert probabilities.shape == (3, 10) and abs(probabilities.sum(1) - 1).max() < 1e-5
assert (probabilities == trained.predict(images)).all()
from imgrec_jax.main import main
raise SystemExit(main(["--help"]))
"""


def test_the_wheel_carries_the_configs_trains_and_predicts_elsewhere(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {"imgrec_jax/configs/base.py", "imgrec_jax/main.py", "imgrec_jax/__main__.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "configs/", "benchmarks/"))]
    assert not [name for name in names if name.endswith((".npz", ".jpg", ".png"))]
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "digits" in done.stdout
