"""imgrec_jax: image-recognition research in JAX and Flax.

In a script or a notebook:

    run = imgrec_jax.load("runs/cifar10")
    probabilities = run.predict(["cat.jpg", "dog.jpg"])
    run = imgrec_jax.train(imgrec_jax.get_config("cifar10", epochs=5), "runs/short")
"""

from typing import Any

from imgrec_jax.config import get_config
from imgrec_jax.config_files import start_from

__version__ = "0.1.0"
__all__ = ["get_config", "load", "load_pretrained", "save_pretrained", "start_from", "train"]


def __getattr__(name: str) -> Any:
    # JAX is imported on first use, so that --help and --version respond at once.
    if name in {"load", "train"}:
        from imgrec_jax.runs import api

        return getattr(api, name)
    if name in {"load_pretrained", "save_pretrained"}:
        from imgrec_jax.runs import pretrained

        return getattr(pretrained, name)
    raise AttributeError(f"module 'imgrec_jax' has no attribute '{name}'")
