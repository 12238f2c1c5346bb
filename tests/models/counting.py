"""What a network takes: parameters, and multiply-adds as published tables count them."""

import math

import jax
import jax.numpy as jnp
from jax.extend import core


def shapes(model, size=224):
    """Return the variables of a model as shapes alone."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def parameters(model, size=224):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, size)["params"]))


def multiply_adds(model, size=224):
    """Return those of all matrix products and convolutions, padding counted as pixels."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return _count(jax.make_jaxpr(model.apply)(shapes(model, size), images).jaxpr)


def _count(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
        shape = equation.outvars[0].aval.shape
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += math.prod(shape) * math.prod(
                equation.invars[0].aval.shape[axis] for axis in contracted
            )
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape  # i, j, in / groups, out
            total += math.prod(shape) * math.prod(kernel[:3])
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, core.ClosedJaxpr):
                    total += _count(inner.jaxpr)
                elif isinstance(inner, core.Jaxpr):
                    total += _count(inner)
    return total
