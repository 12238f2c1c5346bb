"""The command that `data inspect` proposes fits the data set."""

import shlex

import numpy as np
import pytest

from imgrec_jax.build.tasks import TASKS, open_data, task_spec
from imgrec_jax.cli.inspect_next import CONFIGS, next_command
from imgrec_jax.config import get_config, parse_command_line
from imgrec_jax.core.fields import kind_of
from imgrec_jax.data.inspect.inspection import inspect
from imgrec_jax.data.raw.items import Images


def found(sizes, *, labels=None, splits=("train",), fields=None, broken=False):
    """The inspection of images of these sizes (height, width), the same in every split."""
    generator = np.random.default_rng(0)
    labels = np.zeros(len(sizes), np.int32) if labels is None else np.array(labels, np.int32)
    reports = {}
    for split in splits:
        items = [generator.integers(0, 256, (*s, 3)).astype(np.uint8) for s in sizes]
        items = [*items[:-1], b"damaged"] if broken else items
        reports[split] = Images(items, split, labels, ("a", "b"), fields=fields or {})
    return inspect(reports)


def flags(source, inspection, given=()):
    command = shlex.split(next_command(source, inspection, given))
    assert command[:4] == ["python", "-m", "imgrec_jax", "train"]
    config = parse_command_line(command[4:]).config
    return command[4].partition("=")[2], config


LABELS = [0, 1] * 10


def test_sizes_decide_the_size_of_an_image():
    config, request = flags("folder:x", found([(40, 30)] * 20, labels=LABELS))
    assert (config, request.data.image_size, request.data.holdout) == ("folder", 30, 0.1)
    _, request = flags("folder:x", found([(500, 400)] * 20, labels=LABELS))
    assert request.data.image_size == 224
    _, request = flags("npz:x", found([(16, 16)] * 20, labels=LABELS))
    assert request.data.image_size == 64  # as in the config
    _, request = flags("digits", found([(8, 8)] * 20, labels=LABELS))
    assert request.data.image_size == 0


def test_splits_decide_what_is_held_out():
    _, request = flags("folder:x", found([(8, 8)] * 20, labels=LABELS, splits=("train", "val")))
    assert request.data.holdout == 0
    _, request = flags("folder:x", found([(8, 8)] * 4, labels=[0, 0, 1, 1]))
    assert request.data.holdout == 1
    _, request = flags("folder:x", found([(8, 8)] * 2, labels=[0, 1]))
    assert request.data.holdout == 0
    command = next_command("folder:x y", found([(8, 8)] * 2, splits=("test",)), ())
    assert command == "python -m imgrec_jax evaluate RUN --data='folder:x y'"


def test_annotations_decide_the_config_and_its_shape():
    many = {"boxes": np.zeros((20, 40, 4)), "box_label": np.zeros((20, 40), np.int32)}
    config, request = flags("voc:x", found([(480, 640)] * 20, fields=many))
    assert (config, request.data.image_shape, request.data.max_boxes) == (
        "bccd_fcos",
        "240x320",
        40,
    )
    maps = {"label_map": np.zeros((20, 50, 50), np.uint8)}
    config, request = flags("masks:x", found([(50, 50)] * 20, fields=maps))
    assert (config, request.data.image_shape, request.data.holdout) == ("camvid_unet", "48x48", 0.1)
    _, request = flags("npz:x", found([(50, 50)] * 20, fields=maps))
    assert request.data.image_shape == ""


def test_damage_and_the_flags_of_the_inspection_are_carried_on():
    damaged = found([(8, 8)] * 20, labels=LABELS, broken=True)
    given = ["--config.data.classes=a,b", "--config.data.holdout=0.5"]
    _, request = flags("folder:x", damaged, given)
    assert request.data.broken == "skip-and-count"
    assert (request.data.classes, request.data.holdout) == ("a,b", 0.5)


def test_the_command_opens_its_data(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    where = tmp_path / "set.npz"
    np.savez(where, x_train=images, y_train=LABELS)
    stored = {"train": Images(images, "train", np.array(LABELS, np.int32), ("0", "1"))}
    _, request = flags(f"npz:{where}", inspect(stored))
    assert {split: len(source) for split, source in open_data(request).items()} == {
        "train": 18,
        "val": 2,
    }


@pytest.mark.parametrize(("kind", "name"), CONFIGS.items())
def test_a_config_of_the_table_needs_fields_of_its_kind(kind, name):
    spec = task_spec(get_config(name))
    assert kind in map(kind_of, spec.needs)
    assert spec in TASKS.values()
