"""Labels of records."""

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.tfds_records import Records, read_labels


class View(list):
    """Records in memory, read as TFDS does."""

    def __getitems__(self, rows):
        return [self[row] for row in rows]


def records(labels):
    view = View({"label": np.int64(label)} for label in labels)
    return Records(view, "sets/a/train", "image", "label", ("cat", "dog"), (None, None, None))


def test_labels_are_read_without_images():
    labels = read_labels(records([1, 0, -1]))
    assert labels.tolist() == [1, 0, -1]
    assert labels.dtype == np.int32


@pytest.mark.parametrize("label", [2, -2, 2**31, 2**40])
def test_a_label_of_no_class_is_refused_with_its_row(label):
    with pytest.raises(UserError, match=rf"from 0 to 1.* got {label} in sets/a/train\[1\]; try"):
        read_labels(records([0, label]))
