"""Find the images that annotation files belong to: `annotations/a.xml` to `images/a.jpg`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.folder_roles import read_places
from imgrec_jax.data.layout.listing import is_image

_LOGGER = logging.getLogger(__name__)


def match_images(names: Sequence[str], annotations: Iterable[str]) -> dict[str, list[str]]:
    """Return the images of each annotation file: those of its name in its own or a parallel folder.

    An annotation without any gets those of its name in all folders of its split that no other
    annotation has.

    Args:
        names: all files.
        annotations: some of them.
    """
    own = set(annotations)
    places = read_places([name for name in names if name in own or is_image(name)])
    by_key: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(places.keys() - own):
        by_key.setdefault(places[name].key, []).append(name)
    found = {name: by_key.get(places[name].key, []) for name in sorted(own)}
    taken = {image for images in found.values() for image in images}
    free: dict[tuple[str, str], list[str]] = {}
    for name in sorted(places.keys() - own - taken):
        free.setdefault((places[name].split, stem(name)), []).append(name)
    return {
        name: images or free.get((places[name].split, stem(name)), [])
        for name, images in found.items()
    }


def choose_image(images: Sequence[str], named: str, annotation: str) -> str:
    """Return the only image, or of several the one that the annotation itself names; "" for none.

    Args:
        images: the candidates.
        named: the name or path in the annotation, possibly with back-slashes; "" without one.
        annotation: its full name, for messages.

    Raises:
        UserError: there are several, and the annotation names none of them.
    """
    file = named.replace("\\", "/").rpartition("/")[2]
    same = [image for image in images if image.rpartition("/")[2] == file] or images
    if len(same) > 1:
        raise UserError(
            f"expected one image for {annotation}, got {same[0]} and {same[1]}; "
            "try removing or renaming one of them"
        )
    return same[0] if same else ""


def check_once(images: Mapping[str, str], where: str) -> None:
    """Raise an error if two annotations have the same image, given the image of each.

    Raises:
        UserError: two have; the message names both.
    """
    first: dict[str, str] = {}
    for annotation, image in images.items():
        if (other := first.setdefault(image, annotation)) != annotation:
            raise UserError(
                f"expected one annotation of {image} in {where}, got {other} and {annotation}; "
                "try removing one of them"
            )


def warn_unannotated(names: Iterable[str], annotated: Iterable[str], where: str) -> None:
    """Print one warning that counts the images without an annotation."""
    if left := sorted({name for name in names if is_image(name)}.difference(annotated)):
        _LOGGER.warning(
            "%s: %d images without an annotation are left out, such as %s",
            where, len(left), left[0],
        )  # fmt: skip


def stem(name: str) -> str:
    """Return the name of a file without its folders and its suffix."""
    return PurePosixPath(name).stem
