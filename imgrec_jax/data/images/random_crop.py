"""Draw random areas of training images, as Inception does."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.random_streams import HostStream, host_bits
from imgrec_jax.core.ranges import ABOVE_ZERO_TO_ONE, ASPECT
from imgrec_jax.data.images.resize import Area

_TRIES = 10


@dataclass(frozen=True)
class RandomResizedCrop:
    """A crop with an area uniform in low .. high of the image's and a log-uniform aspect.

    (Szegedy et al. 2015, "Going Deeper with Convolutions", section 6.) The crop is a function of
    (seed, epoch, row) and the image's size. If ten draws do not fit into the image, it is the
    largest centred crop with an allowed aspect.

    Attributes:
        seed: of the random numbers.
        low, high: the range of the relative area, 0 < low <= high <= 1.
        aspect: width over height is in 1 / aspect .. aspect.
    """

    seed: int
    low: Annotated[float, ABOVE_ZERO_TO_ONE] = 0.08
    high: Annotated[float, ABOVE_ZERO_TO_ONE] = 1.0
    aspect: Annotated[float, ASPECT] = 4 / 3

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise UsageError(
                "expected random_resized_crop(low, high) with low <= high, got "
                f"{self.low}, {self.high}; try random_resized_crop(0.08, 1.0)"
            )

    def area(self, row: int, epoch: int, height: int, width: int) -> Area:
        """Return the crop of an image of this size in an epoch."""
        bits = host_bits(HostStream.CROP, (self.seed, epoch), part=row)
        for _ in range(_TRIES):
            # Raw bits, because NumPy keeps them the same across versions; 53 make a float.
            raw = bits.random_raw(4).tolist()
            part, shape, down, across = ((value >> 11) * 2.0**-53 for value in raw)
            pixels = height * width * (self.low + part * (self.high - self.low))
            ratio = math.exp((2 * shape - 1) * math.log(self.aspect))
            h, w = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
            if 0 < h <= height and 0 < w <= width:
                return Area(int(down * (height - h + 1)), int(across * (width - w + 1)), h, w)
        w = min(width, max(1, round(height * self.aspect)))
        h = min(height, max(1, round(width * self.aspect)))
        return Area((height - h) // 2, (width - w) // 2, h, w)


CROPS: dict[str, Callable[..., RandomResizedCrop]] = {"random_resized_crop": RandomResizedCrop}


def read_crop(text: str, seed: int) -> RandomResizedCrop | None:
    """Parse `data.crop`; None for "".

    Raises:
        UsageError: the crop is unknown or impossible.
    """
    calls = parse_pipeline(text)
    if len(calls) > 1:
        raise UsageError(f"expected one crop in data.crop, got '{text}'; try {calls[0].name}")
    known = {name: partial(crop, seed) for name, crop in CROPS.items()}
    return bind_call("crop", calls[0], known) if calls else None
