"""Random bits never change: a run of an earlier version continues bit for bit."""

import jax
import numpy as np

from imgrec_jax.augment.multi_view import view_keys
from imgrec_jax.core import rng
from imgrec_jax.core.random_streams import ExampleStream, HostStream, host_bits
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.loading import random_orders


def test_streams_of_the_host_give_the_same_bits_as_ever():
    classes = [np.arange(3), np.arange(3, 6)]
    assert random_orders.order(7, 2, 8).tolist() == [6, 7, 4, 0, 1, 5, 3, 2]
    assert random_orders.order_of_unlabelled(7, 2, 8).tolist() == [1, 6, 0, 2, 5, 7, 3, 4]
    assert random_orders.order_of_class(7, 1, 2, 8).tolist() == [3, 6, 4, 2, 7, 1, 0, 5]
    assert random_orders.in_turn(7, classes, 1, 5)[0].tolist() == [2, 4, 0, 5, 1]
    assert random_orders.partners(7, 2, 5, 6).tolist() == [4, 3, 1, 0, 2, 5]
    assert random_orders.first_of_order(7, 2, 1, 8, 4).tolist() == [4, 1, 5, 2]
    assert tuple(RandomResizedCrop(7).area(3, 2, 50, 40)) == (0, 13, 25, 22)


def test_keys_are_the_same_as_ever():
    root, one = jax.random.key(3), np.array([5], np.int32)
    of_example = rng.example_keys(root, one, one)
    keys = {
        "init": (rng.init_key(root), [1024511538, 2603795180]),
        "step": (rng.step_key(root, 1, 2, 3), [2933804386, 101384920]),
        "example": (of_example, [1390707056, 2603080729]),
        "evaluation": (rng.evaluation_keys(root, one), [2463012157, 2389721536]),
        "view": (view_keys(of_example, 2), [2982126328, 574659739]),
    }
    found = {name: jax.random.key_data(key).ravel().tolist() for name, (key, _) in keys.items()}
    assert found == {name: bits for name, (_, bits) in keys.items()}


def test_no_two_streams_of_the_host_coincide():
    bits = [host_bits(stream, (0, 0)).random_raw(1).item() for stream in HostStream]
    assert len(set(bits)) == len(HostStream)


def test_streams_of_examples_lie_beyond_all_augmentation_stages():
    assert min(ExampleStream) > 1000
    assert ExampleStream.VIEWS - ExampleStream.MIXING > 1000
