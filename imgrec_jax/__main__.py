"""Command-line entry point: `python -m imgrec_jax VERB`, or `imgrec VERB`."""

import sys

from imgrec_jax.core.stop_signals import block_stop_signals


def main(arguments: list[str] | None = None) -> int:
    """Run a verb and return the exit status."""
    from imgrec_jax.cli import verbs

    return verbs.main(sys.argv[1:] if arguments is None else arguments)


def command() -> int:
    """Run a verb as a process of its own and return the exit status."""
    block_stop_signals()  # until they are handled: imports would end in a traceback
    from imgrec_jax.training.host.signals import run_command

    return run_command(main)


if __name__ == "__main__":
    sys.exit(command())
