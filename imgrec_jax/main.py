"""Training from the command line: `python -m imgrec_jax.main --config=configs/cifar10.py`."""

import sys

from imgrec_jax.core.stop_signals import block_stop_signals


def main(arguments: list[str] | None = None) -> int:
    """Train according to the flags and return the exit status."""
    from imgrec_jax.cli import train
    from imgrec_jax.core.printable import printable_output

    with printable_output():
        return train.main(sys.argv[1:] if arguments is None else arguments)


def command() -> int:
    """Train as a process of its own and return the exit status."""
    block_stop_signals()  # until they are handled: imports would end in a traceback
    from imgrec_jax.training.host.signals import run_command

    return run_command(main)


if __name__ == "__main__":
    sys.exit(command())
