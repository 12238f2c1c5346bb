"""Several views of an image: what each depends on."""

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.augment.multi_view import augment_views
from imgrec_jax.build.preprocessing import build_augmentations
from imgrec_jax.core.rng import example_keys

IMAGES = np.random.default_rng(0).random((5, 6, 6, 3)).astype(np.float32)


def seen(text, rows=range(5), epoch=0, **fields):
    rows = np.asarray(rows, np.int32)
    keys = example_keys(jax.random.key(3), jnp.full(len(rows), epoch, jnp.int32), rows)
    batch = {"image": IMAGES[rows], "keys": keys, **fields}
    return {
        n: np.asarray(v)
        for n, v in augment_views(build_augmentations(text), batch).items()
        if n != "keys"
    }


def test_a_view_depends_on_seed_epoch_index_and_its_number_alone():
    whole = seen("noise(0.1);noise(0.1);noise(0.1)")
    views = ("image", "view2_image", "view3_image")
    some = seen("noise(0.1);noise(0.1);noise(0.1)", rows=[4, 1])
    for view in views:
        np.testing.assert_array_equal(some[view], whole[view][[4, 1]])
    assert not np.array_equal(whole["image"], whole["view2_image"])
    assert not np.array_equal(whole["view2_image"], whole["view3_image"])
    later = seen("noise(0.1);noise(0.1);noise(0.1)", epoch=1)
    assert all(not np.array_equal(later[view], whole[view]) for view in views)


def test_views_begin_at_the_image_itself_and_the_first_is_what_it_was_alone():
    both = seen("vertical_flip(1.0);flip(1.0)")
    np.testing.assert_array_equal(both["image"], IMAGES[:, ::-1])
    np.testing.assert_array_equal(both["view2_image"], IMAGES[:, :, ::-1])
    alone = seen("noise(0.1)")
    assert "view2_image" not in alone
    np.testing.assert_array_equal(seen("noise(0.1);flip")["image"], alone["image"])


def test_views_may_differ_in_size_and_take_along_what_is_drawn_on_them():
    labels = np.arange(5 * 36, dtype=np.int32).reshape(5, 6, 6)
    found = seen(";patch(4, 4)", label_map=labels, label=np.arange(5))
    assert found["view2_image"].shape == (5, 4, 4, 3)
    assert found["view2_label_map"].shape == (5, 4, 4)
    np.testing.assert_array_equal(found["label_map"], labels)
    assert "view2_label" not in found


def test_each_image_of_an_episode_is_augmented_by_itself():
    index = np.array([[0, 1], [2, 3]], np.int32)
    keys = example_keys(jax.random.key(3), jnp.zeros_like(index), index)
    batch = {"image": IMAGES[index], "keys": keys}
    found = augment_views(build_augmentations("noise(0.1);flip(1.0)"), batch)
    flat = seen("noise(0.1);flip(1.0)", rows=range(4))
    for view in ("image", "view2_image"):
        np.testing.assert_array_equal(found[view].reshape(4, 6, 6, 3), flat[view])
