"""The verb `probe`: evaluate the features of a network on other data, without training."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from imgrec_jax.cli.arguments import Parser, checkpoint_flags, json_flag
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.ranges import COUNT, COUNT_OR_ZERO, SEED, SIDE, whole


def main(arguments: Sequence[str]) -> int:
    """Probe a run according to the arguments and return the exit status."""
    options = _parse(arguments)
    try:
        scores = _scores(options)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(scores) if options.json else "\n".join(_text(scores)))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m imgrec_jax probe",
        parents=[checkpoint_flags(), json_flag()],
        description="Classify data by the features of a trained network: with a linear probe "
        "(ridge regression) and nearest neighbours, both fitted to the train split, "
        "and with the nearest class mean in few-shot episodes.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a workdir, a checkpoint in it, FILE.safetensors or hf:OWNER/NAME",
    )
    parser.add_argument("--data", default="", metavar="SOURCE", help="kind:where; default: its own")
    parser.add_argument("--model", default="", help="model of a weight file: resnet50")
    parser.add_setting("--image_size", SIDE(0), help="side of its input images: 224")
    parser.add_argument("--normalization", default="", help="of its inputs; default: imagenet")
    parser.add_argument("--classes", default="", help="names or patterns: 'cat,dog'")
    parser.add_setting(
        "--examples_per_class", COUNT_OR_ZERO(0), help="training examples; default: all"
    )
    parser.add_setting("--seed", SEED(0), help="of examples and episodes")
    parser.add_argument("--layer", default="features", help="default: input of the last layer")
    parser.add_setting("--neighbours", COUNT(20), help="number that vote (default: 20)")
    parser.add_setting("--ways", whole(2, 10_000)(5), help="classes per episode (default: 5)")
    parser.add_setting("--episodes", whole(2, 1_000_000)(1000), help="(default: 1000)")
    parser.set_defaults(ways=None)  # the default omits episodes where there are fewer classes
    return parser.parse_args(list(arguments))


def _scores(options: argparse.Namespace) -> dict[str, Any]:
    """Return the --json output."""
    start_jax(options.device)
    from imgrec_jax.data.sources.subset import part_of
    from imgrec_jax.runs.probe import check_ways, probe

    run = _load(options)
    data = options.data or run.config.data.source
    splits = part_of(
        run.splits(options.data),
        data,
        classes=options.classes,
        examples_per_class=options.examples_per_class,
        seed=options.seed,
    )
    check_ways(options.ways or 1, splits)
    ways = options.ways or 5
    return {
        "run": options.run,
        "step": run.step,
        "data": data,
        "layer": options.layer,
        "ways": ways,
        "splits": probe(
            run,
            splits,
            layer=options.layer,
            neighbours=options.neighbours,
            ways=ways,
            episodes=options.episodes,
            seed=options.seed,
        ),
    }


def _load(options: argparse.Namespace) -> Any:
    """Return the run, or a pretrained network from a file or from the hub."""
    from imgrec_jax.runs.api import load
    from imgrec_jax.runs.pretrained import load_pretrained
    from imgrec_jax.weights.files import is_weights_file
    from imgrec_jax.weights.hub import PREFIX

    if not (options.run.startswith(PREFIX) or is_weights_file(options.run)):
        return load(options.run, options.step, options.weights)
    if not (options.model and options.data):
        raise UsageError(
            f"expected --model and --data for {options.run}, got none; "
            "try --model=resnet50 --data=folder:PATH"
        )
    return load_pretrained(
        options.run,
        options.model,
        image_size=options.image_size,
        normalization=options.normalization,
    )


def _text(scores: Mapping[str, Any]) -> list[str]:
    lines = [f"{scores['run']}, step {scores['step']:,}, {scores['layer']} on {scores['data']}"]
    for split, found in scores["splits"].items():
        lines += ["", f"{split}, {found['examples']:,} examples of {found['classes']} classes"]
        if "linear" in found:
            lines.append(f"  linear probe        {found['linear']:.4f}")
            lines.append(f"  nearest neighbours  {found['neighbours']:.4f}")
        for shots, accuracies in found.get("few_shot", {}).items():
            name = f"{scores['ways']}-way {shots}-shot"
            half = accuracies["half_width"]
            within = "" if half is None else f" ± {half:.4f} (95 %, Student's t over episodes)"
            lines.append(f"  {name:<19} {accuracies['accuracy']:.4f}{within}")
    next_step = "train --config=transfer --config.init_from=RUN fine-tunes it; --help has options"
    return [*lines, "", f"Next: {next_step}"]
