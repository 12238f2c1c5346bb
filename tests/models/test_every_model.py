"""What every model that tells classes apart offers, whatever it is made of.

Sizes, golden values and how each begins stand in the files of the families.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import MODELS

from imgrec_jax import get_config
from imgrec_jax.build import models

IMAGES = jnp.sin(jnp.arange(4 * 16 * 16 * 3, dtype=jnp.float32)).reshape(4, 16, 16, 3)
# The other families have tests of their own for what computes.
COMPUTED = pytest.mark.parametrize(
    "name", ["convnet", pytest.param("airbench", marks=pytest.mark.slow)]
)
EVERY = pytest.mark.parametrize("name", MODELS)


@functools.cache
def shapes(name, num_classes=5, **settings):
    """Return what a model gives, its variables and what it sows, without computing."""
    model = MODELS[name].make(num_classes=num_classes, **settings)
    call = functools.partial(model.init_with_output, mutable=True)
    output, found = jax.eval_shape(call, jax.random.key(0), IMAGES)
    return output, {k: v for k, v in found.items() if k != "intermediates"}, found["intermediates"]


@EVERY
def test_no_classes_leave_the_features_which_have_a_name(name):
    logits, whole, _ = shapes(name)
    features, variables, sown = shapes(name, num_classes=0)
    assert logits.shape == (4, 5)
    assert features.ndim == 2
    assert sown["features"][0].shape == features.shape
    assert whole["params"].keys() - variables["params"].keys() == {"head"}
    assert whole["params"]["head"]["kernel"].shape == (features.shape[1], 5)


@EVERY
def test_types_of_what_is_computed_and_of_what_is_kept(name):
    """Linen's norms rely on types that widen by themselves."""
    with jax.numpy_dtype_promotion("standard"):
        logits, variables, sown = shapes(name, dtype=jnp.bfloat16)
        _, halves, _ = shapes(name, param_dtype=jnp.bfloat16)
    assert sown["features"][0].dtype == jnp.bfloat16
    assert logits.dtype in {jnp.dtype("bfloat16"), jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    for path, leaf in jax.tree_util.tree_leaves_with_path(halves):
        if path[-1].key == "kernel":
            assert leaf.dtype == jnp.bfloat16, path
        if path[0].key == "batch_stats":
            assert leaf.dtype == jnp.float32, path


@EVERY
def test_remat_and_the_axis_of_batch_statistics_come_from_outside(name):
    """They change no variable; with an axis, a device alone cannot take a training step."""
    make, batch_norm = MODELS[name]
    _, variables, _ = shapes(name)
    _, again, _ = shapes(name, remat=True)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    assert ("batch_stats" in variables) == batch_norm
    if not batch_norm:
        return
    step = functools.partial(
        make(num_classes=5, axis_name="data").apply, train=True, mutable=["batch_stats"]
    )
    with pytest.raises(NameError, match="unbound axis name: data"):
        jax.eval_shape(step, variables, IMAGES)


@COMPUTED
def test_remat_changes_no_number(name):
    model = MODELS[name].make(num_classes=5)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)

    def trained(net):
        def loss(params):
            logits, state = net.apply(
                {**variables, "params": params}, IMAGES, train=True, mutable=["batch_stats"]
            )
            return jnp.square(logits).sum(), state

        return jax.value_and_grad(loss, has_aux=True)

    kept, again = (trained(net) for net in (model, model.clone(remat=True)))
    programs = [str(jax.make_jaxpr(f)(variables["params"])) for f in (kept, again)]
    assert ["remat" in program for program in programs] == [False, True]

    def near(ours, theirs):  # what is computed again may be rounded otherwise
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1, np.abs(theirs).max()))

    found = [jax.jit(f)(variables["params"]) for f in (kept, again)]
    assert any(np.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(found[0][1]))
    jax.tree.map(near, *found)


@COMPUTED
def test_bfloat16_is_near_float32(name):
    model = MODELS[name].make(num_classes=5)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    exact = np.asarray(jax.jit(model.apply)(variables, IMAGES))
    low = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, IMAGES)
    difference = np.abs(np.asarray(low, np.float32) - exact).max()
    assert 0 < difference <= 0.03 * np.abs(exact).max()


def test_all_models_are_here_and_have_remat_in_the_config():
    base = get_config("base").model
    kinds = {type(case.make()).__name__ for case in MODELS.values()}
    for name in models.MODELS:
        if "encoder" in base.get(name, {}):  # which is a model of its own
            continue
        assert models.model_kind(name) in kinds, name
        assert base[name if name in base else name.partition("_")[0]].remat is False, name
