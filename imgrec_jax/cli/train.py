"""The verb `train`: build an experiment from command-line flags and run it."""

import sys
from collections.abc import Sequence

from imgrec_jax import config as configs
from imgrec_jax.cli.summary import summary
from imgrec_jax.config_files import declared_settings
from imgrec_jax.core.errors import STOPPED, UserError
from imgrec_jax.core.huge_pages import restart_with_huge_pages
from imgrec_jax.core.ranges import Setting

HELP = """\
usage: python -m imgrec_jax.main --config=FILE [flags]

  --config=FILE            a config file or the name of one: {known}
  --workdir=DIR            folder of the run (default: runs/<name of the config>)
  --resume=accept-changes  resume a run whose config has changed
  --plan=8xh100            only estimate memory, operations and hours on such devices
                           (or v5e-64, ...), also with --config.data.source=synthetic:...
  --config.KEY=VALUE       change one value of the config, such as --config.epochs=5

Running the same command again resumes a stopped run. Exit status: 0 success, 1 failure,
2 usage error, 75 stopped and resumable.

Keys, with the defaults and ranges of configs/base.py:
{keys}

Next: python -m imgrec_jax.main --config=configs/digits.py"""


def main(arguments: Sequence[str]) -> int:
    """Train according to the arguments and return the exit status."""
    if {"--help", "-h", "--helpfull"} & set(arguments):
        print(_help())
        return 0
    try:
        return _train(configs.parse_command_line(arguments))
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status


def _train(request: configs.Request) -> int:
    restart_with_huge_pages()
    from imgrec_jax.runs import api  # this imports JAX
    from imgrec_jax.training.host import host, lost_peers, multihost, signals
    from imgrec_jax.training.host.processes import is_first_process

    config = request.config
    if request.plan:
        from imgrec_jax.cli.plan import print_plan

        return print_plan(config, request.plan)
    host.keep_compiled_programs()
    host.hide_other_devices(config.parallel.devices)
    multihost.join(config.parallel.multihost)
    # Several processes may share the machine, so none of them takes all cores.
    cpu_devices = "1" if multihost.joined() else "auto"
    if config.parallel.cpu_devices != "auto":
        cpu_devices = config.parallel.cpu_devices
    host.make_cpu_devices(cpu_devices, config.batch_size // config.micro_batches)
    if warning := host.idle_accelerator_warning():
        print(warning, file=sys.stderr)
    try:
        with lost_peers.lost_peers():
            run = api.train(
                config, request.workdir, accept_changes=request.resume == "accept-changes"
            )
    except signals.Interrupted as stopped:
        if is_first_process():
            print(f"\nStopped at step {stopped.step:,} and saved. The same command resumes it.")
        return STOPPED
    if not run.result:  # stopped in a notebook, which already shows why
        return STOPPED
    if is_first_process():
        lines = summary(run.result, run.labels, request.workdir, trained=run.trained)
        print("\n" + "\n".join(lines))
    return 0


def _help() -> str:
    keys = [_about(key, setting) for key, setting in declared_settings().items()]
    return HELP.format(known=", ".join(configs.known_configs()), keys="\n".join(keys))


def _about(key: str, setting: Setting) -> str:
    """Return the line of a key: its default, and the range of numbers and fixed words."""
    line, numbers = f"  {key} = {setting.default!r}", type(setting.default) in {int, float}
    return f"{line:<48}  {setting.range}" if numbers or setting.range.choices else line
