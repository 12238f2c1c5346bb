"""The command line: `python -m imgrec_jax VERB`, or `imgrec VERB`."""

import sys
from collections.abc import Callable, Mapping, Sequence

from imgrec_jax.cli import evaluate, train
from imgrec_jax.core.errors import UserError, unknown

VERBS: Mapping[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "train": (train.main, "learn what a config says"),
    "evaluate": (evaluate.main, "score a run on its data or on other data"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit status."""
    verb, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if verb in {"--help", "-h", "help"}:
        print("usage: python -m imgrec_jax VERB ...\n")
        for name, (_, text) in VERBS.items():
            print(f"  {name:<10} {text}")
        print("\nNext: python -m imgrec_jax train --config=configs/digits.py")
        return 0
    if verb not in VERBS:
        error: UserError = unknown("verb", verb, VERBS)
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    return VERBS[verb][0](rest)


if __name__ == "__main__":
    sys.exit(main())
