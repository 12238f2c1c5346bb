"""Packs: read by stock TFDS, the same bytes on every way to them, and never half a shard."""

import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.folder import Labelling
from imgrec_jax.data.pack import pack as packing
from imgrec_jax.data.pack.pack import pack
from imgrec_jax.data.pack.pack_plan import plan_shards
from imgrec_jax.data.pack.shards import serialize, write_shard
from imgrec_jax.data.raw.items import Images, LazyRows
from imgrec_jax.data.raw.open import folder_images, record_images

NAMES = ("red", "green", "蓝")
COLORS = ((200, 10, 10), (10, 200, 10), (10, 10, 200))


def encode(color, size=(5, 4), kind="png", mode="RGB"):
    """The bytes of an image of one colour, `size` = width, height."""
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


def some_images(n, split="train", **changes):
    """Return n PNG files whose red is their number; the classes take turns."""
    items = [encode((row, 7, 9)) for row in range(n)]
    labels = np.arange(n, dtype=np.int32) % 3
    return Images(**{
        "items": items, "where": split, "labels": labels, "label_names": NAMES, **changes,
    })  # fmt: skip


def contents(folder):
    """What a pack is made of, but for the record of how it was made."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "pack.json"}


def read(folder, split):
    """What stock TFDS decodes: red of the last pixel, and label, of each example."""
    source = tfds.builder_from_directory(folder).as_data_source(split=split)
    return [(int(e["image"][-1, -1, 0]), int(e["label"])) for e in source]


def test_stock_tfds_reads_a_pack(tmp_path):
    splits = {"train": some_images(7), "val": some_images(3)}
    packed = pack(splits, tmp_path, workers=1, shards=3)
    assert [file.examples for file in packed.shards["train"]] == [2, 2, 3]
    assert [file.examples for file in packed.shards["val"]] == [3]
    builder = tfds.builder_from_directory(tmp_path)
    assert builder.info.features["image"].shape == (4, 5, 3)
    assert builder.info.features["image"].np_dtype == np.uint8
    assert builder.info.features["label"].names == ["red", "green", "蓝"]
    assert builder.info.supervised_keys == ("image", "label")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 7,
        "validation": 3,
    }
    assert read(tmp_path, "train") == [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2), (6, 0)]
    assert read(tmp_path, "validation") == [(0, 0), (1, 1), (2, 2)]


def test_files_are_kept_as_they_are(tmp_path):
    jpeg, png, bmp = (encode(COLORS[0], kind=kind) for kind in ("jpeg", "png", "bmp"))
    for name, data in (("a.jpg", jpeg), ("b.png", png), ("c.bmp", bmp)):
        path = tmp_path / "set" / name[0] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    pack(folder_images(str(tmp_path / "set"), Labelling()), tmp_path / "pack", workers=1)
    source = record_images(tmp_path / "pack")["train"]
    assert [source.items[0], source.items[1]] == [jpeg, png]
    assert source.items[2].startswith(b"\x89PNG")
    assert source.read(2)[1].tolist() == [[[200, 10, 10]] * 5] * 4
    assert source.label_names == ("a", "b", "c")
    assert source.labels.tolist() == [0, 1, 2]


def test_arrays_become_png(tmp_path):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    grey = Images(images, "digits", np.array([2, 0], np.int32), NAMES)
    pack({"test": grey}, tmp_path, workers=1)
    source = tfds.builder_from_directory(tmp_path).as_data_source(split="test")
    assert [example["image"].tolist() for example in source] == images.tolist()
    assert [example["label"] for example in source] == [2, 0]


def test_sixteen_bits_stay_sixteen_bits(tmp_path):
    deep = [encode(40_000, mode="I;16"), encode(300, mode="I;16")]
    pack({"train": some_images(2, items=deep)}, tmp_path, workers=1)
    source = tfds.builder_from_directory(tmp_path).as_data_source(split="train")
    assert [int(example["image"][0, 0, 0]) for example in source] == [40_000, 300]


def test_images_of_several_sizes(tmp_path):
    items = [encode((1, 2, 3), (5, 4)), encode((1, 2, 3), (6, 4))]
    pack({"train": some_images(2, items=items)}, tmp_path, workers=1)
    assert tfds.builder_from_directory(tmp_path).info.features["image"].shape == (None, None, 3)


def test_the_number_of_workers_changes_no_byte(tmp_path):
    splits = {"train": some_images(23), "test": some_images(9)}
    pack(splits, tmp_path / "one", workers=1, shards=5)
    pack(splits, tmp_path / "three", workers=3, shards=5)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert len(contents(tmp_path / "one")) == 5 + 2 + 4


def test_checksums_are_those_of_the_files(tmp_path):
    pack({"train": some_images(6)}, tmp_path, workers=1, shards=2)
    lines = (tmp_path / "checksums.sha256").read_text(encoding="utf-8").splitlines()
    assert {line.split("  ")[1] for line in lines} == {
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "images-train.array_record-00000-of-00002",
        "images-train.array_record-00001-of-00002",
    }
    for line in lines:
        sha256, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256


def test_only_shards_that_lack_or_changed_are_written_again(tmp_path):
    splits = {"train": some_images(12)}
    pack(splits, tmp_path / "whole", workers=2, shards=4)
    out = tmp_path / "broken"
    assert pack(splits, out, workers=2, shards=4).kept == 0
    shards = sorted(out.glob("*.array_record-*"))
    (out / "dataset_info.json").unlink()
    shards[0].write_bytes(shards[0].read_bytes()[:-100])
    shards[1].rename(out / f"{shards[1].name}.part")  # as if it had been killed while writing
    kept = [path.stat().st_ino for path in shards[2:]]
    again = pack(splits, out, workers=1, shards=4)
    assert (again.kept, again.written) == (2, 6)
    assert [path.stat().st_ino for path in shards[2:]] == kept
    assert contents(out) == contents(tmp_path / "whole")


def test_a_finished_pack_is_left_as_it_is(tmp_path):
    splits = {"train": some_images(6)}
    pack(splits, tmp_path, workers=1, shards=2)
    before = {path: path.stat().st_ino for path in tmp_path.glob("*array_record*")}
    again = pack(splits, tmp_path, workers=1, shards=2)
    assert (again.kept, again.written) == (2, 0)
    assert {path: path.stat().st_ino for path in tmp_path.glob("*array_record*")} == before


KILLED = """
import sys
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from imgrec_jax.data.sources.encoded import FileImages
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.formats.folder import Labelling
from imgrec_jax.data.pack.pack import pack
from imgrec_jax.data.pack.pack_plan import plan_shards
from imgrec_jax.data.raw.items import LazyRows, Images

