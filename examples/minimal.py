"""The whole CIFAR-10 program in plain JAX, Flax and optax: read it from top to bottom.

Two convolutions, two dense layers, Adam at 1e-3, batches of 64, 20 epochs, pixels to -1 .. 1.

python examples/minimal.py cifar10.npz     # x_train, y_train, x_test, y_test: uint8 [n, h, w, c]
python examples/minimal.py images/       # images/train/CLASS/*.jpg and images/test/CLASS/*
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

BATCH = 64
OPTIMIZER = optax.adam(1e-3)
Split = tuple[np.ndarray, np.ndarray]  # uint8 [n, h, w, 3] and int32 [n]


class Net(nn.Module):
    """conv-relu-pool twice, then two dense layers: 545,098 parameters for 32x32 images."""

    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits [n, classes] of images [n, h, w, 3]."""
        for block, features in enumerate((32, 64), start=1):
            x = nn.relu(nn.Conv(features, (3, 3), name=f"conv{block}")(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(128, name="hidden")(x))
        return nn.Dense(self.classes, name="head")(x)


def normalize(images: jax.Array) -> jax.Array:
    """Return pixels 0 .. 255 as -1 .. 1."""
    return (images.astype(jnp.float32) / 255 - 0.5) / 0.5


def loss_fn(params: Any, net: Net, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of a batch, in nats."""
    logits = net.apply({"params": params}, normalize(images))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()  # pyright: ignore


@partial(jax.jit, static_argnums=2)
def train_step(params: Any, opt_state: Any, net: Net, images: Any, labels: Any) -> Any:
    """Return parameters and optimizer state after one step, and the loss before it."""
    loss, gradient = jax.value_and_grad(loss_fn)(params, net, images, labels)
    updates, opt_state = OPTIMIZER.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


@partial(jax.jit, static_argnums=1)
def correct(params: Any, net: Net, images: Any, labels: Any) -> jax.Array:
    """Return how many images of a batch are named rightly."""
    logits: Any = net.apply({"params": params}, normalize(images))
    return (logits.argmax(-1) == labels).sum()


def init(net: Net, key: jax.Array, size: tuple[int, ...] = (32, 32, 3)) -> tuple[Any, Any]:
    """Return the first parameters and optimizer state."""
    params = net.init(key, jnp.zeros((1, *size)))["params"]
    return params, OPTIMIZER.init(params)


def read_folder(folder: Path) -> Split:
    """Return the images of a folder with one sub-folder per class, in the order of names."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    paths = [(path, k) for k, place in enumerate(classes) for path in sorted(place.iterdir())]
    images = [np.asarray(Image.open(path).convert("RGB")) for path, _ in paths]
    return np.stack(images), np.array([label for _, label in paths], np.int32)


def read(where: Path) -> tuple[Split, Split]:
    """Return train and test of an npz file or of a folder."""
    if where.is_dir():
        return read_folder(where / "train"), read_folder(where / "test")
    with np.load(where, allow_pickle=False) as file:
        train, test = ((file[f"x_{s}"], file[f"y_{s}"].astype(np.int32)) for s in ("train", "test"))
    return train, test


def batches(split: Split, order: np.ndarray) -> Iterator[Split]:
    """Give the images in this order, the last batch as short as it comes."""
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield split[0][rows], split[1][rows]


def main() -> None:
    """Train, and print loss and test accuracy of each epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = read(options.data)
    net, shuffle = Net(int(train[1].max()) + 1), np.random.default_rng(options.seed)
    params, opt_state = init(net, jax.random.key(options.seed), train[0].shape[1:])
    for epoch in range(1, options.epochs + 1):
        losses = []
        for images, labels in batches(train, shuffle.permutation(len(train[1]))):
            params, opt_state, loss = train_step(params, opt_state, net, images, labels)
            losses.append(loss)
        right = sum(int(correct(params, net, *b)) for b in batches(test, np.arange(len(test[1]))))
        mean = float(np.mean(losses))
        print(f"epoch {epoch}: loss {mean:.4f}, test accuracy {right / len(test[1]):.4f}")


if __name__ == "__main__":
    main()
