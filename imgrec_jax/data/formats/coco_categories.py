"""Number the categories of COCO files as classes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UserError

_NO_PARENT = ("", "none")


class Category(NamedTuple):
    """A category: its name, the name of the one above it, and the file that names it."""

    name: str
    above: str
    file: str


def add_categories(
    known: dict[int, Category], entries: Iterable[Mapping[str, Any]], file: str
) -> None:
    """Add the categories of a file, whose ids are whole numbers, to those of other files.

    Raises:
        UserError: an id has two names.
    """
    for entry in entries:
        above = str(entry.get("supercategory") or "")
        category = Category(str(entry.get("name")), above, file)
        first = known.setdefault(entry["id"], category)
        if first.name != category.name:
            raise UserError(
                f"expected one name for the category {entry['id']}, got '{first.name}' in "
                f"{first.file} and '{category.name}' in {file}; try correcting one of them"
            )


def used_names(known: Mapping[int, Category], used: Collection[int], where: str) -> list[str]:
    """Return the names of the classes, in the order of their ids.

    Left out are, if they have no annotation: the root that exporters put above all others, and a
    category with the name of another.

    Args:
        known: all categories by id.
        used: the ids that have annotations.
        where: the data set, for messages.

    Raises:
        UserError: two categories with annotations have one name.
    """
    parents = {category.above for category in known.values()}
    kept: dict[str, int] = {}
    for number, category in sorted(known.items(), key=lambda item: (item[0] not in used, item[0])):
        root = category.name in parents and category.above.lower() in _NO_PARENT
        if number not in used and (root or category.name in kept):
            continue
        if category.name in kept:
            raise UserError(
                f"expected categories of different names in {where}, got '{category.name}' as "
                f"{kept[category.name]} and {number}; try renaming one"
            )
        kept[category.name] = number
    return sorted(kept, key=lambda name: kept[name])
