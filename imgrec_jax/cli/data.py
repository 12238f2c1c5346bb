"""The verb `data`: inspect a data set, pack it into shards, and list or clear the cache."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgrec_jax.cli.arguments import Parser, json_flag
from imgrec_jax.cli.progress import progress_of, until_stopped
from imgrec_jax.core.errors import STOPPED, UsageError, UserError, unknown
from imgrec_jax.core.ranges import whole

if TYPE_CHECKING:
    from imgrec_jax.data.inspect.inspection import Inspection

PARTLY_DONE = 3


def main(arguments: Sequence[str]) -> int:
    """Run `data VERB ...` and return the exit status."""
    verb, *rest = list(arguments) or ["--help"]
    if verb in {"--help", "-h", "help"}:
        print("usage: python -m imgrec_jax data VERB ...\n")
        for name, (_, text) in VERBS.items():
            print(f"  {name:<10} {text}")
        print(
            "\nSOURCE is kind:where, such as folder:PATH, npz:PATH, tfds:NAME, array_record:PATH."
        )
        print("\nNext: python -m imgrec_jax data inspect folder:PATH")
        return 0
    try:
        if verb not in VERBS:
            raise unknown("verb of data", verb, VERBS)
        return VERBS[verb][0](rest)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nStopped. The same command resumes it.", file=sys.stderr)
        return STOPPED


def _inspect(arguments: Sequence[str]) -> int:
    parser = _parser("inspect", "Count, measure and compare the images of a data set.", True)
    parser.add_argument(
        "--out",
        default="contact_sheet.png",
        metavar="DIR|FILE.png",
        help="where to draw some images of each class (default: contact_sheet.png)",
    )
    options, about_data = _parse(parser, arguments)

    from imgrec_jax.cli import inspect_report
    from imgrec_jax.cli.inspect_next import next_command
    from imgrec_jax.data.inspect.inspection import inspect

    path = _sheet_path(options.out)
    splits = _open(options.source, about_data)
    with progress_of("inspect") as progress:
        found = inspect(splits, progress)
    shown = _draw_sheet(options.source, splits, found, path)
    if options.json:
        print(json.dumps(inspect_report.as_json(options.source, splits, found, shown)))
    else:
        print("\n".join(inspect_report.lines(options.source, splits, found)))
        print(f"\nSome images of each class: {shown}" if shown else "")
        command = next_command(options.source, found, about_data)
        stopped = found.damaged and "broken=" not in command
        print(f"Next{', without the damaged files' * bool(stopped)}: {command}")
    return PARTLY_DONE if found.damaged else 0


def _draw_sheet(
    source: str, splits: Mapping[str, Any], found: "Inspection", path: Path
) -> Path | None:
    """Draw the contact sheet of the first split, if it has images, and return its path."""
    from imgrec_jax.cli.inspect_report import sheet_title
    from imgrec_jax.data.inspect.contact_sheet import draw_contact_sheet
    from imgrec_jax.data.inspect.sheet_rows import sheet_rows

    first = next(iter(splits))
    report = found.splits[first]
    if report.pixels is None:
        return None
    sheet = draw_contact_sheet(sheet_title(source, first, found), sheet_rows(splits[first], report))
    try:
        sheet.save(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _pack(arguments: Sequence[str]) -> int:
    parser = _parser("pack", "Convert images to ArrayRecord files, for fast random access.", True)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="a new folder, or one to resume"
    )
    parser.add_setting(
        "--shards",
        whole(0, 100_000)(0),
        help="number of files of the largest split; 0: chosen by size",
    )
    parser.add_setting("--workers", whole(0, 1024)(0), help="number of processes; 0: one per core")
    options, about_data = _parse(parser, arguments)

    from imgrec_jax.cli import data_report
    from imgrec_jax.data.pack.pack import pack
    from imgrec_jax.data.sources.encoded import thread_count

    splits = _open(options.source, about_data)
    start = time.perf_counter()
    with progress_of("pack") as progress, until_stopped(progress) as checked:
        packed = pack(
            splits,
            Path(options.out).expanduser(),
            workers=options.workers or thread_count(),
            shards=options.shards,
            progress=checked,
        )
    seconds = time.perf_counter() - start
    if options.json:
        print(json.dumps(data_report.pack_json(options.source, options.out, packed, seconds)))
    else:
        print("\n".join(data_report.pack_lines(options.out, packed, seconds)))
        print(f"Next: python -m imgrec_jax data inspect {_quote('array_record', options.out)}")
    return PARTLY_DONE if packed.left_out else 0


def _cache(arguments: Sequence[str]) -> int:
    parser = _parser("cache", "Show the cache that speeds up the next start, or clear it.")
    parser.add_argument("--clear", action="store_true", help="remove all of it")
    options = parser.parse_args(list(arguments))

    from imgrec_jax.cli import data_report
    from imgrec_jax.data.cache.contents import cache_home, clear_cache, list_cache

    home, entries = cache_home(), list_cache()
    if options.json:
        print(json.dumps(data_report.cache_json(home, entries, options.clear)))
    else:
        print("\n".join(data_report.cache_lines(home, entries)))
    if options.clear:
        clear_cache(entries)
    if options.json:
        return 0
    if options.clear and entries:
        print("Removed the cache; it is rebuilt when needed.")
    if options.clear or not entries:
        print("Next: python -m imgrec_jax train --config=digits")
    else:
        print("Next: python -m imgrec_jax data cache --clear")
    return 0


def _parser(verb: str, description: str, source: bool = False) -> Parser:
    parser = Parser(
        parents=[json_flag()],
        prog=f"python -m imgrec_jax data {verb}",
        description=description,
        epilog="--config.data.KEY=VALUE sets options of SOURCE, as in training." * source,
        allow_abbrev=False,
    )
    if source:
        parser.add_argument("source", metavar="SOURCE", help="kind:where, such as folder:PATH")
    return parser


def _parse(parser: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the data flags, which are the same as in training."""
    about_data = [text for text in arguments if text.startswith("--config.data.")]
    return parser.parse_args([text for text in arguments if text not in about_data]), about_data


def _open(source: str, about_data: Sequence[str]) -> Mapping[str, Any]:
    """Return the `Images` of each split of `kind:where`, as they are stored if possible."""
    if ":" not in source and Path(source).expanduser().exists():
        raise UsageError(
            f"expected SOURCE to be kind:where, got '{source}'; try {_quote('folder', source)}"
        )
    from imgrec_jax.build.raw_images import open_stored
    from imgrec_jax.config import parse_command_line

    flags = ["--config=base", f"--config.data.source={source}", *about_data]
    return open_stored(parse_command_line(flags).config)


def _sheet_path(out: str) -> Path:
    """Return the path of the contact sheet, in an existing folder."""
    path = Path(out).expanduser()
    if path.suffix.lower() != ".png" or path.is_dir():
        path /= "contact_sheet.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"expected to write {path}, got {error.strerror or error}; try another --out")


def _quote(kind: str, where: str) -> str:
    return shlex.quote(f"{kind}:{where}")


VERBS: Mapping[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "inspect": (_inspect, "summarize a data set and draw a contact sheet"),
    "pack": (_pack, "convert images to ArrayRecord files, for fast reading"),
    "cache": (_cache, "show the cache; --clear removes it"),
}
