"""ImageNet in its official layouts, imitated with a few tiny images."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files import index_cache
from imgrec_jax.data.formats.imagenet import open_imagenet
from imgrec_jax.data.layout import imagenet_tars
from imgrec_jax.data.sources.source import gather

# The development kit numbers the classes otherwise than their synsets are sorted.
SYNSETS = {"n01440764": 3, "n02123045": 1, "n03995372": 2}
TRAIN = {
    "n01440764/n01440764_10.JPEG": 10,
    "n01440764/n01440764_9.JPEG": 20,
    "n02123045/n02123045_1.JPEG": 30,
    "n03995372/n03995372_7.JPEG": 40,
}
VAL = {
    "ILSVRC2012_val_00000001.JPEG": (100, "n03995372"),
    "ILSVRC2012_val_00000002.JPEG": (110, "n01440764"),
    "ILSVRC2012_val_00000003.JPEG": (120, "n02123045"),
    "ILSVRC2012_val_00000004.JPEG": (130, "n01440764"),
}
NUMBERS = "2\n3\n1\n3\n"
META = "ILSVRC2012_devkit_t12/data/meta.mat"
TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


def jpeg(value):
    buffer = io.BytesIO()
    size = (16 + value % 7, 12)  # several sizes, as there are
    Image.new("RGB", size, (value, value, value)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def tar_of(files, mode="w", kind=tarfile.USTAR_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=kind) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def train_tar():
    parts = {}
    for synset in reversed(SYNSETS):
        images = {n.partition("/")[2]: jpeg(v) for n, v in TRAIN.items() if n.startswith(synset)}
        parts[f"{synset}.tar"] = tar_of(dict(reversed(images.items())))
    return tar_of(parts)


def devkit():
    """As the official one: `synsets` is a struct array with more fields, and inner nodes last."""
    rows = [*sorted((number, synset) for synset, number in SYNSETS.items()), (4, "n00001740")]
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array([(n, s, f"the {s}", 0) for n, s in rows], kind)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": synsets.reshape(-1, 1)})
    return {META: buffer.getvalue(), TRUTH: NUMBERS.encode()}


def flat_val():
    return {name: jpeg(value) for name, (value, _) in VAL.items()}


def val_folders():
    return {f"val/{synset}/{name}": jpeg(value) for name, (value, synset) in VAL.items()}


TRAIN_FILES = {f"train/{name}": jpeg(value) for name, value in TRAIN.items()}
TARS = {
    "ILSVRC2012_img_train.tar": train_tar(),
    "ILSVRC2012_img_val.tar": tar_of(dict(reversed(flat_val().items()))),
}
FLAT_FILES = TRAIN_FILES | {f"val/{name}": data for name, data in flat_val().items()}
ORDERED = "".join(f"{synset}\n" for _, synset in VAL.values())
SOLUTION = "ImageId,PredictionString\n" + "".join(
    f"{name[:-5]},{synset} 1 2 3 4 {synset} 5 6 7 8 \n"
    for name, (_, synset) in reversed(VAL.items())
)
KAGGLE = {f"ILSVRC/Data/CLS-LOC/{name}": data for name, data in FLAT_FILES.items()}


@pytest.mark.parametrize(
    "files",
    [
        TARS | {"ILSVRC2012_devkit_t12.tar.gz": tar_of(devkit(), "w:gz")},
        TARS | devkit(),
        TARS | {"imagenet_2012_validation_synset_labels.txt": ORDERED},
        FLAT_FILES | {"imagenet_2012_validation_synset_labels.txt": ORDERED},
        FLAT_FILES | devkit(),
        KAGGLE | {"LOC_val_solution.csv": SOLUTION, "LOC_synset_mapping.txt": "n0 fish"},
    ],
    ids=[
        "tars",
        "tars, devkit unpacked",
        "tars, list",
        "folders, list",
        "folders, devkit",
        "kaggle",
    ],
)
def test_every_layout_gives_the_same_data_set(tmp_path, files):
    for _ in range(2):  # the second time with what is kept
        splits = open_imagenet(str(write(tmp_path / "set", files)), image_size=8)
        assert list(splits) == ["train", "val"]
        train, val = splits["train"], splits["val"]
        assert train.label_names == val.label_names == ("n01440764", "n02123045", "n03995372")
        assert train.labels.tolist() == [0, 0, 1, 2]
        assert val.labels.tolist() == [2, 0, 1, 0]
        assert val.labels.dtype == np.int32
        assert train.image_shape == (8, 8, 3)
        assert pixels(train) == [10, 20, 30, 40]
        assert pixels(val) == [100, 110, 120, 130]
        assert pixels(pickle.loads(pickle.dumps(train))) == [10, 20, 30, 40]


def pixels(source):
    """Return the brightness of each image; JPEG keeps an even image within a level."""
    means = gather(source, np.arange(len(source)))["image"].mean((1, 2, 3))
    return [round(mean / 10) * 10 for mean in means]


def test_validation_in_class_folders_is_sorted_by_class(tmp_path):
    splits = open_imagenet(str(write(tmp_path, TRAIN_FILES | val_folders())), image_size=8)
    assert splits["val"].labels.tolist() == [0, 0, 1, 2]
    assert pixels(splits["val"]) == [110, 130, 120, 100]


def test_one_split_alone(tmp_path):
    train = open_imagenet(str(write(tmp_path / "a", TRAIN_FILES)), image_size=8)
    assert list(train) == ["train"]
    val = open_imagenet(str(write(tmp_path / "b", val_folders())), image_size=8)
    assert list(val) == ["val"]
    assert val["val"].label_names == ("n01440764", "n02123045", "n03995372")


def test_the_index_of_a_tar_is_made_once_and_anew_when_it_changes(tmp_path, monkeypatch):
    root = write(tmp_path / "set", {"ILSVRC2012_img_train.tar": TARS["ILSVRC2012_img_train.tar"]})
    assert len(open_imagenet(str(root), image_size=8)["train"]) == 4
    monkeypatch.setattr(imagenet_tars, "_members", None)
    assert pixels(open_imagenet(str(root), image_size=8)["train"]) == [10, 20, 30, 40]
    monkeypatch.undo()
    monkeypatch.setenv("IMGREC_JAX_CACHE", str(tmp_path / "imgrec_jax_cache"))
    fewer = {f"{s}.tar": tar_of({f"{s}_1.JPEG": jpeg(50)}) for s in SYNSETS}
    write(root, {"ILSVRC2012_img_train.tar": tar_of(fewer)})
    assert pixels(open_imagenet(str(root), image_size=8)["train"]) == [50, 50, 50]


def test_a_damaged_index_is_made_anew(tmp_path):
    root = write(tmp_path / "set", TARS | devkit())
    open_imagenet(str(root), image_size=8)
    kept = sorted((tmp_path / "imgrec_jax_cache" / "index").iterdir())
    assert len(kept) == 2
    for number, path in enumerate(kept):
        data = bytearray(path.read_bytes())
        path.write_bytes(data[:50] if number else data.replace(b"JPEG", b"JPEH", 1))
        assert index_cache.load_index(path.stem) is None
    assert pixels(open_imagenet(str(root), image_size=8)["train"]) == [10, 20, 30, 40]


def refusal(root, kind=UserError, image_size=8):
    with pytest.raises(UserError) as caught:
        open_imagenet(str(root), image_size=image_size)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert "; try " in str(caught.value)
    return str(caught.value)


def test_what_is_missing_is_named(tmp_path):
    assert "try --config.data.image_size=224" in refusal(write(tmp_path, {}), UsageError, 0)
    assert "ILSVRC2012_img_train.tar or a folder train" in refusal(tmp_path)
    write(tmp_path, TARS)
    assert "got none; try ILSVRC2012_devkit_t12.tar.gz, imagenet_2012_val" in refusal(tmp_path)
    write(tmp_path, {"imagenet_2012_validation_synset_labels.txt": "n01440764\n"})
    assert "for ILSVRC2012_val_00000002.JPEG in the validation labels" in refusal(tmp_path)
    write(tmp_path, {"imagenet_2012_validation_synset_labels.txt": "n00000001\n" * 4})
    assert "the synsets of train in val" in refusal(tmp_path)
    assert "got n00000001" in refusal(tmp_path)


def test_a_damaged_development_kit(tmp_path):
    write(tmp_path, TARS | devkit() | {META: b"MATLAB 5.0 and then nothing"})
    assert "meta.mat in the development kit of" in refusal(tmp_path)
    write(tmp_path, devkit() | {TRUTH: "9999\n"})
    assert "got KeyError: 9999" in refusal(tmp_path)


def test_class_folders_that_are_no_synsets(tmp_path):
    files = {"train/cat/1.JPEG": jpeg(1), "train/dog/1.JPEG": jpeg(1)}
    assert "folders like n01440764" in refusal(write(tmp_path, files))
    assert "try folder:PATH" in refusal(tmp_path)


@pytest.mark.parametrize("cut", [512 * 3, 512 * 3 + 100, 3000, len(train_tar()) - 10240])
def test_truncated_tars(tmp_path, cut):
    write(tmp_path, {"ILSVRC2012_img_train.tar": train_tar()[:cut]})
    assert f"uncompressed .tar archive, got {tmp_path}/ILSVRC2012_img_train.tar: " in refusal(
        tmp_path
    )


def test_a_member_that_claims_more_than_its_tar(tmp_path):
    header = tarfile.TarInfo("n01440764_1.JPEG")
    header.size = 2048
    inner = header.tobuf(tarfile.USTAR_FORMAT) + jpeg(1)
    outer = tar_of({"n01440764.tar": inner, "n02123045.tar": tar_of({"a.JPEG": bytes(9000)})})
    write(tmp_path, {"ILSVRC2012_img_train.tar": outer})
    assert "'n01440764_1.JPEG' claims 2,048 bytes; try" in refusal(tmp_path)


def test_an_image_that_is_cut_off_after_indexing(tmp_path):
    root = write(tmp_path, {"ILSVRC2012_img_train.tar": train_tar()})
    train = open_imagenet(str(root), image_size=8)["train"]
    path = root / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"img_train.tar: .*JPEG: its end is missing"):
        gather(train, np.arange(4))


def test_compressed_tars_and_strange_members(tmp_path):
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar_of({"n01440764.tar": b""}, "w:gz")})
    assert "uncompressed .tar archive" in refusal(tmp_path)
    long = tar_of({f"{'x' * 120}/1.JPEG": b"a"}, kind=tarfile.GNU_FORMAT)
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar_of({"n01440764.tar": long})})
    assert "no plain file of the format ustar" in refusal(tmp_path)
