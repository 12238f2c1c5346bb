"""What compiled steps do to the devices of a CPU, which share a few threads."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import optax
import pytest

from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import choose
from tests.small import initial_state, small_task, some_images

QUEUED = """
import sys, jax, optax
jax.config.update("jax_num_cpu_devices", 2)
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import choose
from tests.small import initial_state, some_images, small_task

layout = choose(sys.argv[1], jax.devices())
task, optimizer = small_task(layout), optax.sgd(0.01)
program = TrainProgram(task, optimizer, layout)
state, root = layout.place(initial_state(task, optimizer)), layout.replicate(jax.random.key(7))
batches, sums = TrainBatches(some_images(256, size=24), 64, seed=1), []
for step in range(300):
    state, found = program(state, batches(step, 1), root)
    sums.append(found)
print(len(jax.device_get(sums)))
"""


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_devices_work_when_the_count_is_there_and_add_up_when_all_work_is_done(mode):
    """A device that waits in a collective keeps one of the threads that all need to work."""
    layout = choose(mode, jax.devices()[:2])
    task, optimizer = small_task(layout), optax.sgd(0.1)
    program = TrainProgram(task, optimizer, layout)
    state = layout.place(initial_state(task, optimizer))
    batch = TrainBatches(some_images(8), 8, seed=1)(0, 1)
    lowered = program.lower(state, batch, layout.replicate(jax.random.key(7)))
    needs = needs_of(lowered.compile().as_text() or "")
    work = {name for name in needs if re.search(r"\b(convolution|dot)\(", name)}
    count, *sums = [name for name in needs if " all-reduce(" in name]
    assert len(work) >= 4  # two layers, forward and backward
    assert len(sums) >= 2  # of gradients and of metrics, which are integers
    assert all(count in needs[layer] for layer in work)
    assert all(work <= needs[found] for found in sums)


def test_operations_are_counted_over_all_devices():
    """The same step does the same work however it is laid out, but for what each device repeats."""
    flops = {}
    for mode in ("single", "pmap", "shard_map"):
        layout = choose(mode, jax.devices()[:4])
        task, optimizer = small_task(layout), optax.sgd(0.1)
        program = TrainProgram(task, optimizer, layout)
        like = jax.eval_shape(lambda task=task, optimizer=optimizer: initial_state(task, optimizer))
        batch = TrainBatches(some_images(64, size=24), 64, seed=1)(0)
        flops[mode] = program.flops(program.lower(like, batch, jax.random.key(7)))
    assert flops["pmap"] == pytest.approx(flops["single"], rel=0.05)
    assert flops["shard_map"] == pytest.approx(flops["single"], rel=0.05)


def needs_of(program: str) -> dict[str, set[str]]:
    """Return for each instruction of a compiled program those that it has to wait for.

    An instruction stands for itself and what it calls.
    """
    computations = re.split(r"\n(?=%|ENTRY )", program)
    bodies = {text.split(" ", 1)[0]: text for text in computations}
    entry = next(text for text in computations if text.startswith("ENTRY"))
    whole: dict[str, str] = {}
    needs: dict[str, set[str]] = {}
    for name, rest in re.findall(r"\n\s+(?:ROOT )?(%[\w.\-]+) = (.*)", entry):
        operands = [other for other in re.findall(r"%[\w.\-]+", rest) if other in whole]
        called = [bodies.get(other, "") for other in re.findall(r"%[\w.\-]+", rest)]
        whole[name] = "\n".join([f"{name} = {rest}", *called])
        needs[whole[name]] = set().union(
            *({whole[other], *needs[whole[other]]} for other in operands)
        )
    return needs


@pytest.mark.parametrize("mode", ["pmap", pytest.param("shard_map", marks=pytest.mark.slow)])
def test_many_calls_wait_in_a_row_without_hanging(mode):
    """XLA hangs, and after a while aborts, where 32 programs with collectives wait."""
    soon = "--xla_cpu_collective_call_terminate_timeout_seconds=30"
    done = subprocess.run(
        [sys.executable, "-c", QUEUED, mode],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "XLA_FLAGS": soon},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["300"]
