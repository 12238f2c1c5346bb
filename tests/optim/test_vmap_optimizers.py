"""Many networks moved at once, each by settings of its own, as each would be moved alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.optimizers import OPTIMIZERS, build_optimizer
from imgrec_jax.core.nested import flatten
from imgrec_jax.optim.optimizers import NONE_AT_ZERO
from imgrec_jax.optim.vmap_optimizers import stacked

PARAMS = {
    "layer": {"kernel": jnp.sin(jnp.arange(12.0)).reshape(3, 4), "bias": jnp.cos(jnp.arange(4.0))}
}
GRADIENT = jax.tree.map(lambda p: jnp.cos(3 * p), PARAMS)
BLOCKS = [name for name in OPTIMIZERS if name in get_config("base").optim]
QUICK = {"adamw", "sgd"}


def trained(optimizer, params, gradient):
    """Return parameters and state after three steps with the same gradient."""

    @jax.jit
    def steps(params):
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(gradient, state, params)
            params = jax.tree.map(jnp.add, params, updates)
        return params, state

    return steps(params)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BLOCKS]
)
def test_all_numbers_of_an_optimizer_may_differ(name):
    config = get_config("base", optim__name=name)
    numbers = {k: v or 0.1 for k, v in config.optim[name].items() if type(v) is float}
    settings = {"rate": [0.1, 0.2], **{k: [v, 0.8 * v] for k, v in numbers.items()}}

    def make(own):
        arrays = {key: own[key] for key in numbers}
        return build_optimizer(config, lambda step: own["rate"], arrays)

    pair = [jax.tree.map(lambda x: jnp.stack([x, x]), tree) for tree in (PARAMS, GRADIENT)]
    params, state = trained(stacked(make, settings), *pair)
    for k in range(2):
        own = {f"optim__{name}__{key}": settings[key][k] for key in numbers}
        one = get_config("base", optim__name=name, **own)
        optimizer = build_optimizer(one, lambda step, k=k: settings["rate"][k])
        expected, its_state = trained(optimizer, PARAMS, GRADIENT)
        assert jax.tree.structure(state) == jax.tree.structure(its_state)
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-5, atol=1e-5)
    kernels = params["layer"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_what_a_zero_leaves_out_is_known():
    assert not NONE_AT_ZERO - flatten(get_config("base").to_dict()).keys()
