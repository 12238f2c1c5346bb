import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.models.blocks.detr_transformer import Attention


def test_scores_are_divided_by_the_root_of_the_size_of_a_head():
    """Vaswani et al. 2017, section 3.2.2, in NumPy: two heads of 3 channels, one key masked."""
    queries, keys = (jax.random.normal(jax.random.key(k), (1, 4, 6)) for k in (0, 1))
    valid = jnp.array([[True, True, False, True]])
    net = Attention(2, 0.0, jnp.float32)
    (found, variables) = net.init_with_output(
        jax.random.key(2), queries, keys, keys, valid=valid, train=False
    )
    layer = {
        n: (np.asarray(p["kernel"]), np.asarray(p["bias"])) for n, p in variables["params"].items()
    }

    def projected(name, x):
        kernel, bias = layer[name]
        return (np.asarray(x[0]) @ kernel + bias[None]).reshape(4, 2, 3)

    q, k, v = projected("query", queries), projected("key", keys), projected("value", keys)
    scores = np.einsum("qhc,khc->hqk", q, k) / np.sqrt(3)
    scores[..., 2] = -np.inf
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("hqk,khc->qhc", weights, v).reshape(4, 6)
    expected = mixed @ layer["out"][0] + layer["out"][1][None]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
