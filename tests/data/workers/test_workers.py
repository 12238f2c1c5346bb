"""Images decoded by other processes: the same batches, and one line when one goes wrong."""

import dataclasses
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead, ahead
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.relabel import relabel
from imgrec_jax.data.sources.source import ArraySource, gather
from imgrec_jax.data.workers.pool import RemoteSource, with_workers

NAMES = ("猫", "狗", "bird")
BROKEN = 4  # the row of the damaged image


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """23 noisy JPEGs of several sizes with Chinese names, in three classes."""
    root = tmp_path_factory.mktemp("图片")
    generator = np.random.default_rng(0)
    for number in range(23):
        height, width = 40 + number, 70 - number
        pixels = generator.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
        path = root / NAMES[number % 3] / f"照片{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((width, height)).save(path)
    return root


def open_lazily(folder: Path, **changes):
    with memory_limit.limited(0):
        source = open_folder(str(folder), image_size=24)["train"]
    return dataclasses.replace(source, crop=RandomResizedCrop(seed=5), **changes)


@pytest.fixture(scope="module")
def source(folder):
    return open_lazily(folder)


@pytest.fixture(scope="module")
def remote(source):
    return with_workers({"train": source}, 2)["train"]


@pytest.fixture(scope="module")
def damaged(folder, tmp_path_factory):
    """The same with one image cut off in the middle, and its row."""
    root = tmp_path_factory.mktemp("damaged")
    for path in folder.rglob("*.jpg"):
        copy = root / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    whole = open_lazily(root)
    path = Path(whole.encoded.name(BROKEN))
    path.write_bytes(path.read_bytes()[:-200])
    return root


def walk(source, steps, **settings):
    batches = TrainBatches(source, 8, seed=1, **settings)
    return [batches(step) for step in range(steps)]


def same(left, right) -> bool:
    assert [batch.keys() for batch in left] == [batch.keys() for batch in right]
    return all((a[k] == b[k]).all() for a, b in zip(left, right, strict=True) for k in a)


@pytest.mark.parametrize("settings", [{}, {"sampling": "balanced", "partners": True}])
def test_batches_do_not_depend_on_who_decodes(source, remote, settings):
    here, there = walk(source, 4, **settings), walk(remote, 4, **settings)
    assert isinstance(remote, RemoteSource)
    assert same(here, there)
    assert here[0]["image"].shape == (1, 8, 24, 24, 3)
    assert here[0]["image"].dtype == np.uint8
    # Written by hand: what batches hold is what each row alone decodes to.
    rows, epochs = here[3]["index"][0], here[3]["epoch"][0]
    for place, (row, epoch) in enumerate(zip(rows.tolist(), epochs.tolist(), strict=True)):
        one = source.read(np.array([row]), np.array([epoch]))["image"][0]
        assert (here[3]["image"][0, place] == one).all()


def test_each_process_of_a_run_reads_its_part_of_the_same_batch(source, remote):
    whole = walk(source, 3, partners=True)
    parts = [walk(remote, 3, partners=True, columns=np.arange(8)[k::2]) for k in (0, 1)]
    for step in range(3):
        for k in (0, 1):
            for name, value in parts[k][step].items():
                assert (value == whole[step][name][:, k::2]).all()


def test_images_differ_from_epoch_to_epoch_and_are_whole_in_evaluation(source, remote):
    rows = np.arange(23)
    epochs = [gather(remote, rows, np.full(23, epoch))["image"] for epoch in (0, 1)]
    assert (epochs[0] != epochs[1]).any((1, 2, 3)).all()
    batch = EvalBatches(remote, 16)(1)  # seven real rows, and nine of padding
    plain = dataclasses.replace(source, crop=None)
    assert (batch["image"][:7] == [plain[row]["image"] for row in range(16, 23)]).all()
    assert batch["mask"].tolist() == [True] * 7 + [False] * 9
    held = Rows(remote, np.array([3, 9]))
    assert (gather(held, np.array([1, 0]))["label"] == source.labels[[9, 3]]).all()


def test_what_lies_around_a_source_goes_to_the_workers_with_it(source):
    names = ("bird", "fox", "狗", "猫")
    both = {"a": Rows(source, np.arange(5, 15)), "b": relabel(source, names, "folder")}
    for name, remote in with_workers(both, 1).items():
        rows, epochs = np.array([7, 0, 7, 3]), np.array([0, 1, 2, 0])
        here, there = gather(both[name], rows, epochs), gather(remote, rows, epochs)
        assert same([here], [there])
        assert (there["label"] == both[name].labels[rows]).all()


def test_going_on_at_a_step_is_walking_to_it_and_reads_nothing_before(source):
    read: list[int] = []

    class Spy(TrainBatches):
        def __call__(self, step, steps=1):
            read.append(step)
            return super().__call__(step, steps)

    walked = walk(source, 7)
    fresh = TrainBatchesAhead(Spy(source, 8, seed=1), last=9)
    assert same([fresh(5), fresh(6)], walked[5:])
    assert same([fresh(2)], walked[2:3])  # back again: what was begun is let go of
    assert same([fresh(7, 2)], [TrainBatches(source, 8, seed=1)(7, 2)])
    assert set(read) <= {2, 3, 4, 5, 6, 7, 8}  # none before what was asked for, nor beyond the last
    assert (fresh.steps_per_epoch, fresh.batch_size, fresh.examples(3)) == (3, 8, 23)


