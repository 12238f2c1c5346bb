"""Pack any set of images into a folder of ArrayRecord shards, with several processes."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.pack.pack_plan import Shard, estimate, plan_shards, survey
from imgrec_jax.data.pack.pack_workers import write_shards
from imgrec_jax.data.pack.shards import Written, checksum
from imgrec_jax.data.pack.tfds_description import (
    DRAFT_SUFFIX,
    ShardFile,
    check_label_names,
    write_description,
    write_text,
)
from imgrec_jax.data.raw.items import Images

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

RECORD = "pack.json"
"""The file in a pack that records its contents and which shards are finished."""

_FORMAT = 1


class Packed(NamedTuple):
    """The contents of a pack.

    Attributes:
        shards: finished shards of each split, in order.
        kept: how many shards existed already.
        written: how many images were written by this call.
        left_out: for each damaged image, why it is left out.
    """

    shards: dict[str, list[ShardFile]]
    kept: int
    written: int
    left_out: list[str]


def pack(
    splits: Mapping[str, Images],
    out: Path,
    *,
    workers: int,
    shards: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Packed:
    """Pack images into `out`, resuming a stopped pack there.

    Stock `tfds.builder_from_directory` reads the folder as a data source, with the features
    `image` (JPEG and PNG files unchanged, all else as PNG) and `label`. Rows keep their order;
    damaged images are left out. The bytes do not depend on the number of workers. Finished,
    unchanged shards are kept. The images count as the same if the labels and a sample of the
    images are the same.

    Args:
        splits: the images to pack.
        out: a folder that is empty, absent, or an unfinished pack of the same images.
        workers: number of writer processes.
        shards: of the largest split (others in proportion); 0 = by size.
        progress: called from time to time with the images done and the images to do.

    Raises:
        UsageError: `out` holds something else, or a number is impossible.
        UserError: no disk space, no intact image, or a disk that cannot be written.
    """
    if workers < 1 or not 0 <= shards < 100_000:
        raise UsageError(
            f"expected 1 or more workers and up to 99,999 shards, got {workers} and {shards}; "
            "try leaving out --workers and --shards"
        )
    _check_fields(splits)
    check_label_names(next(iter(splits.values())).label_names)
    content, sizes = survey(splits)
    plan = plan_shards(splits, sizes, shards)
    head = {"format": _FORMAT, "content": content, "shards": [shard.name for shard in plan]}
    with _alone(out):
        written = _finished_shards(out, head)
        kept = len(written)
        todo = [shard for shard in plan if shard.name not in written]
        _check_space(out, sum(estimate(shard, splits, sizes) for shard in todo))

        def note() -> None:
            record = {name: result._asdict() for name, result in sorted(written.items())}
            write_text(out / RECORD, json.dumps({**head, "written": record}, indent=1) + "\n")

        def keep(name: str, result: Written) -> None:
            written[name] = result
            note()

        note()  # before the first draft of a shard, which only a record marks as ours
        parts = {s.name: splits[s.split].part(s.start, s.stop) for s in todo}
        write_shards(out, parts, workers, keep, progress)
        packed = _collect(plan, written, kept, sum(len(part) for part in parts.values()))
        _describe(out, splits, packed, written)
    return packed


def _check_fields(splits: Mapping[str, Images]) -> None:
    """Raise an error if examples hold more than an image and a class, which a pack would lose."""
    for split, images in splits.items():
        if images.fields or images.items is None:
            raise UsageError(
                f"expected images with one class each to pack, got the fields "
                f"{', '.join(sorted(images.fields))} in {split}, which a pack cannot hold; try "
                "training from the data set itself"
            )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Create the folder and keep other processes from packing into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"expected a folder to write into, got {out}: {error.strerror}; try another --out=DIR"
        ) from error
    try:
        if fcntl is not None:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(folder)
        raise UserError(
            f"expected to be alone in {out}, got another process that packs into it; "
            "try waiting for it, or another --out=DIR"
        ) from error
    except OSError:
        pass  # some network disks do not support locks
    try:
        yield
    finally:
        os.close(folder)  # also releases the lock


def _finished_shards(out: Path, head: Mapping[str, Any]) -> dict[str, Written]:
    """Return the finished shards that still have their recorded checksum."""
    path = out / RECORD
    if not path.exists():
        if others := [e.name for e in out.iterdir() if e.name != f"{RECORD}{DRAFT_SUFFIX}"]:
            raise UsageError(
                f"expected an empty folder or a pack in --out, got {out} with {min(others)}; "
                "try another --out=DIR"
            )
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        noted = {name: Written(**fields) for name, fields in record.pop("written").items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"expected {path} to be the record of a pack, got {error}; try removing {out}"
        ) from error
    if record != head:
        raise UsageError(
            f"expected in {out} a pack of these images in {len(head['shards'])} shards, got one "
            "of other images, or in other shards; try another --out=DIR, or removing it"
        )
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: checksum(out / name), noted)
        return {
            name: noted[name]
            for name, sha256 in zip(noted, found, strict=True)
            if sha256 == noted[name].sha256
        }


def _check_space(out: Path, needed: float) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise UserError(
            f"expected about {needed / 2**20:,.0f} MiB free in {out} for the pack, got "
            f"{free / 2**20:,.0f} MiB; try --out=DIR on another disk"
        )


def _collect(plan: list[Shard], written: Mapping[str, Written], kept: int, images: int) -> Packed:
    shards: dict[str, list[ShardFile]] = {}
    for shard in plan:
        result = written[shard.name]
        file = ShardFile(shard.name, result.examples, result.size, result.sha256)
        shards.setdefault(shard.split, []).append(file)
    left_out = [why for shard in plan for why in written[shard.name].left_out]
    return Packed(shards, kept, images, left_out)


def _describe(
    out: Path, splits: Mapping[str, Images], packed: Packed, written: Mapping[str, Written]
) -> None:
    for split, files in packed.shards.items():
        if not sum(file.examples for file in files):
            raise UserError(
                f"expected intact images in the split {split}, got none; the first: "
                f"{packed.left_out[0]}"
            )
    shapes = {tuple(shape) for result in written.values() for shape in result.shapes}
    if len({shape[2] for shape in shapes}) > 1:
        raise UserError(
            f"expected one number of channels, got {sorted({shape[2] for shape in shapes})}; "
            "try converting the images"
        )
    height, width, channels = min(shapes)
    if len(shapes) > 1:
        height = width = -1
    dtype = "uint16" if any(result.deep for result in written.values()) else "uint8"
    label_names = next(iter(splits.values())).label_names
    write_description(out, packed.shards, (height, width, channels), dtype, label_names)
