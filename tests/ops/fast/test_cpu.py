"""`apart` changes what is compiled, not what is computed."""

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.ops.fast.cpu import apart


def squares_of_neighbours(x, separate):
    squares = separate(x * x)
    return squares[:-1] + squares[1:]


def test_is_compiled_by_itself():
    x = jnp.arange(4096.0)

    def in_one_loop(separate):
        compiled = jax.jit(lambda x: squares_of_neighbours(x, separate)).lower(x).compile()
        (loop,) = [part for part in compiled.as_text().split("\n\n") if " multiply(" in part]
        return " add(" in loop

    assert in_one_loop(lambda squares: squares)  # were it not, nobody would need `apart`
    assert not in_one_loop(apart)


def test_changes_no_value():
    x = jnp.asarray([np.nan, np.inf, -0.0, 3.0])
    y, z = jax.jit(apart)((x, x.astype(jnp.int8)))
    np.testing.assert_array_equal(y.view(jnp.int32), x.view(jnp.int32))
    np.testing.assert_array_equal(z, x.astype(jnp.int8))


def test_under_vmap_too_there_is_one_branch_to_take():
    x = jnp.arange(64.0).reshape(4, 16)
    mapped = jax.jit(jax.vmap(lambda x: squares_of_neighbours(x, apart)))
    assert " conditional(" in mapped.lower(x).compile().as_text()
    np.testing.assert_array_equal(mapped(x), x[:, :-1] ** 2 + x[:, 1:] ** 2)
