import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.checkpoints.warm_start import warm_start


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
    lines = []
    started = warm_start(source, fresh, lines.append)
    np.testing.assert_array_equal(started.params["net"]["body"], np.full((2, 4), 7.0))
    np.testing.assert_array_equal(started.params["net"]["head"], np.zeros((4, 5)))
    assert lines[0].endswith("step 3: loaded net/body")
    assert lines[1].strip() == "not loaded  net/head"
    assert lines[2].strip() == "initialised  net/head"


def test_what_has_another_shape_may_be_made_to_fit(source):
    def repeated(path, saved, shape):
        return np.tile(saved, (2, 1)) if path == "net/body" else None

    fresh = state(body=np.zeros((4, 4), np.float32), head=np.zeros((4, 5), np.float32))
    started = warm_start(source, fresh, lambda line: None, repeated)
    np.testing.assert_array_equal(started.params["net"]["body"], np.full((4, 4), 7.0))
    np.testing.assert_array_equal(started.params["net"]["head"], np.zeros((4, 5)))


def test_a_whole_network_fits_into_an_encoder(source):
    net = {"body": np.zeros((2, 4), np.float32), "head": np.zeros((4, 5), np.float32)}
    fresh = TrainState(np.int32(0), {"encoder": {"net": net}, "top": np.zeros(2)}, {}, {}, {})
    lines = []
    started = warm_start(source, fresh, lines.append)
    encoder = started.params["encoder"]["net"]
    np.testing.assert_array_equal(encoder["body"], np.full((2, 4), 7.0))
    np.testing.assert_array_equal(encoder["head"], np.zeros((4, 5)))
    assert lines[0].endswith("loaded encoder/net/body")
    assert lines[1].strip() == "not loaded  net/head"
    assert lines[2].strip() == "initialised  encoder/net/head, top"


def statistics(value, size=4):
    return {"batch_stats": {"norm": {"mean": np.full(size, value, np.float32)}}}


@pytest.mark.parametrize("average", [False, True])
def test_batch_statistics_come_with_the_weights_they_belong_to(tmp_path, average):
    """Those of the average with the average, and into an encoder."""
    params = {"norm": {"scale": np.full(4, 7.0, np.float32)}}
    ema = {"params": params, "model_state": statistics(9.0)} if average else {}
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        saved = TrainState(np.int32(3), params, statistics(5.0), {}, ema)
        checkpoints.save(saved, {}, {})
    expected = statistics(9.0 if average else 5.0)
    zeros = {"norm": {"scale": np.zeros(4, np.float32)}}
    fresh = TrainState(np.int32(0), zeros, statistics(1.0), {}, {"params": zeros})
    started = warm_start(str(tmp_path), fresh, print)
    np.testing.assert_equal(started.model_state, expected)
    np.testing.assert_equal(started.ema["model_state"], expected)
    inside = {"encoder": statistics(1.0)["batch_stats"], **statistics(2.0, 3)["batch_stats"]}
    dense = TrainState(np.int32(0), {"encoder": zeros}, {"batch_stats": inside}, {}, {})
    found = warm_start(str(tmp_path), dense, print).model_state["batch_stats"]
    np.testing.assert_equal(found["encoder"], expected["batch_stats"])
    np.testing.assert_equal(found["norm"]["mean"], [2.0, 2.0, 2.0])  # of another shape


def test_nothing_that_fits_is_an_error(source):
    with pytest.raises(UserError, match="expected parameters that fit"):
        warm_start(source, state(tail=np.zeros(3, np.float32)), print)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="expected a run with checkpoints"):
        warm_start(str(tmp_path / "none"), state(), print)


def test_without_a_source_nothing_changes():
    same = state(body=np.zeros(3, np.float32))
    assert warm_start("", same, print) is same
