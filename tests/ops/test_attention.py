from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.ops.attention import attention_on


@pytest.mark.parametrize(
    ("platform", "capability", "dtype", "flash"),
    [
        ("gpu", "9.0", jnp.bfloat16, True),
        ("gpu", "8.0", jnp.float16, True),
        ("gpu", "9.0", jnp.float32, False),
        ("gpu", "7.5", jnp.bfloat16, False),
        ("gpu", "gfx90a", jnp.bfloat16, False),
        ("cpu", "", jnp.bfloat16, False),
    ],
)
def test_flash_attention_is_for_newer_gpus_in_16_bits(platform, capability, dtype, flash):
    device = SimpleNamespace(platform=platform, compute_capability=capability)
    settings = getattr(attention_on(device, dtype), "keywords", {})
    assert settings == ({"implementation": "cudnn"} if flash else {})


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="flash attention needs an NVIDIA GPU")
def test_flash_attention_is_the_plain_one_but_for_rounding():
    flash = attention_on(jax.devices()[0], jnp.bfloat16)
    keys = jax.random.split(jax.random.key(0), 3)
    arrays = [jax.random.normal(key, (2, 197, 6, 64), jnp.bfloat16) for key in keys]

    def loss(attention, *arrays):
        return (attention(*arrays).astype(jnp.float32) ** 2).sum()

    for argument in range(3):
        plain, quick = (
            jax.grad(lambda *a, f=form: loss(f, *a), argument)(*arrays).astype(jnp.float32)
            for form in (jax.nn.dot_product_attention, flash)
        )
        np.testing.assert_allclose(quick, plain, atol=0.05 * float(jnp.abs(plain).max()))
