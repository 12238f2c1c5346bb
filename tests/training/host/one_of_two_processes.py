"""One of two processes of four devices each, started by test_multihost.py.

    python one_of_two_processes.py WHERE MODE FSDP FOLDER

Trains the small network as test_invariants.py does, saves and restores a checkpoint, scores a
set that divides by no number of devices, and writes what came of it, in each process.
"""

import sys
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
jax.config.update("jax_num_cpu_devices", 4)


def main(where: str, mode: str, fsdp: str, folder: str) -> None:
    from imgrec_jax.training.host import multihost

    multihost.join(where)
    from small import AUGMENT, small_task, some_images, train_small

    from imgrec_jax.build.batches import one_pass
    from imgrec_jax.training.checkpoints.orbax import Checkpoints
    from imgrec_jax.training.evaluate import evaluate
    from imgrec_jax.training.host.processes import any_process
    from imgrec_jax.training.step import compiled_steps, parallel
    from imgrec_jax.training.step.sharding import parse_rules

    rules = parse_rules("Conv_0/kernel=-1")
    layout = parallel.choose(mode, jax.devices(), fsdp=int(fsdp), rules=rules)
    settings = {"batch_size": 16, "layout": layout, "width": 8, "batch_norm": True}
    state, sums, program = train_small(
        some_images(19), steps=3, augment=AUGMENT, mixing=True, fetched=False, **settings
    )
    with Checkpoints(Path(folder) / "checkpoints") as checkpoints:
        checkpoints.save(parallel.savable(state), {}, {})
        checkpoints.wait()
        restored, _ = checkpoints.restore(3, state)
    task = small_task(layout, batch_norm=True, width=8)
    scored = evaluate(
        compiled_steps.EvalProgram(task, layout),
        task.compute_metrics,
        state.params,
        state.model_state,
        one_pass(some_images(101), 32, layout),
    )
    again = layout.place(restored)
    shards = again.params["Conv_0"]["kernel"].addressable_shards
    np.savez(
        Path(folder) / f"process{jax.process_index()}.npz",
        *jax.tree.leaves((restored.params, restored.model_state)),
        correct=[int(s["correct"]) for s in sums],
        confusion=scored.sums["confusion"],
        predictions=scored.rows["prediction"],
        labels=scored.rows["label"],
        traces=program.traces,
        processes=layout.processes,
        columns=layout.columns(16),
        shard=shards[0].data.shape,
        stops=[any_process(jax.process_index() == 1), any_process(False)],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
