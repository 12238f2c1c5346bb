"""Boxes and label maps of TFDS sets prepared as ArrayRecord."""

import io

import numpy as np
import pytest
from made_tfds import F, png, prepare
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.tasks import open_data
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.tfds import prepared_folder
from imgrec_jax.data.formats.tfds_dense import open_record_boxes
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource

BOX, OTHER = F.BBox(ymin=0.1, xmin=0.2, ymax=0.5, xmax=0.6), F.BBox(0.0, 0.5, 1.0, 1.0)
RED = png((255, 0, 0), (20, 10))


def opened(home, name, task, **keys):
    keys = {"data__source": f"tfds:{name}", "data__dir": str(home), "task__name": task, **keys}
    return open_data(get_config("base", **keys))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A set of boxes: two things, one of them a crowd; nothing; and a test split without any."""
    kind = F.Sequence(
        {
            "area": np.float32,
            "bbox": F.BBoxFeature(),
            "is_crowd": np.bool_,
            "label": F.ClassLabel(names=["car", "zebra"]),
        }
    )
    objects = [
        {"area": 1.0, "bbox": BOX, "is_crowd": False, "label": 1},
        {"area": 1.0, "bbox": OTHER, "is_crowd": True, "label": 0},
    ]
    green = png((0, 255, 0), (20, 10))
    splits = {"train": [(RED, objects), (green, [])], "test": [(RED, [])]}
    home = tmp_path_factory.mktemp("tfds")
    features = {"image": F.Image(shape=(None, None, 3)), "objects": kind}
    prepare(home, "things", splits, features, supervised=False)
    return home


def check(train):
    """The records may come in another order; the image with things is the red one."""
    first = next(train[row] for row in range(2) if train[row]["box_mask"].any())
    other = next(train[row] for row in range(2) if not train[row]["box_mask"].any())
    assert first["image"][0, 0].tolist() == [255, 0, 0]
    assert other["image"][0, 0].tolist() == [0, 255, 0]
    expected = [[4, 1, 12, 5], [10, 0, 20, 10], [0, 0, 0, 0]]
    np.testing.assert_allclose(first["boxes"], expected, atol=1e-5)
    assert first["box_label"].tolist() == [1, 0, 0]
    assert first["box_mask"].tolist() == [True, True, False]
    assert first["box_ignore"].tolist() == [False, True, False]


def test_boxes_by_hand(home, caplog):
    splits = opened(home, "things", "detect", data__max_boxes=3)
    assert list(splits) == ["train"]
    assert "test has no annotations and is left out" in caplog.text
    assert splits["train"].label_names == ("car", "zebra")
    assert splits["train"].image_shape == (10, 20, 3)
    check(splits["train"])


def test_large_sets_are_decoded_as_they_are_used(home, monkeypatch):
    monkeypatch.setattr(memory_limit, "decoded_limit", lambda: 100)
    train = opened(home, "things", "detect", data__max_boxes=3)["train"]
    assert isinstance(train, EncodedSource)
    check(train)


def test_boxes_are_scaled_and_limited_as_everywhere(home):
    train = opened(home, "things", "detect", data__image_shape="20x20", data__max_boxes=2)["train"]
    assert sorted(train.arrays["boxes"].sum((1, 2)).tolist()) == pytest.approx([0, 78])
    with pytest.raises(UsageError, match=r"train\[\d\]; try --config\.data\.max_boxes=2$"):
        opened(home, "things", "detect", data__max_boxes=1)
    with pytest.raises(UsageError, match=r"try --config\.data\.image_shape=8x8$"):
        opened(home, "things", "detect", data__image_size=8)
    with pytest.raises(UsageError, match=r"data\.channels=0 and data\.dtype=uint8 for tfds"):
        opened(home, "things", "detect", data__channels=1)


def test_classes_may_be_those_of_images_or_none(tmp_path):
    features = {
        "image": F.Image(shape=(10, 20, 3)),
        "label": F.ClassLabel(names=["pug", "husky"]),
        "objects": F.Sequence({"bbox": F.BBoxFeature()}),
    }
    record = (RED, 1, [{"bbox": BOX}])
    prepare(tmp_path, "dogs", {"train": [record]}, features)
    train = opened(tmp_path, "dogs", "detect")["train"]
    assert train.label_names == ("pug", "husky")
    assert train[0]["box_label"][:1].tolist() == [1]
    assert opened(tmp_path, "dogs", "classify")["train"].labels.tolist() == [1]
    features = {"image": features["image"], "faces": features["objects"]}
    prepare(tmp_path, "faces", {"train": [(RED, [{"bbox": BOX}])]}, features, supervised=False)
    folder = prepared_folder("faces", str(tmp_path))
    assert open_record_boxes(folder, None, 5)["train"].label_names == ("faces",)


def map_png(*values):
    file = io.BytesIO()
    Image.fromarray(np.resize(np.array(values, np.uint8), (10, 20))).save(file, "PNG")
    return file.getvalue()


def test_label_maps_beside_a_class_for_the_image(tmp_path):
    features = {
        "image": F.Image(shape=(None, None, 3)),
        "label": F.ClassLabel(names=["cat", "dog"]),
        "segmentation_mask": F.Image(shape=(None, None, 1)),
    }
    splits = {"train": [(RED, 1, map_png(1, 2))], "test": [(RED, 0, map_png(3))]}
    prepare(tmp_path, "pets", splits, features)
    table = "1=pet,2=ground,3=ignore"
    found = opened(tmp_path, "pets", "segment", data__mask_values=table)
    assert found["train"].label_names == ("pet", "ground")
    assert found["train"][0]["label_map"][9, 17:].tolist() == [1, 0, 1]
    assert found["test"][0]["label_map"].min() == 255
    small = opened(tmp_path, "pets", "segment", data__mask_values=table, data__image_shape="5x10")
    assert small["train"][0]["label_map"].shape == (5, 10)
    with pytest.raises(UserError, match=r"test\[0\]/segmentation_mask, got 3"):
        opened(tmp_path, "pets", "segment", data__mask_values="1=pet,2=ground")
    assert opened(tmp_path, "pets", "classify")["train"].label_names == ("cat", "dog")


def test_a_set_may_say_what_its_values_mean(tmp_path):
    features = {
        "image_left": F.Image(shape=(10, 20, 3)),
        "segmentation_label": F.LabeledImage(labels=["sky", "road"], shape=(10, 20, 1)),
    }
    records = [(RED, map_png(0, 1, 255))]
    prepare(tmp_path, "streets", {"train": records}, features, supervised=False)
    train = opened(tmp_path, "streets", "segment")["train"]
    assert train.label_names == ("sky", "road")
    assert train[0]["label_map"][0, :3].tolist() == [0, 1, 255]


def test_what_is_not_there_is_told_in_one_line(home, tmp_path):
    features = {"image": F.Image(shape=(10, 20, 3)), "label": F.ClassLabel(num_classes=2)}
    prepare(tmp_path, "plain", {"train": [(RED, 1)]}, features)
    excerpt = r"one sequence with boxes, such as objects with bbox, got image, label; try"
    with pytest.raises(UserError, match=excerpt) as error:
        opened(tmp_path, "plain", "detect")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"an image and a label image .* got image, objects"):
        opened(home, "things", "segment")
