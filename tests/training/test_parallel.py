import jax
import numpy as np
import pytest
from small import on, pictures, train_small

from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.parallel import check_batch_size, choose


def test_auto_is_single_on_one_device_and_pmap_on_several():
    assert choose("auto", jax.devices()[:1]).mode == "single"
    assert choose("auto", jax.devices()).mode == "pmap"
    assert len(choose("single", jax.devices()).devices) == 1


def test_an_unknown_mode_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown parallel.mode 'pmpa'; did you mean 'pmap'"):
        choose("pmpa", jax.devices())


@pytest.mark.parametrize(
    ("size", "devices", "micro", "near"),
    [(30, 4, 1, "try 28 or 32"), (10, 4, 3, "try 12"), (3, 8, 1, "try 8")],
)
def test_a_batch_that_does_not_divide_names_the_nearest(size, devices, micro, near):
    with pytest.raises(UsageError) as caught:
        check_batch_size("batch_size", size, on(devices), micro)
    assert str(caught.value).endswith(near)
    assert f"got {size}" in str(caught.value)


def test_a_batch_that_divides_is_taken():
    check_batch_size("batch_size", 24, on(4), 3)


def test_placing_copies():
    """A step donates its state; what it was made from must survive."""
    original = jax.device_put(np.ones(3, np.float32), jax.devices()[0])
    placed = on(1).place({"x": original})
    placed["x"].delete()
    np.testing.assert_array_equal(original, [1, 1, 1])


@pytest.mark.parametrize("devices", [1, 2])
def test_the_state_has_no_device_axis(devices):
    state, _, _ = train_small(pictures(16), batch_size=8, steps=1, devices=devices)
    assert state.params["Dense_0"]["kernel"].shape == (4, 3)
    assert state.step.shape == ()
    assert int(state.step) == 1


def test_golden_first_step():
    """One step of the small network, to be renewed only with a change meant to alter it."""
    _, sums, _ = train_small(pictures(16), batch_size=16, steps=1)
    assert int(sums[0]["examples"]) == 16
    assert int(sums[0]["correct"]) == 5
    assert float(sums[0]["loss"]) / 16 == pytest.approx(0.975928, abs=1e-5)
    assert "confusion" not in sums[0]
