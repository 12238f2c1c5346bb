"""Pictures inside the page: small, few, and as data."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imgrec_jax.report.html import Html, tag

LARGEST = 160
"""Longer side of a picture on the page, in its own pixels; larger ones are shrunk."""

_SMALL = 64  # such are kept to the last bit, larger ones as JPEG


class Picture(NamedTuple):
    """A picture with what stands below it.

    Attributes:
        pixels: uint8[h, w, 3].
        caption: in ink, one line.
        detail: faint, below it.
    """

    pixels: np.ndarray
    caption: str = ""
    detail: str = ""


class Gallery(NamedTuple):
    """Pictures under a title; `kind` is their look: "pictures", "filters" or "drawings"."""

    title: str
    note: str
    pictures: Sequence[Picture]
    kind: str = "pictures"


def show(gallery: Gallery) -> Html:
    """Return a gallery."""
    return tag("div", [_figure(picture) for picture in gallery.pictures], class_=gallery.kind)


def _figure(picture: Picture) -> Html:
    words = [picture.caption and tag("b", picture.caption), picture.detail]
    small = max(picture.pixels.shape[:2]) <= _SMALL
    image = tag(
        "img",
        src=encode(picture.pixels),
        alt=picture.caption or "picture",
        class_="pixels" if small else "",
    )
    caption = tag("figcaption", words, title=" · ".join(filter(None, picture[1:])))
    return tag("figure", image, caption if any(words) else "")


def encode(pixels: np.ndarray) -> str:
    """Return a picture uint8[h, w, 3] as a data: address, shrunk to `LARGEST` pixels at most."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((LARGEST, LARGEST))
    kind = "png" if max(picture.size) <= _SMALL else "jpeg"
    file = io.BytesIO()
    picture.save(file, kind, quality=82) if kind == "jpeg" else picture.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
