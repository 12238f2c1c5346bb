"""Presentation of super-resolution: the enlarged image beside the bicubic one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from imgrec_jax.core import bicubic
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import Facts

_SIDE = 480  # longest side of a figure in pixels


def record(answer: np.ndarray, facts: Facts) -> dict[str, Any]:
    """Return the size of an enlarged image [h, w, 3]."""
    height, width = answer.shape[:2]
    return {"scale": facts["scale"], "enlarged_width": width, "enlarged_height": height}


def phrase(record: Mapping[str, Any]) -> str:
    """Return one line on an enlarged image."""
    return f"x{record['scale']}: {record['enlarged_width']}x{record['enlarged_height']}"


def draw(answer: np.ndarray, image: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
    """Return the image beside its bicubic enlargement, and the enlarged image itself."""
    larger = to_pixels(bicubic.resize(image / 255.0, *answer.shape[:2]))
    enlarged = to_pixels(answer)
    gap = np.full((len(enlarged), 4, 3), 255, np.uint8)
    return {
        "bicubic_and_enlarged": np.concatenate([larger, gap, enlarged], axis=1),
        f"x{facts['scale']}": enlarged,
    }


def to_pixels(image: np.ndarray) -> np.ndarray:
    """Return an image in 0 .. 1 as uint8."""
    return np.floor(255.0 * image.clip(0.0, 1.0) + 0.5).astype(np.uint8)


def compare(
    answer: np.ndarray | None, example: Mapping[str, np.ndarray], image: np.ndarray, facts: Facts
) -> dict[str, np.ndarray]:
    """Return the high resolution as "truth", bicubic enlargement, and the prediction."""
    truth = example["target_image"]
    if truth.dtype != np.uint8:  # as the network sees it
        truth = to_pixels(truth * np.asarray(facts["std"]) + np.asarray(facts["mean"]))
    if answer is None:
        return {"truth": _shown(truth)}
    larger = to_pixels(bicubic.resize(image / 255.0, *answer.shape[:2]))
    return {
        "truth": _shown(truth),
        "bicubic": _shown(larger),
        "predicted": _shown(to_pixels(answer)),
    }


def _shown(image: np.ndarray) -> np.ndarray:
    """Return an image cut to a size at which pixels can be seen."""
    top, left = (max(0, side - _SIDE) // 2 for side in image.shape[:2])
    return image[top : top + _SIDE, left : left + _SIDE]


def lines(metrics: Mapping[str, float], report: Mapping[str, Any], width: int) -> list[str]:
    """Return the scores of a split, with those of bicubic enlargement beside them."""
    del report, width
    return [
        f"  PSNR {metrics['psnr']:.2f} dB (bicubic {metrics['psnr_bicubic']:.2f}, "
        f"{metrics['psnr'] - metrics['psnr_bicubic']:+.2f}), RGB {metrics['psnr_rgb']:.2f} dB",
        f"  SSIM {metrics['ssim']:.4f} (bicubic {metrics['ssim_bicubic']:.4f})",
    ]


PRESENTATION = Presentation(
    answer=lambda outputs: outputs["image"],
    record=record,
    phrase=phrase,
    unit="enlarged",
    draw=draw,
    compare=compare,
    lines=lines,
    quality=lambda rows: ("PSNR", np.asarray(rows["psnr"])),
)
