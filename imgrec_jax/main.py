"""Training from the command line: `python -m imgrec_jax.main --config=configs/cifar10.py`."""

import sys
from collections.abc import Sequence

from imgrec_jax.cli import train
from imgrec_jax.core.printable import printable_output


def main(arguments: Sequence[str] | None = None) -> int:
    """Train according to the flags and return the exit status."""
    with printable_output():
        return train.main(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
