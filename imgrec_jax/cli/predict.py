"""The verb `predict`: predictions of a trained run for image files.

Predictions are printed; `predict_drawings` draws masks and boxes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.cli import predict_drawings
from imgrec_jax.cli.arguments import Parser, checkpoint_flags
from imgrec_jax.cli.sorted_copies import Copies
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.csv_text import csv_text
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.ranges import COUNT, FRACTION, whole
from imgrec_jax.core.text_table import shorten, table

PARTLY_DONE = 3
_AT_ONCE = 256  # images in memory


class Answer(NamedTuple):
    """The prediction for an image: as JSON, and as text for people."""

    record: dict[str, Any]
    phrase: str


class Answers(NamedTuple):
    """All predictions of a command; `failed` has the errors by requested path.

    `ranked` is true if records hold `top`, the most likely labels.
    """

    step: int
    answers: list[Answer]
    failed: dict[str, str]
    ranked: bool


def main(arguments: Sequence[str]) -> int:
    """Predict the images of the arguments and return the exit status."""
    options = _parse(arguments)
    try:
        if options.web:
            return _serve(options)
        found = _predict(options)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    for error in found.failed.values():
        print(f"imgrec_jax: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_json(options.run, found)))
    elif options.csv:
        print(_csv(found.answers), end="")
    elif found.answers:
        show = _ranked_text if found.ranked else _text
        print("\n".join(show(options, found)))
    if not found.answers:
        return UserError.exit_status
    return PARTLY_DONE if found.failed else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m imgrec_jax predict",
        parents=[checkpoint_flags()],
        description="Predict the contents of images. Exit status: 0 success, 1 no image could be "
        "read, 2 usage error, 3 some images could not be read.",
    )
    parser.add_argument("run", metavar="RUN", help="the workdir of a run, or a checkpoint in it")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*", help="an image file, or a folder of images"
    )
    parser.add_setting(
        "--top", COUNT(3), metavar="K", help="labels per image (default 3; on a web page 5)"
    )
    parser.set_defaults(top=None)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--csv", action="store_true", help="print a line for each image")
    parser.add_argument(
        "--copy_to", default="", metavar="DIR", help="sort copies into class folders"
    )
    parser.add_setting(
        "--min_prob",
        FRACTION(0.0),
        metavar="P",
        help="copy images of a lower probability to unsure/",
    )
    parser.add_argument(
        "--out", default="", metavar="DIR", help="write masks, drawings and JSON to a folder"
    )
    parser.add_argument("--web", action="store_true", help="serve a web page for uploading images")
    parser.add_setting(
        "--port", whole(0, 65535)(7860), help="port of the web page; 0 chooses a free one"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address of the web page; 0.0.0.0 accepts other machines",
    )
    options = parser.parse_args(list(arguments))
    options.top = options.top or (5 if options.web else 3)
    if options.web == bool(options.images):
        parser.error("expected images, or --web in place of them")
    if options.web and (options.json or options.csv or options.copy_to or options.out):
        parser.error("expected no --json, --csv, --copy_to or --out with --web")
    if options.min_prob and not options.copy_to:
        parser.error("expected --copy_to with --min_prob, got none")
    return options


def _serve(options: argparse.Namespace) -> int:
    start_jax(options.device)
    from imgrec_jax.cli.web import serve
    from imgrec_jax.runs.api import load

    run = load(options.run, options.step, options.weights)
    _check_fits(options, run)
    serve(run, Path(options.run).resolve().name, options.top, options.host, options.port)
    return 0


def _predict(options: argparse.Namespace) -> Answers:
    start_jax(options.device)
    from imgrec_jax.core.presentation import row_of
    from imgrec_jax.data.images.read import read_images
    from imgrec_jax.runs.api import load

    run = load(options.run, options.step, options.weights)
    _check_fits(options, run)
    paths, failed = _find(options.images, without=options.copy_to or options.out)
    if run.presentation.draw:
        drawn, unread = predict_drawings.draw_all(run, paths, options.out)
        return Answers(run.step, [Answer(*pair) for pair in drawn], failed | unread, ranked=False)
    show, ranked = run.presentation, run.presentation.ranked
    copies = Copies(Path(options.copy_to), run.labels) if options.copy_to else None
    answers: list[Answer] = []
    for first in range(0, len(paths), _AT_ONCE):
        part = paths[first : first + _AT_ONCE]
        images = read_images(
            part, run.image_shape, run.config.data.dtype, run.config.data.center_crop
        )
        read = dict(zip(part, images, strict=True))
        failed |= {path: str(error) for path, error in read.items() if isinstance(error, UserError)}
        good = {path: image for path, image in read.items() if isinstance(image, np.ndarray)}
        if not good:
            continue
        predicted = run.predict(np.stack(list(good.values())))
        for number, path in enumerate(good):
            answer = row_of(predicted, number)
            record = {"image": path, **show.record(answer, run.facts)}
            if copies:
                copies.add(
                    Path(path),
                    run.labels.index(record["top"][0]["label"]),
                    sure=record["top"][0]["probability"] >= options.min_prob,
                )
            if ranked:
                record["top"] = record["top"][: options.top]
            answers.append(Answer(record, show.phrase(record)))
    return Answers(run.step, answers, failed, ranked)


def _check_fits(options: argparse.Namespace, run: Any) -> None:
    """Raise if an option does not apply to the task of the run."""
    show = run.presentation
    if "image" not in run.facts["element_spec"]:
        raise UsageError(
            f"expected a run that takes images, got task '{run.task_name}' in {options.run}; "
            "try run.predict in Python"
        )
    requested = {"--out": options.out, "--copy_to": options.copy_to, "--csv": options.csv}
    fits = {"--copy_to", "--csv"} if show.ranked else {"--out"} if show.draw else set()
    wrong = [option for option, value in requested.items() if value and option not in fits]
    if wrong:
        instead = "--copy_to" if show.ranked else "--out or --json" if show.draw else "--json"
        raise UsageError(
            f"expected no {wrong[0]} for a run of task '{run.task_name}', got it; try {instead}"
        )


def _find(named: Sequence[str], without: str) -> tuple[list[str], dict[str, str]]:
    """Return the images of files and folders, and an error for each path without images.

    Folders are searched recursively, in the order of names, except the folder `without`.
    """
    from imgrec_jax.data.files.access import file_path, list_files
    from imgrec_jax.data.layout.listing import is_image
    from imgrec_jax.data.layout.unread import warn_unread_files

    paths: dict[str, None] = {}
    failed: dict[str, str] = {}
    kept_out = Path(without).resolve() if without else None
    for name in named:
        if not Path(name).is_dir():
            paths[name] = None
            continue
        try:
            files = sorted(list_files(Path(name)))
        except UserError as error:
            failed[name] = str(error)
            continue
        warn_unread_files(files, name)
        inside = [str(file_path(Path(name), n)) for n in files if is_image(n)]
        if kept_out:
            inside = [path for path in inside if kept_out not in Path(path).resolve().parents]
        if not inside:
            failed[name] = f"expected images in {name}, got none; try another folder"
        paths |= dict.fromkeys(inside)
    return list(paths), failed


def _as_json(run: str, found: Answers) -> dict[str, Any]:
    return {
        "run": run,
        "step": found.step,
        "images": [answer.record for answer in found.answers],
        "failed": [{"image": path, "error": error} for path, error in found.failed.items()],
    }


def _csv(answers: Sequence[Answer]) -> str:
    """Return one line per image; `label_2` is the second most likely label, and so on."""
    count = len(answers[0].record["top"]) if answers else 1
    names = [
        ("label", "probability"),
        *((f"label_{k}", f"probability_{k}") for k in range(2, count + 1)),
    ]
    rows = [["image", *(name for pair in names for name in pair)]]
    for answer in answers:
        pairs = [(t["label"], f"{t['probability']:.6f}") for t in answer.record["top"]]
        rows.append([answer.record["image"], *(x for pair in pairs for x in pair)])
    return csv_text(rows)


def _ranked_text(options: argparse.Namespace, found: Answers) -> list[str]:
    rows = []
    for answer in found.answers:
        pairs = [(f"{100 * t['probability']:.1f} %", t["label"]) for t in answer.record["top"]]
        words = (word for part, label in pairs for word in (part, shorten(label, 20)))
        rows.append([answer.record["image"], *words])
    lines = table(rows, "<" + "><" * len(found.answers[0].record["top"]))
    if options.copy_to:
        lines += ["", f"Copied {len(found.answers):,} images to {options.copy_to}"]
    return [*lines, "", "Next: add --csv or --json for machines, or --copy_to=DIR to sort copies"]


def _text(options: argparse.Namespace, found: Answers) -> list[str]:
    rows = [[answer.record["image"], shorten(answer.phrase, 100)] for answer in found.answers]
    lines = table(rows, "<<")
    if options.out:
        document = predict_drawings.DOCUMENT
        lines += [
            "",
            f"Wrote the drawings of {len(rows):,} images and {document} to {options.out}",
        ]
    return [*lines, "", "Next: add --out=DIR for drawings, or --json for machines"]
