"""What to do with a trained network: look at it, probe its features, train its head anew.

python -m imgrec_jax.main --config=configs/digits.py
python examples/restore.py runs/digits
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image
from sklearn.linear_model import LogisticRegression

import imgrec_jax
from imgrec_jax.build.sources import open_source
from imgrec_jax.data.sources.source import gather
from imgrec_jax.runs.trained import Run


def draw_filters(run: Run, layer: str, path: Path, scale: int = 8) -> None:
    """Save the kernels [h, w, c, n] of a convolution side by side, from black to white."""
    kernel = np.asarray(run.params[layer]["kernel"]).mean(2)  # one grey value for all channels
    low, high = kernel.min(), kernel.max()
    tiles = np.pad((kernel - low) / (high - low), [(0, 1), (0, 1), (0, 0)], constant_values=1.0)
    row = np.concatenate([tiles[..., k] for k in range(tiles.shape[-1])], axis=1)
    image = Image.fromarray((255 * row).astype(np.uint8))
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)


def probe(run: Run, train: Any, test: Any) -> float:
    """Return the test accuracy of a linear classifier on the features of a frozen network."""
    features = run.features(train["image"])
    scale = features.std() + 1e-6
    linear = LogisticRegression(max_iter=500).fit(features / scale, train["label"])
    return float(linear.score(run.features(test["image"]) / scale, test["label"]))


def train_head(run: Run, train: Any, steps: int = 300) -> dict[str, Any]:
    """Return the parameters with a head that was trained anew, with plain JAX and optax."""
    features = jnp.asarray(run.features(train["image"]))
    labels = jnp.asarray(train["label"])
    optimizer = optax.adam(3e-2)
    head = jax.tree.map(jnp.zeros_like, run.params["head"])

    @jax.jit
    def step(head: Any, state: Any) -> tuple[Any, Any]:
        def loss(head: Any) -> jax.Array:
            logits = features @ head["kernel"] + head["bias"][None, :]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, state = optimizer.update(jax.grad(loss)(head), state)
        return optax.apply_updates(head, updates), state

    state = optimizer.init(head)
    for _ in range(steps):
        head, state = step(head, state)
    return {**run.params, "head": head}


def accuracy(run: Run, params: Any, images: Any) -> float:
    """Return the accuracy of the run's module with any parameters."""
    variables = {"params": params, **run.model_state}
    logits: Any = run.module.apply(variables, run.inputs(images["image"]), train=False)
    return float(np.mean(np.argmax(logits, -1) == images["label"]))


def main() -> None:
    """Restore a run and do all three with it."""
    parser = argparse.ArgumentParser(description="Use a trained network.")
    parser.add_argument("run", metavar="RUN", help="the workdir of a run")
    parser.add_argument("--filters", default="filters.png", help="where to draw its filters")
    options = parser.parse_args()

    run = imgrec_jax.load(options.run)
    print(f"restored    {run}")
    splits = open_source(run.config)
    train, test = (gather(splits[s], np.arange(len(splits[s]))) for s in ("train", "test"))

    probabilities = run.predict(test["image"][:1])[0]
    best = probabilities.argmax()
    print(f"predicted   {run.labels[best]} with {probabilities[best]:.3f}")

    draw_filters(run, "conv1", Path(options.filters))
    print(f"filters     {options.filters}")

    print(f"as trained  {accuracy(run, run.params, test):.4f} of the test images are right")
    print(f"probe       {probe(run, train, test):.4f} with a linear classifier on its features")
    params = train_head(run, train)
    print(f"new head    {accuracy(run, params, test):.4f} with a head trained anew")


if __name__ == "__main__":
    main()
