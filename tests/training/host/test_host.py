import subprocess
import sys

import jax
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.host import host


@pytest.mark.parametrize(
    ("cores", "batch", "devices"),
    [(2, 64, 2), (8, 64, 4), (1, 64, 1), (4, 20, 1), (4, 96, 4), (3, 64, 2), (64, 8, 1)],
)
def test_devices_divide_the_batch_into_sixteen_or_more_each(cores, batch, devices):
    assert host.automatic_devices(cores, batch) == devices


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)]
)
def test_a_cgroup_quota_cuts_the_cores(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: set(range(16)))
    (tmp_path / "cpu.max").write_text(quota, encoding="utf-8")
    assert host.core_count(tmp_path) == (cores or 16)


def test_a_quota_of_version_one_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: set(range(16)))
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n", encoding="utf-8")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n", encoding="utf-8")
    assert host.core_count(tmp_path) == 3


def test_without_a_cgroup_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert host.core_count(tmp_path / "none") == 3


@pytest.mark.parametrize("requested", ["two", "0", "-1", "1.5", ""])
def test_anything_but_auto_or_a_number_is_refused(requested):
    with pytest.raises(UsageError, match=r"parallel\.cpu_devices"):
        host.make_cpu_devices(requested, 64)


def test_a_number_that_was_set_before_stays():
    """The tests run with 8 devices; asking for 2 must not raise."""
    before = jax.device_count()
    host.make_cpu_devices("2", 64)
    assert jax.device_count() == before == 8


@pytest.mark.parametrize(("started", "devices"), [("", 2), ("jax.devices(); ", 1)])
def test_devices_are_made_unless_jax_has_started(started, devices):
    program = f"import jax; {started}host.make_cpu_devices('2', 64); print(jax.device_count())"
    done = subprocess.run(
        [sys.executable, "-c", f"from imgrec_jax.training.host import host; {program}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"{devices}\n", "")


def test_an_idle_gpu_is_told_with_the_command(monkeypatch):
    monkeypatch.setattr(host, "_nvidia_gpu", lambda: True)
    warning = host.idle_accelerator_warning()
    assert "GPU is idle" in warning
    assert "pip install 'jax[cuda13]'" in warning
    monkeypatch.setattr(host, "_nvidia_gpu", lambda: False)
    assert host.idle_accelerator_warning() == ""
