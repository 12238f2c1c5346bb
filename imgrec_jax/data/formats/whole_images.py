"""Open images of any size without classes, from a folder or an archive."""

from collections.abc import Collection

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.access import existing_path, list_files
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.split_names import split_of
from imgrec_jax.data.sources.encoded import stored_images
from imgrec_jax.data.sources.whole_images import WholeImages, open_whole


def open_whole_images(where: str, *, train: str = "", test: str = "") -> dict[str, WholeImages]:
    """Open the images of a folder or archive, with any sub-folders, as splits.

    Args:
        where: path; `~` is the home directory.
        train: the folder of the training images; by default the folder whose name is that of a
            split, or everything.
        test: folders of test images, separated by commas. The first is the split "test", the
            others are named after themselves in lower case.

    Raises:
        UsageError: no such path or folder.
        UserError: it holds no image, or a damaged one.
    """
    root = existing_path(where, "super_resolution")
    names = sorted(name for name in list_files(root) if is_image(name))
    if not names:
        raise UserError(f"expected images in {where}, got none; try another path")
    found = _by_folder(names, where, train, test) if train or test else _by_split(names)
    splits = {}
    for split, members in found.items():
        stored = stored_images(root, Names.of(members))
        if stored is None:
            raise UserError(
                f"expected a folder or an archive with random access, got {where}; try unpacking it"
            )
        splits[split] = open_whole(stored)
    return splits


def _by_split(names: Collection[str]) -> dict[str, list[str]]:
    """Sort names by the first folder that names a split; without one, all are train."""
    found: dict[str, list[str]] = {}
    for name in names:
        splits = (split_of(part) for part in name.split("/")[:-1])
        found.setdefault(next(filter(None, splits), "train"), []).append(name)
    return found


def _by_folder(names: Collection[str], where: str, train: str, test: str) -> dict[str, list[str]]:
    folders = [part.strip() for part in test.split(",") if part.strip()]
    wanted = {"train": train} if train else {}
    for folder in folders:
        wanted["test" if folder == folders[0] else folder.lower()] = folder
    found = {
        split: [name for name in names if folder in name.split("/")[:-1]]
        for split, folder in wanted.items()
    }
    if missing := next((wanted[split] for split, members in found.items() if not members), ""):
        known = sorted({part for name in names for part in name.split("/")[:-1]})
        raise UsageError(
            f"expected folders of images in {where} after data.train and data.test, got "
            f"'{missing}'; known: {', '.join(known) or 'none'}"
        )
    return found
