"""Barriers change how values are compiled, not the values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.barriers import after, materialize, separate


def squares_of_neighbours(x, barrier):
    squares = barrier(x * x)
    return squares[:-1] + squares[1:]


def compiled(function, *args):
    return jax.jit(function).lower(*args).compile().as_text()


def test_separate_values_are_compiled_by_themselves():
    x = jnp.arange(4096.0)

    def in_one_loop(barrier):
        text = compiled(lambda x: squares_of_neighbours(x, barrier), x)
        (loop,) = [part for part in text.split("\n\n") if " multiply(" in part]
        return " add(" in loop

    assert in_one_loop(lambda squares: squares)  # were it not, nobody would need `separate`
    assert not in_one_loop(separate)


def test_separate_changes_no_value():
    x = jnp.asarray([np.nan, np.inf, -0.0, 3.0])
    y, z = jax.jit(separate)((x, x.astype(jnp.int8)))
    np.testing.assert_array_equal(y.view(jnp.int32), x.view(jnp.int32))
    np.testing.assert_array_equal(z, x.astype(jnp.int8))


def test_separate_under_vmap_too_has_one_branch_to_take():
    x = jnp.arange(64.0).reshape(4, 16)
    mapped = jax.vmap(lambda x: squares_of_neighbours(x, separate))
    assert " conditional(" in compiled(mapped, x)
    np.testing.assert_array_equal(jax.jit(mapped)(x), x[:, :-1] ** 2 + x[:, 1:] ** 2)


@pytest.mark.parametrize("shape", [(4, 4, 3), (3, 3, 3)], ids=["blocks of eight", "others"])
def test_a_materialized_image_has_the_same_values(shape):
    image = jax.random.uniform(jax.random.key(0), shape) * 300 - 100
    np.testing.assert_array_equal(jax.jit(materialize)(image), image)


def test_an_image_is_computed_once_for_all_that_read_it():
    """Of three shifts of a sine, each computes it anew unless it is materialized."""
    image = jnp.linspace(0.0, 1.0, 32 * 32 * 2).reshape(32, 32, 2)

    def sines(barrier):
        def shifts(x):
            x = barrier(jnp.sin(x))
            return x[:-2] + x[1:-1] + x[2:]

        return [part for part in compiled(shifts, image).split("\n\n") if " sine(" in part]

    def in_the_loop_that_adds(parts):
        return any(" add(" in part for part in parts)

    assert in_the_loop_that_adds(sines(lambda x: x))
    assert not in_the_loop_that_adds(sines(materialize))


def test_what_comes_after_depends_on_what_is_before():
    values = (jnp.asarray([np.nan, -0.0, 3.0]), jnp.arange(3))
    for before in (jnp.ones(2), jnp.asarray([np.inf]), jnp.asarray([np.nan]), jnp.zeros(0), ()):
        got = jax.jit(after)(before, values)
        np.testing.assert_array_equal(got[0].view(jnp.int32), values[0].view(jnp.int32))
        np.testing.assert_array_equal(got[1], values[1])
    text = compiled(lambda x, y: after(x.sum(), y * 2), jnp.arange(4.0), jnp.ones(4))
    assert " select(" in text
