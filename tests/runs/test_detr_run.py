"""DETR learns real images by heart."""

import tarfile
from pathlib import PurePosixPath

import pytest

import imgrec_jax
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.step.compiled_steps import EvalProgram, TrainProgram

IMAGES = 16


def write_part(archive, folder, count):
    """Write the first training images of a set in VOC's layout, as both train and test."""
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
def test_sixteen_real_images_are_learned_by_heart(shared_data, tmp_path):
    """Scored every 100 of 1,500 steps, until AP50 is 0.95; see configs/bccd_detr.py for figures."""
    write_part(shared_data / "bccd.tar", tmp_path, IMAGES)
    config = imgrec_jax.get_config(
        "bccd_detr",
        data__source=f"voc:{tmp_path}",
        epochs=1500,  # of one step
        augment="",
        model__detr__dropout=0.0,
        parallel__mode="single",
    )
    experiment = build_experiment(config)
    train = TrainProgram(experiment.task, experiment.step.optimizer, experiment.parallel)
    score = EvalProgram(experiment.task, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    root = experiment.parallel.replicate(experiment.root_key)
    scores = []
    for step in range(experiment.total_steps):
        state, _ = train(state, experiment.train(step), root)
        if step % 100 == 99:
            batches = experiment.data.passes["test"]()
            weights = (state.params, state.model_state)
            scored = evaluate(score, experiment.task.compute_metrics, *weights, batches)
            scores.append(scored.metrics["ap50"])
            if scores[-1] >= 0.95:
                break
    assert len(scored.rows["scores"]) == IMAGES
    assert scores[0] < 0.5
    assert scores[-1] >= 0.95
