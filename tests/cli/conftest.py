"""A run of four classes, told by their colours, with names that are hard on a file system."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import imgrec_jax

NAMES = ("猫", "a/b", "CON", "dog")
COLOURS = np.asarray([[220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 220]])


class Coloured(NamedTuple):
    """The run's workdir, its data source, and class names and test images of it."""

    workdir: Any
    source: str
    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray


def coloured(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n images uint8[n, 8, 8, 3] and their classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    noise = generator.integers(-25, 26, (n, 8, 8, 3))
    return (COLOURS[labels][:, None, None] + noise).astype(np.uint8), labels


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Coloured:
    """A finished run that knows the four colours."""
    folder = tmp_path_factory.mktemp("trained")
    images, labels = coloured(40, seed=1)
    learned, their_labels = coloured(160, seed=0)
    data = {"x_train": learned, "y_train": their_labels, "x_test": images, "y_test": labels}
    np.savez(folder / "colours.npz", **data, label_names=NAMES)
    config = imgrec_jax.get_config(
        "digits",
        epochs=6,
        batch_size=32,
        augment="",
        ops="plain",
        log__report=False,
        data__source=f"npz:{folder / 'colours.npz'}",
        model__convnet__width=4,
        model__convnet__hidden=16,
        parallel__mode="single",
    )
    run = imgrec_jax.train(config, folder / "run")
    assert run.metrics["test_accuracy"] == 1.0
    return Coloured(folder / "run", f"npz:{folder / 'colours.npz'}", NAMES, images, labels)


NEW = ("sea", "sun", "night")
NEW_COLOURS = np.asarray([[40, 200, 200], [220, 220, 40], [10, 10, 10]])


@pytest.fixture(scope="session")
def unseen(tmp_path_factory) -> str:
    """A source of three colours that the run does not know: 90 images in train, 60 in test."""
    generator, splits = np.random.default_rng(5), {}
    for split, n in (("train", 90), ("test", 60)):
        labels = np.arange(n) % 3
        noise = generator.integers(-10, 11, (n, 8, 8, 3))
        splits[f"x_{split}"] = (NEW_COLOURS[labels][:, None, None] + noise).astype(np.uint8)
        splits[f"y_{split}"] = labels
    path = tmp_path_factory.mktemp("unseen") / "new.npz"
    np.savez(path, **splits, label_names=NEW)
    return f"npz:{path}"
