"""What belongs together stays on one side when a validation split is held out."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.sources import open_source
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.holdout import hold_out
from imgrec_jax.data.sources.source import ArraySource, gather


def source_of(labels, classes):
    """Images of one pixel whose value is the row."""
    images = np.arange(len(labels), dtype=np.uint16).reshape(-1, 1, 1, 1)
    return ArraySource(images, np.asarray(labels, np.int32), tuple("abcdefgh"[:classes]))


def rows_of(source):
    return source.images.ravel().tolist()


def test_groups_of_one_give_every_class_its_share():
    source = source_of([0] * 10 + [1] * 20 + [2] * 30, 3)
    train, val = hold_out(source, 6, seed=0, groups=np.arange(60))
    assert np.bincount(val.labels).tolist() == [1, 2, 3]
    assert sorted(rows_of(train) + rows_of(val)) == list(range(60))
    assert rows_of(val) == sorted(rows_of(val))


def test_the_choice_is_the_same_for_all_time():
    groups = np.repeat(np.arange(20), 3)
    source = source_of(np.tile([0, 1], 30), 2)
    held = [hold_out(source, 0.2, seed, groups=groups)[1] for seed in (0, 1)]
    assert [rows_of(val)[::3] for val in held] == [[6, 9, 33, 39], [6, 27, 48, 54]]
    assert [len(val) for val in held] == [12, 12]


@pytest.mark.parametrize("seed", range(20))
def test_no_group_is_divided_and_the_shares_are_near(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 60, 600)
    labels = generator.integers(0, 3, 600)
    train, val = hold_out(source_of(labels, 3), 0.2, seed, groups=groups)
    assert not set(groups[rows_of(train)]) & set(groups[rows_of(val)])
    assert sorted(rows_of(train) + rows_of(val)) == list(range(600))
    assert 105 <= len(val) <= 135
    shares = np.bincount(val.labels) / np.bincount(labels)
    assert ((shares > 0.15) & (shares < 0.25)).all()


def test_every_class_keeps_a_training_example():
    source = source_of([0, 0, 1, 1, 1, 1, 2, 2], 3)
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    train, val = hold_out(source, 4, seed=3, groups=groups)
    assert set(train.labels.tolist()) == {0, 1, 2}
    assert set(val.labels.tolist()) == {1}


def test_a_class_keeps_one_where_its_share_would_be_all():
    source = source_of([0] * 3 + [1] * 30, 2)
    train, val = hold_out(source, 30, seed=0, groups=np.arange(33))
    assert np.bincount(train.labels).tolist() == [1, 3]
    assert np.bincount(val.labels).tolist() == [2, 27]


def test_groups_that_are_too_large_are_told():
    with pytest.raises(
        UsageError, match=r"fit into the 2 examples of data.holdout, got 2 of up to 4"
    ):
        hold_out(source_of([0, 1] * 4, 2), 2, seed=0, groups=np.repeat([0, 1], 4))


def png(value, number):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[value, number], [0, 0]], np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def patients(tmp_path):
    """Ten patients with four images each, two of either class; the first pixel is the patient."""
    lines = ["image,label,person"]
    for patient in range(10):
        for number in range(4):
            name = f"{'sick' if number % 2 else 'well'}/patient{patient}_{number}.png"
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(patient, number))
            lines.append(f"{name},{name[:4]},p{patient}")
    (tmp_path / "lines.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "set"


def held_out(source, group_by, **keys):
    config = get_config(
        "base", data__source=source, data__holdout=0.2, data__group_by=group_by, **keys
    )
    splits = open_source(config)
    return [
        set(gather(splits[s], np.arange(len(splits[s])))["image"][:, 0, 0, 0].tolist())
        for s in ("train", "val")
    ]


@pytest.mark.parametrize("limit", [2 << 30, 0])
def test_one_patient_is_in_one_split(patients, monkeypatch, limit):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", limit)
    for _ in range(2):
        train, val = held_out(f"folder:{patients}", r"(patient\d+)_")
        assert (len(train), len(val)) == (8, 2)
        assert train | val == set(range(10))
    train, val = held_out(f"folder:{patients}", "")
    assert train & val


def test_one_patient_by_a_column(patients):
    (patients.parent / "lines.csv").rename(patients / "labels.csv")
    train, val = held_out(f"folder:{patients}", "person")
    assert (len(train), len(val)) == (8, 2)


@pytest.mark.parametrize(
    ("pattern", "kind", "excerpt"),
    [
        ("patient", UsageError, "a regular expression with one group, got 'patient'; try"),
        (r"(\d)(_)", UsageError, "a regular expression with one group"),
        ("(", UsageError, r"expected a regular expression in data.group_by, got '\('"),
        ("(patient[1-9])", UserError, r"in the name of every image, got '(well|sick)/patient0_"),
    ],
)
def test_impossible_groups(patients, pattern, kind, excerpt):
    with pytest.raises(kind, match=excerpt):
        held_out(f"folder:{patients}", pattern)


def test_sources_without_names_have_no_groups():
    with pytest.raises(UsageError, match=r"expected data\.group_by='' for digits, whose images ha"):
        held_out("digits", "(x)")
