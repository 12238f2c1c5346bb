"""First parameters that depend on training images, for any module that asks for them."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import on, some_images

from imgrec_jax import get_config
from imgrec_jax.build import models
from imgrec_jax.build.initial_state import first_weights
from imgrec_jax.core.state import create
from imgrec_jax.models.airbench import Airbench
from imgrec_jax.models.blocks.data_init import DataInit
from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.ops.whitening import whitening_kernel

ABOUT = {"label_names": list("abc"), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Centred(nn.Module):
    """One dense layer whose bias begins with the mean of the images."""

    num_classes: int = 3
    init_images: ClassVar[int] = 4

    @nn.nowrap
    def init_from_images(self, params, images):
        return {"head": {**params["head"], "bias": images.mean((0, 1, 2))}}

    @nn.compact
    def __call__(self, images, *, train=False, mask=None):
        return nn.Dense(self.num_classes, name="head")(images.mean((1, 2)))


def started(source, **keys):
    """Return first parameters, those before, and what was reported."""
    config = get_config("base", **keys)
    model = models.build_model(config, 3, on(1))
    size = source.image_shape
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *size)))["params"]
    lines = []
    state = create(params, {}, {}, ema=False)
    return first_weights(config, ABOUT, source, on(1), state, lines.append).params, params, lines


@pytest.mark.parametrize(("examples", "used"), [(9, 4), (3, 3)])
def test_a_module_gets_as_many_normalised_images_as_it_wants(monkeypatch, examples, used):
    monkeypatch.setitem(models.MODELS, "centred", Centred)
    source = some_images(examples)
    params, drawn, lines = started(source, model__name="centred")
    expected = (source.images[:used] / 255.0 - 0.5) / 0.25
    np.testing.assert_allclose(params["head"]["bias"], expected.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(params["head"]["kernel"], drawn["head"]["kernel"])
    assert lines == [f"initialised  from {used} training images"]


def test_airbench_whitens_its_first_layer_alone():
    source = some_images(16, size=9)
    params, drawn, lines = started(source, model__name="airbench94")
    images = jnp.asarray((source.images / 255.0 - 0.5) / 0.25, jnp.float32)
    # Up to its sign, which is free in an eigenvector and hangs on rounding.
    made, expected = jnp.abs(params["whiten"]["kernel"]), jnp.abs(whitening_kernel(images))
    np.testing.assert_allclose(made, expected, atol=0.01)
    np.testing.assert_array_equal(params["whiten"]["bias"], drawn["whiten"]["bias"])
    others = [{k: v for k, v in tree.items() if k != "whiten"} for tree in (params, drawn)]
    jax.tree.map(np.testing.assert_array_equal, *others)
    assert lines == ["initialised  from 16 training images"]


def test_other_modules_begin_as_they_were_drawn():
    params, drawn, lines = started(some_images(4), model__name="convnet", model__convnet__width=4)
    assert params is drawn
    assert lines == []
    assert isinstance(Airbench(), DataInit)
    assert not isinstance(ConvNet(), DataInit)
