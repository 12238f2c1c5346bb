"""What is wrong with a run is reported before training, and before data where it can be."""

import pytest

from imgrec_jax import get_config
from imgrec_jax.build import experiment, memory
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.core.errors import UsageError

SMALL = {
    "data__source": "synthetic:40,8x8x3,4",
    "data__holdout": 0.25,
    "model__convnet__width": 4,
    "model__convnet__hidden": 8,
    "batch_size": 8,
    "ops": "plain",
    "parallel__mode": "single",
}


def build(**changes):
    return build_experiment(get_config("base", **{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__name": "convnt"}, "did you mean 'convnet'"),
        ({"model__name": "unet", "model__unet__encoder": "plain(width=0)"}, r"width=.*got 0"),
        ({"optim__name": "adm"}, "did you mean 'adam'"),
        ({"optim__schedule": "cosin"}, "did you mean 'cosine'"),
        ({"optim__schedule": "step(at=('a',))"}, r"step\(at=.* got 'a'"),
        ({"optim__lookahead": "lookahead(every=0)"}, r"lookahead\(every=.* got 0"),
        ({"optim__by_path": ".*=adam(1e-3, eps=-1)"}, r"adam\(eps=.* got -1"),
        ({"mix": "mixup(-1)"}, r"mixup\(alpha=.* got -1"),
        ({"tta": "shift(0)"}, r"shift\(pixels=.* got 0"),
        ({"data__normalization": "nan/1"}, "as means and as many deviations"),
        ({"data__normalization": "1e308/1"}, "from -1000 to 1000"),
        ({"data__normalization": "0.5/1e308"}, "from 1e-06 to 1000"),
        ({"optim__by_path": ".*=adam(1e308)"}, "above 0, up to 1e.06, got adam"),
        ({"augment": "pad_crop(-1)"}, r"pad_crop\(pad=.* got -1"),
    ],
)
def test_a_wrong_setting_is_reported_before_data_are_read(monkeypatch, changes, message):
    def no_data(config):
        raise AssertionError("the data were opened")

    monkeypatch.setattr(experiment, "open_data", no_data)
    with pytest.raises(UsageError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task__class_weights": "1,1,1,1e308"}, "4 numbers, not all 0, each a number from 0 to"),
        ({"optim__multipliers": "head=1e308"}, "above 0, up to 1e.06, got 'head=1e308'"),
        ({"optim__freeze_later": "head=-1"}, "above 0, up to 1e.06, got 'head=-1'"),
        ({"parallel__rules": "head=999"}, "PATTERN=AXIS"),
        ({"data__eval_sampling": "in_ordr"}, "did you mean 'in_order'"),
        ({"data__eval_sampling": "episodes(ways=9)"}, "expected 9 classes"),
        (
            {"epochs": 2**31 - 1},
            r"at most 2,147,483,647 steps.*epochs=536870911",
        ),
        ({"checkpoint__best": "acuracy"}, "got 'acuracy'; did you mean 'accuracy'"),
        ({"checkpoint__best": "-los"}, "got 'los'; did you mean 'loss'.* top5_accuracy"),
        ({"data__source": "synthetic:99999999999999,8x8x3,4"}, "synthetic:N,HxWxC,CLASSES of at"),
        ({"data__source": "synthetic:9,8x8x3,999999"}, "synthetic:N,HxWxC,CLASSES of at most"),
        ({"data__source": "digits:x"}, "which has no path, got 'digits:x'; try"),
    ],
)
def test_a_setting_that_does_not_fit_the_data_is_reported_before_training(changes, message):
    with pytest.raises(UsageError, match=message):
        build(**changes)


@pytest.mark.parametrize("best", ["-loss", "top5_accuracy", "neighbours"])
def test_scores_of_splits_and_evaluators_select_the_best_step(best):
    built = build(checkpoint__best=best, evaluators="neighbours(k=3)")
    assert built.best is not None
    assert built.best.name == f"val_{best.removeprefix('-')}"


def test_what_is_larger_than_the_memory_is_refused(monkeypatch):
    config = get_config("base", **SMALL)
    built = build_experiment(config)
    memory.check_memory(config, built)
    batch = 8 * (8 * 8 * 3 + 4)
    monkeypatch.setattr(memory, "memory_bytes", lambda: batch - 1)
    with pytest.raises(UsageError, match=r"expected batch_size=8 to fit into .*; try a smaller"):
        memory.check_memory(config, built)
    monkeypatch.setattr(memory, "memory_bytes", lambda: batch + 1)
    with pytest.raises(UsageError, match=r"expected the state of convnet .*try a smaller model"):
        memory.check_memory(config, built)
