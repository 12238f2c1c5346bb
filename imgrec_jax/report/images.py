"""Galleries of small images, embedded in the page as data URLs."""

import base64
import io

import numpy as np

from imgrec_jax.core.presentation import Figure, Gallery
from imgrec_jax.report.html import Html, join, tag

LARGEST = {"images": 160, "filters": 160, "drawings": 400}
"""Largest side of an image on the page by kind of gallery; larger images are shrunk."""

_MOST_NAMES = 40  # in a legend

_SMALL = 64  # images up to this size are lossless, larger ones are JPEG


def sheet(gallery: Gallery, columns: int = 6) -> np.ndarray:
    """Return all images of a gallery as one, uint8[h, w, 3], in rows, without captions."""
    from PIL import Image

    columns = 3 if gallery.kind == "drawings" else columns
    side = min(160, max(max(figure.pixels.shape) for figure in gallery.figures))
    rows = -(-len(gallery.figures) // columns)
    whole = Image.new("RGB", (columns * (side + 2), rows * (side + 2)), "white")
    for number, figure in enumerate(gallery.figures):
        image = Image.fromarray(np.ascontiguousarray(figure.pixels))
        image.thumbnail((side, side))
        row, column = divmod(number, columns)
        whole.paste(image, (column * (side + 2), row * (side + 2)))
    return np.asarray(whole)


def show(gallery: Gallery) -> Html:
    """Return a gallery as HTML."""
    figures = [_figure(image, LARGEST[gallery.kind]) for image in gallery.figures]
    names = [
        tag("span", tag("i", style=f"background: rgb{color}"), name)
        for name, color in gallery.legend[:_MOST_NAMES]
    ]
    legend = tag("p", names, class_="names") if names else ""
    return join(legend, tag("div", figures, class_=gallery.kind))


def _figure(figure: Figure, largest: int) -> Html:
    words = [figure.caption and tag("b", figure.caption), figure.detail]
    small = max(figure.pixels.shape[:2]) <= _SMALL
    image = tag(
        "img",
        src=encode(figure.pixels, largest),
        alt=figure.caption or "image",
        class_="pixels" if small else "",
    )
    caption = tag("figcaption", words, title=" · ".join(filter(None, figure[1:])))
    return tag("figure", image, caption if any(words) else "")


def encode(pixels: np.ndarray, largest: int) -> str:
    """Return an image uint8[h, w, 3] as a data URL, its sides at most `largest` pixels."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((largest, largest))
    kind = "png" if max(image.size) <= _SMALL else "jpeg"
    file = io.BytesIO()
    image.save(file, kind, quality=82) if kind == "jpeg" else image.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
