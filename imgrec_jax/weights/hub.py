"""Fetch weights and their expected preprocessing from the Hugging Face hub.

A name is `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`. Its files model.safetensors, config.json
and, if present, preprocessor_config.json are read: timm keeps everything in config.json,
`transformers` uses both. The package huggingface_hub fetches the files and honours HF_ENDPOINT,
HF_HOME and HF_HUB_OFFLINE.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.parse_json import parse_json

PREFIX = "hf:"
_WEIGHTS, _CONFIG, _IMAGES = "model.safetensors", "config.json", "preprocessor_config.json"
_SETTINGS = {"layer_norm_eps": "epsilon", "batch_norm_eps": "epsilon", "tf_padding": "same"}
"""Settings of `transformers`, with their names in our networks."""
_UNCROPPED = 384  # from this size on, `transformers` ignores its crop_pct


class Expected(NamedTuple):
    """The preprocessing and settings that weights were trained with.

    Attributes:
        mean, std: of the channels, with pixels in 0 .. 1.
        size: side of the images in pixels; 0 if unknown.
        crop: visible fraction of an image's shorter side.
        labels: the class names; () if unknown.
        settings: of the model, such as epsilon, if specified.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    crop: float
    labels: tuple[str, ...]
    settings: Mapping[str, Any]


def fetch(name: str) -> tuple[Path, Expected]:
    """Return the file of the weights `hf:OWNER/NAME` and what they expect; cached in HF_HOME.

    Raises:
        UserError: there are no such weights, they cannot be fetched, or they do not specify the
            normalisation of images.
    """
    config = _read_json(_download(name, _CONFIG))
    try:
        expected = _of_timm(config) if "architecture" in config else _of_transformers(name, config)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected {name} to say in {_CONFIG} or {_IMAGES} how images are normalised, got "
            f"none that is understood ({type(error).__name__}: {error}); try its file of weights"
        ) from error
    return _download(name, _WEIGHTS), expected


def _of_timm(config: Mapping[str, Any]) -> Expected:
    preprocessing = config.get("pretrained_cfg", config)
    tensorflow = config["architecture"].startswith("tf_")
    return Expected(
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        size=int(preprocessing["input_size"][-1]),
        crop=float(preprocessing["crop_pct"]),
        labels=tuple(config.get("label_names") or ()),
        settings={"same": True, "epsilon": 1e-3} if tensorflow else {},
    )


def _of_transformers(name: str, config: Mapping[str, Any]) -> Expected:
    preprocessing = _read_json(_download(name, _IMAGES))
    normalised = preprocessing.get("do_normalize", True)
    resized = _side(preprocessing["size"])
    cut = (
        _side(preprocessing["crop_size"])
        if preprocessing.get("do_center_crop") and "crop_size" in preprocessing
        else 0
    )
    crop = cut / resized if cut else 1.0
    if "crop_pct" in preprocessing and resized < _UNCROPPED:
        crop = preprocessing["crop_pct"]
    names = config.get("id2label") or {}
    settings = {
        ours: config[theirs]
        for theirs, ours in _SETTINGS.items()
        if isinstance(config.get(theirs), int | float)
    }
    return Expected(
        mean=tuple(preprocessing["image_mean"]) if normalised else (0.0,),
        std=tuple(preprocessing["image_std"]) if normalised else (1.0,),
        size=cut or resized,
        crop=float(crop),
        labels=tuple(names[str(number)] for number in range(len(names))),
        settings=settings,
    )


def _side(size: Any) -> int:
    """Return the side given as 224, {"shortest_edge": 224} or {"height": 224, ...}."""
    return int(size if isinstance(size, int) else size.get("shortest_edge") or size["height"])


def _download(name: str, file: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(
            f"expected the package huggingface_hub for {name}, got none; "
            "try: pip install 'imgrec_jax[hub]'"
        ) from error
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise UserError(
            f"expected {file} of {name} in the cache, as the hub cannot be reached, got none; try "
            "once with a network and without HF_HUB_OFFLINE, or HF_HOME with a filled cache"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"expected {file} in {name}, got none; try another revision (@REVISION), or the path "
            "of a .safetensors file"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UserError(
            f"expected weights on the hub, got {name}, which does not exist or is not public; try "
            "a name such as hf:timm/resnet50.a1_in1k"
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise UserError(
            f"expected to fetch {file} of {name}, got: {' '.join(str(error).split())}; try again"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"expected JSON in {path}, got: {error}; try to fetch it again") from error
    return parse_json(data, str(path))
