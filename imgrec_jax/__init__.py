"""imgrec_jax: image-recognition research in JAX and Flax.

In a script or a notebook:

    run = imgrec_jax.load("runs/cifar10")
    probabilities = run.predict(["cat.jpg", "dog.jpg"])
    run = imgrec_jax.train(imgrec_jax.get_config("cifar10", epochs=5), "runs/short")
"""

TYPE_CHECKING = False  # importing `typing` takes as long as all that runs before signals wait

if TYPE_CHECKING:
    from typing import Any

    from imgrec_jax.config import get_config
    from imgrec_jax.config_files import start_from

__version__ = "0.1.0"
__all__ = ["get_config", "load", "load_pretrained", "save_pretrained", "start_from", "train"]


def __getattr__(name: str) -> "Any":
    # Imported on first use: JAX, so that --help and --version respond at once, and the rest, so
    # that a command handles signals at once.
    if name in {"get_config", "start_from"}:
        from imgrec_jax import config, config_files

        return getattr(config if name == "get_config" else config_files, name)
    if name in {"load", "train"}:
        from imgrec_jax.runs import api

        return getattr(api, name)
    if name in {"load_pretrained", "save_pretrained"}:
        from imgrec_jax.runs import pretrained

        return getattr(pretrained, name)
    raise AttributeError(f"module 'imgrec_jax' has no attribute '{name}'")
