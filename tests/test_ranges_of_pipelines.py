"""Every number in a pipeline string and every bad value: refused before anything is built."""

import inspect
import math

import pytest

from imgrec_jax.build.evaluators import EVALUATORS
from imgrec_jax.build.models import ENCODERS
from imgrec_jax.build.models import check_settings as check_encoder
from imgrec_jax.build.optimizers import check_settings as check_optimizer
from imgrec_jax.build.preprocessing import AUGMENTATIONS, MIXINGS, VIEWS
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import Call, annotated_range, bind_call
from imgrec_jax.data.images.random_crop import CROPS
from imgrec_jax.data.loading.samplers import make_sampler
from imgrec_jax.optim import by_path, lookahead
from imgrec_jax.optim.schedules import SCHEDULES
from imgrec_jax.optim.table import OPTIMIZERS
from imgrec_jax.tasks.segmentation.losses import LOSSES

TABLES = {
    "augmentation": AUGMENTATIONS,
    "mix": MIXINGS,
    "view": VIEWS,
    "evaluator": EVALUATORS,
    "loss": LOSSES,
    "crop": CROPS,
    "schedule": SCHEDULES,
    "lookahead": {"lookahead": lookahead.lookahead},
    "encoder": ENCODERS,
}
NUMBERS = [
    (kind, name, parameter)
    for kind, table in TABLES.items()
    for name, factory in table.items()
    for parameter in inspect.signature(factory).parameters.values()
    if type(parameter.default) in {int, float} and parameter.name != "num_classes"
]
BAD = (-2, 10**21, 1e308, math.nan, math.inf, "", "x", None, True, (1,))


def refused(check, *arguments):
    """Return whether a check refuses something in one line with what was expected and got."""
    try:
        check(*arguments)
    except UsageError as error:
        line = str(error)
        return line.startswith("expected ") and ", got " in line and "; try " in line
    return False


@pytest.mark.parametrize(("kind", "name", "parameter"), NUMBERS, ids=lambda each: str(each)[:40])
def test_a_number_that_means_nothing_is_refused(kind, name, parameter):
    settings = inspect.signature(TABLES[kind][name]).parameters.values()
    first = [object() for each in settings if each.default is inspect.Parameter.empty]

    def bind(value):
        call = Call(name, tuple(first), {parameter.name: value})
        if kind == "encoder":
            check_encoder(call)
        else:
            bind_call(kind, call, TABLES[kind])

    bad = [value for value in BAD if value != "x" or type(parameter.default) is not str]
    if kind != "encoder":
        assert math.isfinite(annotated_range(parameter).high)
    assert [value for value in bad if not refused(bind, value)] == []


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_setting_of_an_optimizer_that_means_nothing_is_refused(name):
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    skipped = {"learning_rate", "schedule", "mask", "weight_decay_mask"}
    pairs = [(key, value) for key in parameters.keys() - skipped for value in (-1, 1e308, math.nan)]
    assert [pair for pair in pairs if not refused(check_optimizer, name, dict([pair]))] == []


@pytest.mark.parametrize("text", ["ways", "shots", "queries", "episodes"])
@pytest.mark.parametrize("value", ["0", "-1", "1e308", "10" + "0" * 20, "'x'", "None"])
def test_a_number_of_a_sampler_that_means_nothing_is_refused(text, value):
    def make():
        source = {"size": 3, "batch_size": 1, "seed": 0, "labels": [0, 0, 0]}
        make_sampler(f"episodes({text}={value})", "data.sampling", **source)

    assert refused(make)


@pytest.mark.parametrize("value", BAD)
def test_a_number_of_steps_between_updates_that_means_nothing_is_refused(value):
    assert refused(by_path.read_rules, f".*=adam|every({value!r})")


def test_several_numbers_are_checked_one_by_one():
    for value in (("a",), (math.nan,), (), (0.5, -1), (0.5, True)):
        assert refused(bind_call, "schedule", Call("step", (1.0, 9), {"at": value}), SCHEDULES)
    check_encoder(Call("resnet18", (), {"stage_sizes": (1, 2, 1, 1)}))
    check_optimizer("prodigy", {"betas": (0.9, 0.99)})
    assert refused(check_encoder, Call("resnet18", (), {"stage_sizes": (1, 0, 1, 1)}))
    assert refused(check_encoder, Call("resnet18", (), {"stage_sizes": ()}))
    assert refused(check_optimizer, "prodigy", {"betas": (0.9, 1.0)})


def test_settings_that_no_config_has_are_unknown():
    with pytest.raises(UsageError, match="encoder 'resnet18' takes no 'dtype'"):
        check_encoder(Call("resnet18", (), {"dtype": "int8"}))
    assert refused(check_optimizer, "dog", {"init_step": 3})
