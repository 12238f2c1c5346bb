import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.optimizers import build_optimizer, build_schedule, describe_decay
from imgrec_jax.core.errors import UsageError
from imgrec_jax.optim.param_patterns import depths, kernels

PARAMS = {
    "conv1": {"kernel": jnp.full((1, 1, 1, 2), 2.0), "bias": jnp.full(2, 2.0)},
    "conv2": {"kernel": jnp.full((1, 1, 2, 2), 2.0), "bias": jnp.full(2, 2.0)},
    "norm": {"scale": jnp.full(2, 2.0), "bias": jnp.full(2, 2.0)},
    "attention": {"kernel": jnp.full((2, 1, 2), 2.0), "bias": jnp.full((1, 2), 2.0)},
    "head": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)},
}
NAMES = [f"{layer}/{leaf}" for layer, leaves in sorted(PARAMS.items()) for leaf in sorted(leaves)]


def configured(**keys):
    settings = {"optim__name": "sgd", "optim__learning_rate": 0.1, **keys}
    settings.setdefault("optim__sgd__weight_decay", 0.0)
    settings.setdefault("optim__sgd__momentum", 0.0)
    return get_config("base", **settings)


def updates(gradient=1.0, **keys):
    """Return the first update of each parameter, which all have one gradient in all places."""
    config = configured(**keys)
    optimizer = build_optimizer(config, build_schedule(config, 10))
    gradients = jax.tree.map(lambda p: jnp.full_like(p, gradient), PARAMS)
    made, _ = jax.jit(optimizer.update)(gradients, optimizer.init(PARAMS), PARAMS)
    leaves = {
        f"{layer}/{leaf}": np.unique(value)
        for layer, part in made.items()
        for leaf, value in part.items()
    }
    assert all(len(value) == 1 for value in leaves.values())
    return {name: float(value[0]) for name, value in leaves.items()}


def test_norms_and_biases_are_not_decayed():
    """A bias of an attention layer has two axes, and is a bias all the same."""
    made = updates(optim__sgd__weight_decay=0.5)
    decayed = {name for name, update in made.items() if update == pytest.approx(-0.2)}
    assert decayed == {f"{layer}/kernel" for layer in ("conv1", "conv2", "attention", "head")}
    assert {made[name] for name in made.keys() - decayed} == {np.float32(-0.1)}
    assert kernels({"pos": (1, 4, 8), "a/scale": (2, 2), "b/kernel": (3,)}) == {"pos"}


def test_decay_by_path():
    made = updates(optim__sgd__weight_decay=0.5, optim__decay="conv./kernel|norm")
    decayed = {name for name, update in made.items() if update == pytest.approx(-0.2)}
    assert decayed == {"conv1/kernel", "conv2/kernel", "norm/scale", "norm/bias"}


def test_frozen_parameters_do_not_move_and_have_no_state():
    made = updates(optim__freeze="conv1|norm/(scale|bias)", optim__sgd__weight_decay=0.5)
    still = {name for name, update in made.items() if update == 0}
    assert still == {"conv1/kernel", "conv1/bias", "norm/scale", "norm/bias"}
    config = configured(optim__name="adam", optim__freeze="conv|norm|attention")
    state = build_optimizer(config, build_schedule(config, 10)).init(PARAMS)
    sizes = [leaf.size for leaf in jax.tree.leaves(state) if leaf.size > 1]
    assert sorted(sizes) == [3, 3, 6, 6]  # both moments of the head


def test_rates_by_path():
    made = updates(optim__multipliers="head/bias=2; head=10;.*norm.*=0.1")
    expected = dict.fromkeys(NAMES, -0.1) | {
        "head/bias": -0.2,
        "head/kernel": -1.0,
        "norm/scale": -0.01,
        "norm/bias": -0.01,
    }
    assert made == pytest.approx(expected)


def test_a_rate_of_one_layer_is_a_part_of_the_next():
    made = updates(
        optim__layer_decay=0.5,
        optim__layers="conv([0-9]+);norm|attention;head",
        optim__multipliers="head=3",
    )
    assert made["conv1/kernel"] == pytest.approx(-0.1 / 8)
    assert made["conv2/bias"] == pytest.approx(-0.1 / 4)
    assert made["norm/scale"] == made["attention/bias"] == pytest.approx(-0.1 / 2)
    assert made["head/kernel"] == pytest.approx(-0.3)


def test_layers_are_numbered_by_their_numbers():
    names = ["b10/w", "b2/w", "s1_b2/w", "s1_b10/w", "s2_b1/w"]
    assert depths("k", r"s(\d+)_b(\d+);b(\d+)", names) == {
        "s1_b2/w": 0, "s1_b10/w": 1, "s2_b1/w": 2, "b2/w": 3, "b10/w": 4,
    }  # fmt: skip


