import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoint import Checkpoints
from imgrec_jax.training.warm_start import warm_start


def state(**params):
    return TrainState(np.int32(3), {"net": params}, {}, {}, {})


@pytest.fixture
def source(tmp_path):
    """A run with a body and a head for two classes."""
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        body, head = np.full((2, 4), 7.0, np.float32), np.full((4, 2), 8.0, np.float32)
        checkpoints.save(state(body=body, head=head), {}, {})
    return str(tmp_path / "run")


def test_what_fits_is_taken_and_the_rest_is_told(source):
    fresh = state(body=np.zeros((2, 4), np.float32), head=np.zeros((4, 5), np.float32))
    said = []
    started = warm_start(source, fresh, said.append)
    np.testing.assert_array_equal(started.params["net"]["body"], np.full((2, 4), 7.0))
    np.testing.assert_array_equal(started.params["net"]["head"], np.zeros((4, 5)))
    assert said[0].endswith("step 3: took net/body")
    assert said[1].strip() == "left there  net/head"
    assert said[2].strip() == "made anew  net/head"


def test_a_whole_network_fits_into_an_encoder(source):
    net = {"body": np.zeros((2, 4), np.float32), "head": np.zeros((4, 5), np.float32)}
    fresh = TrainState(np.int32(0), {"encoder": {"net": net}, "top": np.zeros(2)}, {}, {}, {})
    said = []
    started = warm_start(source, fresh, said.append)
    encoder = started.params["encoder"]["net"]
    np.testing.assert_array_equal(encoder["body"], np.full((2, 4), 7.0))
    np.testing.assert_array_equal(encoder["head"], np.zeros((4, 5)))
    assert said[0].endswith("took encoder/net/body")
    assert said[1].strip() == "left there  net/head"
    assert said[2].strip() == "made anew  encoder/net/head, top"


def test_nothing_that_fits_is_an_error(source):
    with pytest.raises(UserError, match="expected parameters that fit"):
        warm_start(source, state(tail=np.zeros(3, np.float32)), print)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="expected a run with checkpoints"):
        warm_start(str(tmp_path / "none"), state(), print)


def test_without_a_source_nothing_changes():
    same = state(body=np.zeros(3, np.float32))
    assert warm_start("", same, print) is same
