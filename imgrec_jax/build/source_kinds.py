"""Table of data sources: how to open each kind of `data.source`, and what it supports."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.data.formats.cifar import open_cifar10, open_cifar100
from imgrec_jax.data.formats.cifar10 import find_cifar10
from imgrec_jax.data.formats.coco import open_coco, read_coco
from imgrec_jax.data.formats.digits import open_digits
from imgrec_jax.data.formats.folder import Labelling, open_folder
from imgrec_jax.data.formats.huggingface import open_parquet
from imgrec_jax.data.formats.imagenet import open_imagenet
from imgrec_jax.data.formats.labelme import open_labelme_boxes, open_labelme_masks, read_labelme
from imgrec_jax.data.formats.masks import open_masks
from imgrec_jax.data.formats.mnist import open_mnist
from imgrec_jax.data.formats.npz import open_npz
from imgrec_jax.data.formats.synthetic import open_synthetic
from imgrec_jax.data.formats.tfds import (
    open_array_record,
    open_tfds,
    prepared_folder,
    record_folder,
)
from imgrec_jax.data.formats.tfds_dense import (
    open_record_boxes,
    open_record_masks,
    read_record_boxes,
)
from imgrec_jax.data.formats.voc import open_voc, read_voc
from imgrec_jax.data.formats.whole_images import open_whole_images
from imgrec_jax.data.formats.yolo import open_yolo, read_yolo
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.images.image_errors import MAX_PIXELS
from imgrec_jax.data.raw.items import Images
from imgrec_jax.data.raw.open import (
    box_images,
    folder_images,
    mask_images,
    parquet_images,
    record_images,
    source_images,
)
from imgrec_jax.data.sources.near_identical import NEAR_IDENTICAL
from imgrec_jax.data.sources.source import Splits

Opener = Callable[[str, Config], Splits]
"""`(text after the colon, the config's block data) -> splits`."""


@dataclass(frozen=True)
class SourceSpec:
    """A row of the table that has more than a function to open a source.

    Attributes:
        open: opens the source.
        decodes: converts its encoded images to `data.channels` and `data.dtype`.
        resizes: resizes images of any size to `data.image_size`.
        shapes: resizes images and their annotations to `data.image_shape`.
        stored: returns the images and annotations as stored, damaged ones included; None for what
            `open` returns.
        fields: for a field that a task needs, another row that provides it.
    """

    open: Opener
    decodes: bool = False
    resizes: bool = False
    shapes: bool = False
    stored: Callable[[str, Config], dict[str, Images]] | None = None
    fields: Mapping[str, "SourceSpec"] = field(default_factory=dict)


def _form(data: Config) -> Form:
    return Form(
        image_size=data.image_size,
        center_crop=data.center_crop,
        channels=data.channels,
        dtype=data.dtype,
    )


def _labelling(data: Config) -> Labelling:
    return Labelling(data.label_pattern, data.columns, _group_by(data))


def _group_by(data: Config) -> str:
    """Return the key to group by: only needed to split off a val set."""
    return data.group_by if data.holdout and data.group_by != NEAR_IDENTICAL else ""


def _record_fields(folder: Callable[[str, Config], Path]) -> dict[str, SourceSpec]:
    """Return the rows for records with fields beyond an image and a class."""

    def boxes(where: str, data: Config) -> Splits:
        return open_record_boxes(folder(where, data), read_shape(data.image_shape), data.max_boxes)

    def masks(where: str, data: Config) -> Splits:
        shape = read_shape(data.image_shape)
        return open_record_masks(folder(where, data), data.mask_values, shape, **_form(data))

    return {
        "boxes": SourceSpec(
            boxes,
            shapes=True,
            stored=lambda where, data: box_images(read_record_boxes(folder(where, data))),
        ),
        "label_map": SourceSpec(masks, decodes=True, resizes=True, shapes=True),
    }


def _whole_images(where: str, data: Config) -> Splits:
    return {**open_whole_images(where, train=data.train, test=data.test)}


def _digits(where: str) -> Splits:
    if where:
        raise UsageError(
            f"expected data.source=digits, which has no path, got 'digits:{where}'; "
            "try --config.data.source=digits"
        )
    return open_digits()


SOURCES: Mapping[str, SourceSpec | Opener] = {
    "array_record": SourceSpec(
        lambda where, data: open_array_record(where, **_form(data)),
        decodes=True,
        resizes=True,
        stored=lambda where, data: record_images(record_folder(where)),
        fields=_record_fields(lambda where, data: record_folder(where)),
    ),
    "cifar10": lambda where, data: open_cifar10(where) if where else find_cifar10(data.dir),
    "cifar100": lambda where, data: open_cifar100(where),
    "coco": SourceSpec(
        lambda where, data: open_coco(where, read_shape(data.image_shape), data.max_boxes),
        shapes=True,
        stored=lambda where, data: box_images(read_coco(where)),
    ),
    "digits": lambda where, data: _digits(where),
    "folder": SourceSpec(
        lambda where, data: open_folder(where, _labelling(data), **_form(data)),
        decodes=True,
        resizes=True,
        fields={"target_image": SourceSpec(_whole_images)},
        stored=lambda where, data: folder_images(
            where, Labelling(data.label_pattern, data.columns)
        ),
    ),
    "imagenet": SourceSpec(
        lambda where, data: open_imagenet(where, **_form(data)),
        decodes=True,
        resizes=True,
        stored=lambda where, data: source_images(open_imagenet(where, image_size=1), where),
    ),
    "labelme": SourceSpec(
        lambda where, data: open_labelme_boxes(where, read_shape(data.image_shape), data.max_boxes),
        shapes=True,
        stored=lambda where, data: box_images(read_labelme(where)),
        fields={
            "label_map": SourceSpec(
                lambda where, data: open_labelme_masks(
                    where, read_shape(data.image_shape), **_form(data)
                ),
                decodes=True,
                resizes=True,
                shapes=True,
            )
        },
    ),
    "masks": SourceSpec(
        lambda where, data: open_masks(
            where, data.mask_values, read_shape(data.image_shape), **_form(data)
        ),
        decodes=True,
        resizes=True,
        shapes=True,
        stored=lambda where, data: mask_images(where, data.mask_values),
    ),
    "mnist": lambda where, data: open_mnist(where),
    "npz": SourceSpec(
        lambda where, data: open_npz(where, image_size=data.image_size),
        resizes=True,
    ),
    "parquet": SourceSpec(
        lambda where, data: open_parquet(
            where, columns=data.columns, group_by=_group_by(data), **_form(data)
        ),
        decodes=True,
        resizes=True,
        stored=lambda where, data: parquet_images(where, data.columns),
    ),
    "super_resolution": _whole_images,
    "synthetic": lambda where, data: open_synthetic(where),
    "tfds": SourceSpec(
        lambda where, data: open_tfds(where, data.dir, **_form(data)),
        decodes=True,
        resizes=True,
        stored=lambda where, data: record_images(prepared_folder(where, data.dir)),
        fields=_record_fields(lambda where, data: prepared_folder(where, data.dir)),
    ),
    "voc": SourceSpec(
        lambda where, data: open_voc(where, read_shape(data.image_shape), data.max_boxes),
        shapes=True,
        stored=lambda where, data: box_images(read_voc(where)),
    ),
    "yolo": SourceSpec(
        lambda where, data: open_yolo(where, read_shape(data.image_shape), data.max_boxes),
        shapes=True,
        stored=lambda where, data: box_images(read_yolo(where)),
    ),
}
"""By kind: a `SourceSpec`, or only an opener for images that are used as they are."""


def source_spec(kind: str, needs: Iterable[str] = ()) -> SourceSpec:
    """Return the row of a kind, or its first row for the fields that a task needs.

    Raises:
        UsageError: unknown kind.
    """
    if kind not in SOURCES:
        raise unknown("kind of data.source", kind, SOURCES)
    spec = _spec(SOURCES[kind])
    return next((spec.fields[name] for name in needs if name in spec.fields), spec)


def kinds_that(can: Callable[[SourceSpec], bool]) -> str:
    """Return the kinds whose own row supports something, for messages: "masks or voc"."""
    return " or ".join(sorted(kind for kind, row in SOURCES.items() if can(_spec(row))))


def _spec(row: SourceSpec | Opener) -> SourceSpec:
    return row if isinstance(row, SourceSpec) else SourceSpec(row)


def read_shape(text: str) -> tuple[int, int] | None:
    """Return the (height, width) of `data.image_shape`; None for "", which keeps the size.

    Raises:
        UsageError: it is not two numbers of pixels, or exceeds the largest allowed image.
    """
    if not text:
        return None
    sides = text.lower().split("x")
    if len(sides) == 2 and all(side.isdecimal() and int(side) > 0 for side in sides):
        height, width = map(int, sides)
        if height * width <= MAX_PIXELS:
            return height, width
    raise UsageError(
        f"expected data.image_shape of '' (as they are) or HEIGHTxWIDTH in pixels, got '{text}'; "
        "try --config.data.image_shape=120x160"
    )