def test_clipping_is_by_the_norm_of_what_is_trained():
    """Of 29 numbers with gradient 2 the norm is 2 sqrt(29); 6 are left of the head's kernel."""
    assert sum(leaf.size for leaf in jax.tree.leaves(PARAMS)) == 29
    assert updates(2.0, optim__clip_norm=1.0)["head/bias"] == pytest.approx(-0.1 / np.sqrt(29))
    others = "conv|norm|attention|head/bias"
    alone = updates(2.0, optim__clip_norm=1.0, optim__freeze=others)
    assert alone["head/kernel"] == pytest.approx(-0.1 / np.sqrt(6))
    assert updates(2.0, optim__clip_norm=100.0)["head/bias"] == pytest.approx(-0.2)


@pytest.mark.parametrize("key", ["clip_norm", "multipliers", "layer_decay"])
def test_what_needs_no_state_can_change_within_a_run(key):
    changed = {"clip_norm": 1.0, "multipliers": "head=2", "layer_decay": 0.9}[key]
    one, other = (
        jax.tree.structure(build_optimizer(c, build_schedule(c, 10)).init(PARAMS))
        for c in (
            configured(optim__name="adam"),
            configured(
                optim__name="adam", optim__layers="conv|norm|att|head", **{f"optim__{key}": changed}
            ),
        )
    )
    assert one == other


@pytest.mark.parametrize(
    ("keys", "excerpt"),
    [
        ({"freeze": "conv1|cnov2"}, "optim.freeze .*got 'cnov2'; did you mean 'conv2'"),
        ({"freeze": "."}, "expected optim.freeze to leave a parameter to train"),
        ({"freeze": "conv1||head"}, "expected patterns of optim.freeze .*got ''"),
        ({"freeze": "(conv"}, "expected a regular expression in optim.freeze, got '\\(conv'"),
        ({"decay": "kernels"}, "optim.decay .*got 'kernels'; did you mean 'kernel'"),
        ({"multipliers": "heda=10"}, "optim.multipliers .*got 'heda'; did you mean 'head'"),
        ({"multipliers": "head=10;head/bias=1"}, "each rule of optim.multipliers to be of use"),
        ({"multipliers": "head"}, "optim.multipliers as PATTERN=NUMBER;.*, got 'head'"),
        ({"multipliers": "head=0"}, "numbers above 0, .*got 'head=0'"),
        ({"layer_decay": 0.5}, "optim.layers to name every parameter"),
        ({"layer_decay": 0.5, "layers": "conv;norm;head"}, "leaves out attention/bias"),
        ({"layer_decay": 0.5, "layers": "conv(.);(norm|attention);head"}, "numbers of layers"),
        ({"layer_decay": 0.5, "layers": "stem;conv|norm|attention|head"}, "got 'stem'"),
    ],
)
def test_patterns_that_are_wrong(keys, excerpt):
    with pytest.raises(UsageError, match=excerpt) as caught:
        updates(**{f"optim__{key}": value for key, value in keys.items()})
    assert "\n" not in str(caught.value)


def test_the_paths_are_listed():
    with pytest.raises(UsageError) as caught:
        updates(optim__freeze="nothing_like_it")
    assert str(caught.value).endswith(f"paths: {', '.join(NAMES)}")


def test_decay_of_an_optimizer_that_has_none():
    with pytest.raises(UsageError, match=r"optimizer with weight decay for optim.decay='head'"):
        updates(optim__name="adam", optim__decay="head")


def test_the_card_tells_what_is_decayed():
    def decay_of(**keys):
        return describe_decay(configured(**keys), PARAMS)

    assert decay_of(optim__name="adam") == "none"
    assert decay_of(optim__sgd__weight_decay=0.5) == (
        "0.5 on 4 of 10 arrays (16 of 29 parameters), none on 6"
    )
    assert decay_of(optim__name="adam", optim__freeze="conv", optim__multipliers="head=10") == (
        "none; frozen: 4 of 10 arrays (10 of 29 parameters); rates times 1 to 10"
    )


def test_a_run_tells_its_decay_and_refuses_wrong_patterns_before_it_starts():
    keys = {"optim__name": "adamw", "optim__adamw__weight_decay": 0.1, "optim__sam_rho": 0.05}
    experiment = build_experiment(get_config("digits", optim__freeze="conv1", **keys))
    assert experiment.outputs.card["decay"] == (
        "0.1 on 3 of 8 arrays (140,544 of 141,450 parameters), none on 3; "
        "frozen: 2 of 8 arrays (640 of 141,450 parameters)"
    )
    with pytest.raises(UsageError, match=r"optim.freeze .*got 'conv9'; did you mean 'conv2'"):
        build_experiment(get_config("digits", optim__freeze="conv9"))
