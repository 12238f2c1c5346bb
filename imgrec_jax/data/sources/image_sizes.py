"""Measure the images of annotations that do not state a size."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import full_name, read_files
from imgrec_jax.data.images.image_size import image_size
from imgrec_jax.data.sources.box_annotations import Scene


def image_sizes(root: Path, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return the (height, width) of images of a folder or archive.

    A damaged image gets the most common size: decoding it reports the damage.

    Raises:
        UserError: a file cannot be read, or all images are damaged.
    """
    sizes: dict[str, tuple[int, int]] = {}
    damaged: dict[str, UserError] = {}
    for name, data in read_files(root, frozenset(names)):
        try:
            sizes[name] = image_size(data, full_name(root, name))
        except UserError as error:
            damaged[name] = error
    if damaged and not sizes:
        raise next(iter(damaged.values()))
    if damaged:
        common = Counter(sizes.values()).most_common(1)[0][0]
        sizes |= dict.fromkeys(damaged, common)
    return sizes


def with_sizes(scenes: Mapping[str, Sequence[Scene]], root: Path) -> dict[str, list[Scene]]:
    """Return the scenes with the sizes of their images, which are measured where they are below 1.

    Raises:
        UserError: as `image_sizes` does.
    """
    unknown = {s.name for found in scenes.values() for s in found if min(s.width, s.height) < 1}
    sizes = image_sizes(root, unknown) if unknown else {}
    return {split: [_sized(scene, sizes) for scene in found] for split, found in scenes.items()}


def _sized(scene: Scene, sizes: Mapping[str, tuple[int, int]]) -> Scene:
    if scene.name not in sizes:
        return scene
    height, width = sizes[scene.name]
    return replace(scene, width=width, height=height)
