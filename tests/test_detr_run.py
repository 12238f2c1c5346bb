"""DETR through the loop that stands: it learns real pictures by heart, and made ones in short."""

import tarfile
from pathlib import PurePosixPath

import pytest

import imgrec_jax
from imgrec_jax.build import build_experiment
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.parallel import EvalProgram, TrainProgram, fetch

PICTURES = 16


def write_part(archive, folder, count):
    """Write the first training pictures of a set in VOC's layout, as both train and test."""
    with tarfile.open(archive) as tar:
        files = {PurePosixPath(member.name): member for member in tar.getmembers()}
        read = {path: tar.extractfile(member) for path, member in files.items() if member.isfile()}
        lists = next(path for path in read if path.match("ImageSets/Main/train.txt"))
        stems = read[lists].read().decode().split()[:count]
        for path, file in read.items():
            if path.stem in stems and path.parent.name in {"Annotations", "JPEGImages"}:
                target = folder / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
    (folder / "ImageSets/Main").mkdir(parents=True)
    for split in ("train", "test"):
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(stems), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.shared_data
def test_sixteen_real_pictures_are_learned_by_heart(shared_data, tmp_path):
    """Measured: AP50 TBD after 600 steps, TBD s on two busy CPU cores."""
    write_part(shared_data / "bccd.tar", tmp_path, PICTURES)
    config = imgrec_jax.get_config(
        "bccd_detr",
        data__source=f"voc:{tmp_path}",
        epochs=600,  # of one step
        augment="",
        model__detr__dropout=0.0,
        parallel__mode="single",
    )
    experiment = build_experiment(config)
    assert experiment.total_steps == 600
    program = TrainProgram(experiment.task, experiment.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    root = experiment.parallel.replicate(experiment.root_key)
    losses = []
    for step in range(experiment.total_steps):
        state, sums = program(state, experiment.train(step), root)
        if step in {0, 599}:
            losses.append(experiment.task.compute_metrics(fetch(sums), {})["loss"])
    scored = evaluate(
        EvalProgram(experiment.task, experiment.parallel),
        experiment.task.compute_metrics,
        state.params,
        state.model_state,
        experiment.evaluations["test"](),
    )
    print(losses, scored.metrics)
    assert losses[0] > 10
    assert losses[1] < 1.5
    assert scored.metrics["ap50"] >= 0.95
    assert len(scored.rows["scores"]) == PICTURES
