"""Every key of a config and every bad value: refused in one line, before anything starts."""

import math

import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.config import parse_command_line
from imgrec_jax.config_files import declared_settings
from imgrec_jax.core.errors import UsageError

DECLARED = declared_settings()
NUMBERS = sorted(k for k, s in DECLARED.items() if type(s.default) in {int, float})
AUTOMATIC = {"data.workers", "data.memory_gb", "data.file_gb"}  # where -1 means something
NEVER_ZERO = {
    *("epochs", "eval_every", "batch_size", "eval_batch_size", "micro_batches"),
    *("task.detect.detections", "data.center_crop", "data.max_boxes", "parallel.fsdp"),
    *("checkpoint.keep", "log.every_steps", "optim.learning_rate", "optim.layer_decay"),
    *("optim.lars.trust_coefficient", "optim.muon.ns_steps", "optim.adafactor.decay_rate"),
    *("optim.adafactor.min_dim_size_to_factor", "model.vit.epsilon"),
    *(k for k in NUMBERS if k.endswith((".width", ".hidden", ".heads", ".queries", ".eps"))),
    *("model.detr.decoder_depth", "model.edsr.depth", "model.edsr.residual"),
    *("model.fsrcnn.depth", "model.fsrcnn.shrink"),
    *("task.super_resolution.patch", "task.super_resolution.scale"),
}
WRONG_TYPES = {
    int: ["", "1", 1.5, True, None, [1]],
    float: ["", "1", True, None, [1.0]],
    bool: [1, -1, 2.0, "", None],
    str: [0, 1.5, True, None],
}


def impossible(key):
    """Return the values that mean nothing for a key."""
    kind = type(DECLARED[key].default)
    if kind in {bool, str}:
        return WRONG_TYPES[kind] + (["nonsense", ""] if DECLARED[key].range.choices else [])
    values = [-2, 10**21, 10**5000] if kind is int else [-2.0, 1e308, math.nan, math.inf]
    values += [] if key in AUTOMATIC else [kind(-1)]
    values += [kind(0)] if key in NEVER_ZERO else []
    return values + WRONG_TYPES[kind]


def test_every_number_has_a_range_of_its_own():
    assert [k for k in NUMBERS if not math.isfinite(DECLARED[k].range.high)] == []
    assert len(NUMBERS) > 90


def test_no_key_accepts_a_value_that_means_nothing():
    pairs = [(key, value) for key in DECLARED for value in impossible(key)]
    assert len(pairs) > 1000
    assert [pair for pair in pairs if DECLARED[pair[0]].range.accepts(pair[1])] == []


@pytest.mark.parametrize("key", sorted(DECLARED))
def test_a_refused_value_is_told_with_its_key_and_a_way_out(key):
    value = impossible(key)[0]
    with pytest.raises(UsageError) as caught:
        get_config("base", **{key.replace(".", "__"): value})
    line = str(caught.value)
    assert line.startswith(f"expected {key} to be ")
    assert f", got {value!r}; try --config.{key}={DECLARED[key].default}" in line


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_with_a_meaning_are_accepted(key):
    kind, range_ = type(DECLARED[key].default), DECLARED[key].range
    assert range_.accepts(kind(0)) == (key not in NEVER_ZERO)
    assert range_.accepts(kind(-1)) == (key in AUTOMATIC)
    assert range_.accepts(DECLARED[key].default)


def test_a_config_accepts_whole_numbers_where_floats_are_expected():
    assert get_config("base", optim__learning_rate=1).optim.learning_rate == 1.0
    assert get_config("base", optim__learning_rate=np.float64(0.5)).optim.learning_rate == 0.5


@pytest.mark.parametrize("key", ["epochs", "data.workers", "optim.adam.eps", "data.memory_gb"])
def test_the_command_line_refuses_the_same_in_one_line(key):
    for text in ("-2", "nan", "inf", "1e308", "1" + "0" * 5000, "", "x", "[1]", "None"):
        with pytest.raises(UsageError, match=key) as caught:
            parse_command_line(["--config=base", f"--config.{key}={text}"])
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 6000


def test_a_value_of_a_config_file_is_checked_like_a_flag(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from imgrec_jax import start_from\n\n\ndef get_config():\n"
        "    config = start_from('base')\n    config.optim.adam.b2 = -1.0\n    return config\n"
    )
    with pytest.raises(UsageError, match=r"optim\.adam\.b2 to be a number from 0 to below 1"):
        get_config(str(path))


def test_a_key_of_its_own_of_a_config_file_takes_all_finite_numbers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from imgrec_jax import start_from\n\n\ndef get_config():\n"
        "    config = start_from('base')\n    config.mine = -1e9\n    return config\n"
    )
    assert get_config(str(path)).mine == -1e9
    with pytest.raises(UsageError, match="expected mine to be a finite number, got nan"):
        get_config(str(path), mine=math.nan)
