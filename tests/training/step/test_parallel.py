import functools
from unittest import mock

import jax
import numpy as np
import optax
import pytest
from small import on, some_images, train_small

from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.host.devices import select_devices
from imgrec_jax.training.step.parallel import Parallel, check_batch_size, choose


def test_auto_is_single_on_one_device_and_pmap_on_several():
    assert choose("auto", jax.devices()[:1]).mode == "single"
    assert choose("auto", jax.devices()).mode == "pmap"
    assert len(choose("single", jax.devices()).devices) == 1


def test_an_unknown_mode_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown parallel.mode 'pmpa'; did you mean 'pmap'"):
        choose("pmpa", jax.devices())


@pytest.mark.parametrize(
    ("mode", "fsdp", "excerpt"),
    [
        ("mesh", 3, "expected parallel.fsdp to divide the 8 devices, got 3; try .*fsdp=1"),
        ("pmap", 2, "expected parallel.mode=mesh for parallel.fsdp=2, got pmap"),
        ("shard_map", 2, "expected parallel.mode=mesh for parallel.fsdp=2, got shard_map"),
    ],
)
def test_a_layout_that_does_not_fit_the_devices(mode, fsdp, excerpt):
    with pytest.raises(UsageError, match=excerpt):
        choose(mode, jax.devices(), fsdp=fsdp)
    assert choose("auto", jax.devices(), fsdp=2).mode == "mesh"


@pytest.mark.parametrize(
    ("requested", "numbers"),
    [("", list(range(8))), ("2", [0, 1]), ("3,1", [3, 1]), ("[5]", [5]), ("8", list(range(8)))],
)
def test_devices_are_selected(requested, numbers):
    assert [device.id for device in select_devices(requested)] == numbers


@pytest.mark.parametrize("requested", ["9", "0", "7,8", "a", "1.5", ","])
def test_devices_that_are_not_there(requested):
    with pytest.raises(UsageError, match=r"expected parallel.devices .*got '"):
        select_devices(requested)


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_ghost_batch_norm_keeps_statistics_per_device(mode):
    """Each device normalises by its own half; the running mean is the mean of theirs."""
    settings = {"batch_size": 16, "steps": 1, "batch_norm": True, "optimizer": optax.sgd(0.0)}
    source = some_images(16)
    layout = choose(mode, jax.devices()[:2], sync_batchnorm=False)
    ghost, ghost_sums, _ = train_small(source, layout=layout, **settings)
    whole, sums, _ = train_small(source, devices=2, **settings)
    means = [tree.model_state["batch_stats"]["BatchNorm_0"] for tree in (ghost, whole)]
    np.testing.assert_allclose(means[0]["mean"], means[1]["mean"], rtol=1e-5)  # equal halves
    assert not np.allclose(means[0]["var"], means[1]["var"], rtol=1e-5)
    assert ghost_sums[0]["loss"] != pytest.approx(float(sums[0]["loss"]), rel=1e-5)


@pytest.mark.parametrize("micro", [1, 2])
def test_processes_share_the_columns_of_a_batch(micro):
    """Three processes of one device each: together all columns, each its own of each part."""
    layouts = [on_process(i, 3) for i in range(3)]
    columns = [layout.columns(12, micro).tolist() for layout in layouts]
    assert sorted(column for part in columns for column in part) == list(range(12))
    assert columns[1] == ([4, 5, 6, 7] if micro == 1 else [2, 3, 8, 9])


def on_process(number, count):
    layout = mock.Mock(spec=Parallel)
    layout.processes, layout.devices = count, tuple(range(count))
    layout.local_devices = (number,)
    layout.columns = functools.partial(Parallel.columns, layout)
    return layout


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
    state, _, _ = train_small(some_images(16), batch_size=8, steps=1, devices=devices)
    assert state.params["Dense_0"]["kernel"].shape == (4, 3)
    assert state.step.shape == ()
    assert int(state.step) == 1


def test_golden_first_step():
    """One step of the small network, to be renewed only with a change meant to alter it."""
    _, sums, _ = train_small(some_images(16), batch_size=16, steps=1)
    assert int(sums[0]["examples"]) == 16
    assert int(sums[0]["correct"]) == 5
    assert float(sums[0]["loss"]) / 16 == pytest.approx(0.975928, abs=1e-5)
    assert "confusion" not in sums[0]
