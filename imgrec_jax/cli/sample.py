"""The verb `sample`: generate images with a trained run and write them as files."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imgrec_jax.cli.arguments import Parser, checkpoint_flags, json_flag
from imgrec_jax.cli.predict_drawings import write_png
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.ranges import SEED, whole

_COLUMNS = 8  # of the grid
GRID = "grid.png"


def main(arguments: Sequence[str]) -> int:
    """Generate images according to the arguments and return the exit status."""
    parser = Parser(
        prog="python -m imgrec_jax sample",
        parents=[checkpoint_flags(), json_flag()],
        description="Generate images with a generative run; write them as PNG files and as one "
        "grid. Image k of a seed does not depend on --n.",
    )
    parser.add_argument("run", metavar="RUN", help="the workdir of a run, or a checkpoint in it")
    parser.add_setting("--n", whole(1, 1_000_000)(64), help="number of images (default: 64)")
    parser.add_setting("--seed", SEED(0), help="random seed (default: 0)")
    parser.add_argument("--out", default="samples", metavar="DIR", help="(default: samples)")
    options = parser.parse_args(list(arguments))
    try:
        result = _sample(options)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(result) if options.json else "\n".join(_text(options, result)))
    return 0


def _sample(options: argparse.Namespace) -> dict[str, object]:
    """Write the images and return the --json output."""
    start_jax(options.device)
    from imgrec_jax.data.images.bit_depth import as_rgb
    from imgrec_jax.runs.api import load

    run = load(options.run, options.step, options.weights)
    images = [as_rgb(image) for image in run.sample(options.n, options.seed)]
    out, digits = Path(options.out), len(str(options.n - 1))
    names = [f"seed{options.seed}_{k:0{digits}d}.png" for k in range(options.n)]
    for name, image in zip(names, images, strict=True):
        write_png(out, name, image)
    write_png(out, GRID, grid(images))
    about = {"run": options.run, "step": run.step, "seed": options.seed, "out": options.out}
    return {**about, "images": names, "grid": GRID}


def grid(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return images uint8[h, w, 3] tiled as one, in rows of eight with a white 1-pixel margin."""
    height, width, _ = images[0].shape
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    whole = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), 255, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = row * (height + 1) + 1, column * (width + 1) + 1
        whole[top : top + height, left : left + width] = image
    return whole


def _text(options: argparse.Namespace, result: dict[str, object]) -> list[str]:
    return [
        f"Wrote {options.n:,} images of seed {options.seed} and {GRID} to {options.out} "
        f"({options.run}, step {result['step']:,})",
        "",
        "Next: look at the grid, or generate others with --seed=1",
    ]
