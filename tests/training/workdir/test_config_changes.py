import json

import pytest

from imgrec_jax import get_config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.nested import flatten
from imgrec_jax.training.workdir import config_changes
from imgrec_jax.training.workdir.config_changes import (
    Change,
    check_changes,
    find_changes,
    record_changes,
)

BASE = get_config("base").to_dict()
KEYS = sorted(flatten(BASE))


def edited(config, key, value):
    """Return a config with one value changed or added."""
    first, _, rest = key.partition(".")
    inner = edited(config.get(first, {}), rest, value) if rest else value
    return {**config, first: inner}


def choosing(key):
    """Return the base config with the model, optimizer or task chosen that `key` is of."""
    parts = key.split(".")
    chosen = len(parts) == 3 and parts[0] in {"model", "optim", "task"}
    return edited(BASE, f"{parts[0]}.name", parts[1]) if chosen else BASE


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_one_class(key):
    """A new key of configs/base.py belongs in FREE, RECORDED or FIXED of config_changes.py."""
    entry = config_changes._entry(key)
    tables = [config_changes.FREE, config_changes.RECORDED, config_changes.FIXED]
    assert [entry in table for table in tables].count(True) == 1, f"{key} has no class"


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_handled_as_its_class_says(key, tmp_path):
    before = choosing(key)
    found = find_changes(before, edited(before, key, "changed"), BASE)
    entry = config_changes._entry(key)
    if entry in config_changes.FREE:
        assert found == []
        return
    assert found == [Change(key, flatten(before)[key], "changed")]
    with pytest.raises(UsageError, match=f"  {key}: .* -> 'changed'") as caught:
        check_changes(tmp_path, found, accepted=False)
    assert "--workdir=" in str(caught.value)
    fixed = entry in config_changes.FIXED
    assert fixed == ("cannot change" in str(caught.value))
    assert fixed != ("--resume=accept-changes" in str(caught.value))
    if fixed:
        with pytest.raises(UsageError, match=key):
            check_changes(tmp_path, found, accepted=True)
    else:
        check_changes(tmp_path, found, accepted=True)


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("log.every_steps", config_changes.FREE),
        ("checkpoint.keep", config_changes.FREE),
        ("parallel.mode", config_changes.FREE),
        ("parallel.sync_batchnorm", config_changes.RECORDED),
        ("epochs", config_changes.RECORDED),
        ("optim.learning_rate", config_changes.RECORDED),
        ("optim.adam.b1", config_changes.RECORDED),
        ("augment", config_changes.RECORDED),
        ("data.source", config_changes.RECORDED),
        ("precision", config_changes.RECORDED),
        ("optim.name", config_changes.FIXED),
        ("model.name", config_changes.FIXED),
        ("model.convnet.width", config_changes.FIXED),
        ("task.name", config_changes.FIXED),
        ("batch_size", config_changes.FIXED),
        ("data.holdout", config_changes.FIXED),
        ("seed", config_changes.FIXED),
    ],
)
def test_the_classes_of_some_keys(key, table):
    assert config_changes._entry(key) in table


def test_blocks_that_nobody_chooses_do_not_matter():
    assert BASE["optim"]["name"] == "adam"
    assert find_changes(BASE, edited(BASE, "optim.sgd.momentum", 0.5), BASE) == []
    assert find_changes(BASE, edited(BASE, "model.another.depth", 50), BASE) == []
    assert find_changes(BASE, edited(BASE, "optim.adam.b2", 0.5), BASE) != []


def test_a_key_that_nobody_knows_is_written_down(tmp_path):
    found = find_changes(BASE, edited(BASE, "mine", 3), BASE)
    assert found == [Change("mine", None, 3)]
    check_changes(tmp_path, found, accepted=True)


def test_a_key_that_is_younger_than_the_run_has_its_default(tmp_path):
    before = {key: value for key, value in BASE.items() if key not in {"seed", "augment"}}
    assert find_changes(before, BASE, BASE) == []
    found = find_changes(before, edited(BASE, "augment", "flip"), BASE)
    assert found == [Change("augment", "", "flip")]


def test_several_changes_are_told_at_once(tmp_path):
    (tmp_path / "run_2").mkdir()
    after = edited(edited(BASE, "epochs", 30), "seed", 7)
    with pytest.raises(UsageError) as caught:
        check_changes(tmp_path / "run", find_changes(BASE, after, BASE), accepted=True)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  epochs: 20 -> 30"
    assert lines[2].startswith("  seed: 0 -> 7 (cannot change: ")
    assert str(tmp_path / "run_3") in lines[3]
    assert "--config.init_from=" in lines[3]


def test_changes_are_written_once(tmp_path):
    path = tmp_path / "config_history.jsonl"
    record_changes(tmp_path, 46, [Change("epochs", 2, 3), Change("augment", "", "flip")])
    record_changes(tmp_path, 46, [Change("epochs", 2, 3)])
    record_changes(tmp_path, 69, [Change("epochs", 3, 4)])
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {"step": 46, "key": "epochs", "old": 2, "new": 3},
        {"step": 46, "key": "augment", "old": "", "new": "flip"},
        {"step": 69, "key": "epochs", "old": 3, "new": 4},
    ]


def test_the_block_of_a_family_is_read():
    """vit_s16 has its arguments in the block vit."""
    block = {"name": "vit_s16", "vit": {"pool": "token"}, "convnext": {"remat": False}}
    other = {**block, "vit": {"pool": "mean"}, "convnext": {"remat": True}}
    found = find_changes({"model": block}, {"model": other}, {})
    assert [change.key for change in found] == ["model.vit.pool"]