def main(folder, out):
    names = Names.of(f"{row:03}.png" for row in range(300))
    rows = LazyRows(FileImages(Path(folder), names), range(300))
    train = Images(rows, "", np.zeros(300, np.int32), ("a", "b"))
    print(pack({"train": train}, Path(out), workers=1, shards=3).kept)

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def test_a_killed_pack_goes_on(tmp_path):
    """The worker waits for image 250, which is a pipe, when its parent is killed."""
    folder, waiting = tmp_path / "set", tmp_path / "set" / "250.png"
    folder.mkdir()
    for row in range(300):
        (folder / f"{row:03}.png").write_bytes(encode((row % 256, row // 256, 0)))
    script = tmp_path / "script.py"
    script.write_text(KILLED, encoding="utf-8")
    command = [sys.executable, str(script), str(folder)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    image = waiting.read_bytes()
    waiting.unlink()
    os.mkfifo(waiting)
    out = tmp_path / "killed"
    with subprocess.Popen([*command, str(out)]) as running:
        pipe = os.open(waiting, os.O_WRONLY)  # returns when the worker opens the other end
        running.send_signal(signal.SIGKILL)
    ends = select.poll()
    ends.register(pipe, select.POLLERR)
    assert ends.poll()  # returns when the worker is gone: it ends with its parent
    os.close(pipe)
    assert not (out / "dataset_info.json").exists()
    assert list(out.glob("*00002-of-00003.part"))
    waiting.unlink()
    waiting.write_bytes(image)
    done = subprocess.run([*command, str(out)], check=True, capture_output=True, text=True)
    assert done.stdout in {"1\n", "2\n"}  # the second shard may not have been noted yet
    assert contents(out) == contents(tmp_path / "whole")


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("killed_in", ["write_shards", "write_text"])
def test_a_pack_killed_before_its_first_shard_goes_on(tmp_path, monkeypatch, killed_in):
    """The drafts of shards and of the record lie there as the killed process has left them."""
    splits, out = {"train": some_images(6)}, tmp_path / "killed"
    pack(splits, tmp_path / "whole", workers=1, shards=2)

    def die(*arguments, **named):
        drafts = ("pack.json",) if killed_in == "write_text" else map(str, arguments[1])
        for name in drafts:
            (out / f"{name}.part").write_bytes(b"half")
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(packing, killed_in, die)
        with pytest.raises(StoppedError):
            pack(splits, out, workers=1, shards=2)
    assert list(out.glob("*.part"))
    assert pack(splits, out, workers=1, shards=2).written == 6
    assert contents(out) == contents(tmp_path / "whole")


def test_damaged_images_are_left_out_and_named(tmp_path):
    train = some_images(5)
    train.items[1] = train.items[1][:-20]
    train.items[3] = b"no image"
    packed = pack({"train": train}, tmp_path, workers=1, shards=2)
    assert read(tmp_path, "train") == [(0, 0), (2, 2), (4, 1)]
    assert [file.examples for file in packed.shards["train"]] == [1, 2]
    assert len(packed.left_out) == 2
    assert "got train[1]: it is truncated" in packed.left_out[0]
    assert "got train[3] (8 bytes), which is damaged" in packed.left_out[1]
    assert pack({"train": train}, tmp_path, workers=1, shards=2).left_out == packed.left_out


def test_a_shard_of_damaged_images_alone(tmp_path):
    train = some_images(3)
    train.items[1] = b""
    pack({"train": train}, tmp_path, workers=1, shards=3)
    assert read(tmp_path, "train") == [(0, 0), (2, 2)]


def test_a_split_without_intact_images(tmp_path):
    with pytest.raises(UserError, match=r"expected intact images in the split train, got none"):
        pack({"train": some_images(2, items=[b"", b"x"])}, tmp_path, workers=1)
    assert not (tmp_path / "dataset_info.json").exists()


class Spies:
    """Images that look at the process that reads them."""

    def __len__(self):
        return 4

    def name(self, row):
        return f"spy {row}"

    def read(self, rows):
        if multiprocessing.parent_process() and "jax" in sys.modules:
            raise UserError("JAX is in a worker")
        return [encode(COLORS[0]) for _ in rows]


def test_workers_do_without_jax(tmp_path):
    assert "jax" in sys.modules  # here it is; a forked worker would have it too
    train = some_images(4, items=LazyRows(Spies(), range(4)))
    packed = pack({"train": train}, tmp_path, workers=2, shards=2)
    assert packed.left_out == []
    assert read(tmp_path, "train") == [(200, 0), (200, 1), (200, 2), (200, 0)]


@pytest.mark.parametrize(
    ("sizes", "shards", "expected"),
    [
        ({"train": 10, "test": 5}, 4, [4, 2]),
        ({"train": 10, "test": 1}, 4, [4, 1]),
        ({"train": 3}, 100, [3]),
        ({"train": 2047, "test": 3000}, 0, [1, 2]),  # one for each 1,024 images
        ({"train": 100_000}, 0, [8]),
    ],
)
def test_the_number_of_shards(sizes, shards, expected):
    blank = {split: Images([b""] * n, "", np.zeros(n), NAMES) for split, n in sizes.items()}
    plan = plan_shards(blank, dict.fromkeys(sizes, 100.0), shards)
    assert [sum(shard.split == split for shard in plan) for split in sizes] == expected
    assert sum(shard.stop - shard.start for shard in plan) == sum(sizes.values())


def test_large_sets_get_a_shard_for_each_256_mib():
    blank = {"train": Images([b""] * 1000, "", np.zeros(1000), NAMES)}
    assert len(plan_shards(blank, {"train": 2.0**20}, 0)) == 4


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"expected an empty folder or a pack .*thesis.tex"):
        pack({"train": some_images(2)}, tmp_path, workers=1)


def test_a_pack_of_other_images_is_refused(tmp_path):
    pack({"train": some_images(4)}, tmp_path, workers=1)
    other = some_images(4)
    other.items[2] = encode((99, 99, 99))
    with pytest.raises(UsageError, match=r"of other images, or in other shards"):
        pack({"train": other}, tmp_path, workers=1)
    with pytest.raises(UsageError, match=r"of these images in 2 shards"):
        pack({"train": some_images(4)}, tmp_path, workers=1, shards=2)


def test_a_damaged_record_is_told(tmp_path):
    pack({"train": some_images(2)}, tmp_path, workers=1)
    (tmp_path / "pack.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"pack.json to be the record of a pack"):
        pack({"train": some_images(2)}, tmp_path, workers=1)


def test_two_at_once_do_not_write_into_one_folder(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(UserError, match=r"got another process that packs into it"):
        pack({"train": some_images(2)}, tmp_path, workers=1)
    os.close(folder)


def test_room_is_looked_for_first(tmp_path, monkeypatch):
    usage = packing.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(UserError, match=r"expected about 0 MiB free in .* try --out=DIR"):
        pack({"train": some_images(4)}, tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b\nc", "d"), "of one line"),
        (("a", " b", "c"), "without spaces around them, got ' b'"),
        (("a", "", "c"), "got ''"),
        (("a", "b", "a"), "got 'a' twice"),
    ],
)
def test_class_names_that_tfds_could_not_keep(tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        pack({"train": some_images(3, label_names=names)}, tmp_path, workers=1)


@pytest.mark.parametrize(("workers", "shards"), [(0, 0), (1, -1), (1, 100_000)])
def test_impossible_numbers(tmp_path, workers, shards):
    with pytest.raises(UsageError, match="expected 1 or more workers"):
        pack({"train": some_images(2)}, tmp_path, workers=workers, shards=shards)


def test_a_shard_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UserError, match=r"expected to write .*/none/shard, got .*No such file"):
        write_shard(tmp_path / "none" / "shard", some_images(1), lambda: None)


@pytest.mark.parametrize("label", [0, 1, 127, 128, 99_999, -1])
def test_examples_are_those_of_tensorflow(label):
    image = bytes(range(256)) * 300
    example = tf_example_pb2.Example.FromString(serialize(image, label))
    assert sorted(example.features.feature) == ["image", "label"]
    assert list(example.features.feature["image"].bytes_list.value) == [image]
    assert list(example.features.feature["label"].int64_list.value) == [label]


def test_progress_counts_every_image(tmp_path):
    seen = []
    pack(
        {"train": some_images(8)}, tmp_path, workers=1, progress=lambda *counts: seen.append(counts)
    )
    assert seen[-1] == (8, 8)
    assert json.loads((tmp_path / "pack.json").read_text(encoding="utf-8"))["format"] == 1


def test_unreadable_files_are_named_and_the_others_packed(tmp_path):
    for row in range(3):
        path = tmp_path / "set" / "ab"[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode((row, 0, 0)))
    source = folder_images(str(tmp_path / "set"), Labelling())
    Path(tmp_path / "set" / "b" / "1.png").unlink()
    packed = pack(source, tmp_path / "pack", workers=1)
    assert read(tmp_path / "pack", "train") == [(0, 0), (2, 0)]
    assert "b/1.png: it is missing" in packed.left_out[0]


def test_annotations_that_a_pack_would_lose_are_refused(tmp_path):
    maps = {"label_map": np.zeros((2, 4, 4), np.uint8)}
    train = Images(np.zeros((2, 4, 4, 3), np.uint8), "x", np.zeros(2, np.int32), NAMES, fields=maps)
    with pytest.raises(UsageError, match="one class each to pack, got the fields label_map in tra"):
        pack({"train": train}, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
