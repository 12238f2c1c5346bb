"""Values of label images that their names make known: Pascal VOC and Cityscapes.

(Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding"; the table of
labels in its scripts.)
"""

from collections.abc import Sequence

from imgrec_jax.core.fields import IGNORE
from imgrec_jax.data.formats.mask_values import (
    MaskValues,
    numbered_values,
    value_table,
    voc_values,
)

CITYSCAPES_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
"""The classes of Cityscapes by `trainId`; 255 is ignored."""

_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `id` of each class; the other ids up to 33 are not evaluated."""


def known_values(masks: Sequence[str]) -> MaskValues | None:
    """Return the meaning of the values of label images with these names; None if unknown."""
    if any("SegmentationClass/" in name for name in masks):
        return voc_values()
    if any("_gtFine_labelTrainIds" in name for name in masks):
        return numbered_values(CITYSCAPES_CLASSES, "Cityscapes")
    if any("_gtFine_labelIds" in name for name in masks):
        others = [number for number in (*range(34), IGNORE) if number not in _IDS]
        classes = zip(_IDS, CITYSCAPES_CLASSES, strict=True)
        pairs = [*classes, *((number, "ignore") for number in others)]
        return value_table(pairs, colors=False, source="Cityscapes")
    return None