def test_items_come_in_order_and_the_next_are_in_the_making():
    begun = []
    made = ahead(lambda n: begun.append(n) or n * n, range(6))
    assert next(made) == 0
    made.close()
    assert set(begun) <= {0, 1, 2}
    assert list(ahead(lambda n: n * n, range(6))) == [0, 1, 4, 9, 16, 25]


def test_a_damaged_image_is_told_in_one_line_by_a_worker_too(damaged):
    source = open_lazily(damaged)
    remote = with_workers({"train": source}, 1)["train"]
    for one in (source, remote):
        with pytest.raises(UserError, match=r"照片.*truncated") as caught:
            gather(one, np.arange(23), np.zeros(23, int))
        assert "\n" not in str(caught.value)
    # The worker goes on.
    assert gather(remote, np.array([0]), np.array([0]))["image"].shape == (1, 24, 24, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_images_are_masked_out_counted_and_nobody_s_partner(
    folder, damaged, workers, caplog
):
    source = open_lazily(damaged, skip_broken=True)
    counted = DamageCounter(with_workers({"train": source}, workers)["train"])
    with caplog.at_level(logging.WARNING):
        batches = walk(counted, 6, partners=True)
    whole = walk(open_lazily(folder), 6, partners=True)
    met = 0
    for batch, other in zip(batches, whole, strict=True):
        assert batch.keys() == other.keys()
        lost = other["index"] == BROKEN
        assert (batch["mask"] == (other["mask"] & ~lost)).all()
        assert (batch["image"][lost] == 0).all()
        alone = other["partner_index"] == BROKEN
        met += int((alone & ~lost).sum())
        for name in ("image", "label", "index", "epoch"):
            assert (batch[name][~lost] == other[name][~lost]).all()
            partner = f"partner_{name}"
            assert (batch[partner][alone] == batch[name][alone]).all()
            assert (batch[partner][~alone] == other[partner][~alone]).all()
    assert met == 2  # it was somebody's partner in both epochs
    assert list(counted.found) == [BROKEN]
    assert "truncated" in counted.found[BROKEN]
    assert sum("skipped" in record.message for record in caplog.records) == 1
    scored = EvalBatches(counted, 23)(0)
    assert scored["mask"].tolist() == [row != BROKEN for row in range(23)]


def test_a_killed_worker_is_one_line_and_nothing_hangs(source):
    remote = with_workers({"train": source}, 2)["train"]
    gather(remote, np.arange(4))
    processes = [worker._process for worker in remote.workers._started]
    os.kill(processes[0].pid, signal.SIGKILL)
    for _ in range(2):  # and again
        with pytest.raises(UserError, match=r"SIGKILL.*try fewer --config.data.workers") as caught:
            TrainBatchesAhead(TrainBatches(remote, 23, seed=0), last=9)(0)
        assert "\n" not in str(caught.value)


def test_workers_end_with_what_reads_from_them(source):
    remote = with_workers({"train": source}, 2)["train"]
    gather(remote, np.arange(4))
    processes = [worker._process for worker in remote.workers._started]
    assert [process.poll() for process in processes] == [None, None]
    del remote
    gc.collect()
    assert [process.poll() for process in processes] == [-signal.SIGKILL] * 2


_SCRIPT = """\
import os, sys
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.sources.source import gather
from imgrec_jax.data.workers.pool import with_workers
import numpy as np

print("begun")
with memory_limit.limited(0):
    splits = with_workers(open_folder(sys.argv[1], image_size=24), 2)
gather(splits["train"], np.arange(8))
print(*(worker._process.pid for worker in splits["train"].workers._started), flush=True)
print("jax" in sys.modules, flush=True)
os.kill(os.getpid(), int(sys.argv[2])) if int(sys.argv[2]) else sys.exit(3)
"""


@pytest.mark.parametrize(
    "number",
    [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, signal.SIGINT)), signal.SIGKILL],
)
def test_workers_end_with_a_script_however_it_ends(folder, tmp_path, number):
    """The script guards nothing by `__name__`: workers do not run it again."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    command = [sys.executable, script, folder, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (3 if not number else -number)
    begun, pids, jax = done.stdout.splitlines()
    assert (begun, jax) == ("begun", "False")
    assert len(pids.split()) == 2
    until = time.monotonic() + 30
    # To os.path.exists a process that ends at this very moment is no error.
    while any(os.path.exists(f"/proc/{pid}/cmdline") for pid in pids.split()):
        assert time.monotonic() < until


def test_who_needs_no_workers_gets_none(source):
    arrays = ArraySource(np.zeros((3, 2, 2, 3), np.uint8), np.zeros(3, np.int32), ("a",))
    splits = {"train": source, "val": arrays}
    assert with_workers(splits, 0) == splits
    assert with_workers(splits, -1) == splits  # 23 images are few
    assert with_workers({"val": arrays}, 4) == {"val": arrays}
    assert with_workers(splits, 1)["val"] is arrays
