import jax
import numpy as np

from imgrec_jax.core.rng import example_keys, init_key, step_key


def data(key):
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_every_purpose_has_a_key_of_its_own():
    root = jax.random.key(0)
    zeros = np.zeros(1, np.int32)
    keys = [init_key(root), root, example_keys(root, zeros, zeros)[0]]
    keys += [step_key(root, s, d, m) for s in (0, 1) for d in (0, 1) for m in (0, 1)]
    assert len({data(key) for key in keys}) == 11


def test_example_keys_differ_by_epoch_and_index():
    root = jax.random.key(0)
    epoch, index = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    keys = example_keys(root, epoch, index)
    assert len({data(key) for key in keys}) == 4
    other_seed = example_keys(jax.random.key(1), epoch, index)
    assert data(other_seed[0]) != data(keys[0])
