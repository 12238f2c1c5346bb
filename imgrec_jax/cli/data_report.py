"""Output of `data pack` and `data cache`: text for people, or one JSON object."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgrec_jax.core.printable import printable
from imgrec_jax.core.text_table import table
from imgrec_jax.data.cache.contents import Entry
from imgrec_jax.data.pack.pack import Packed

_LISTED = 8  # damaged and repeated images listed by name


def pack_lines(out: str, packed: Packed, seconds: float) -> list[str]:
    """Return the result of packing as text."""
    rows = [["split", "images", "files", "size"]]
    for split, files in packed.shards.items():
        size = sum(file.size for file in files)
        rows.append([split, f"{sum(f.examples for f in files):,}", f"{len(files):,}", _mib(size)])
    text = [out, "", *table(rows, "<>>>"), ""]
    if packed.kept:
        text.append(f"{packed.kept:,} files were complete already and are unchanged.")
    if packed.written:
        rate = packed.written / seconds
        text.append(f"{packed.written:,} images in {seconds:.1f} s, {rate:,.0f} images/s")
    return text + (damage_lines(packed.left_out, " and left out") if packed.left_out else [])


def pack_json(source: str, out: str, packed: Packed, seconds: float) -> dict[str, Any]:
    """Return the result of packing as a JSON-serializable dict."""
    splits = {
        split: {
            "images": sum(file.examples for file in files),
            "bytes": sum(file.size for file in files),
            "files": [file.name for file in files],
        }
        for split, files in packed.shards.items()
    }
    return {
        "source": source,
        "out": out,
        "splits": splits,
        "kept_files": packed.kept,
        "left_out": packed.left_out,
        "seconds": seconds,
        "images_per_second": packed.written / seconds,
    }


def cache_lines(home: Path, entries: Sequence[Entry]) -> list[str]:
    """Return the content of the cache as text."""
    if not entries:
        return [f"{home} is empty."]
    rows = [["size", "last used", "what"]]
    rows += [[_mib(entry.size), _age(entry.used), entry.what] for entry in entries]
    total = sum(entry.size for entry in entries)
    return [str(home), "", *table(rows, ">><"), "", f"{_mib(total)} in all"]


def cache_json(home: Path, entries: Sequence[Entry], cleared: bool) -> dict[str, Any]:
    """Return the content of the cache, before any clearing, as a JSON-serializable dict."""
    listed = [{**entry._asdict(), "path": str(entry.path)} for entry in entries]
    return {"home": str(home), "entries": listed, "cleared": cleared}


def damage_lines(damaged: Sequence[str], note: str = "") -> list[str]:
    """Return the messages of damaged images as text; `note` says what became of them."""
    if not damaged:
        return ["damaged: none"]
    return [f"damaged{note}: {len(damaged):,}", *listed(damaged)]


def listed(items: Sequence[str]) -> list[str]:
    """Return the first items, and how many more there are."""
    text = [f"  {printable(item)}" for item in items[:_LISTED]]
    return text + (
        [f"  ... and {len(items) - _LISTED:,} more (--json names all)"] * (len(items) > _LISTED)
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _age(moment: float) -> str:
    minutes = max(0.0, time.time() - moment) / 60
    for unit, length in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes / length:.0f} {unit} ago"
    return f"{minutes:.0f} minutes ago"
