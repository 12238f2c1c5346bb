"""How close an image is to a reference: PSNR and SSIM, over any part of an image."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

_PEAK = 255.0
_SIGMA, _WINDOW = 1.5, 11  # of SSIM, as in its paper
_K1, _K2 = 0.01, 0.03
_EXACT = jax.lax.Precision.HIGHEST
_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255


def luma(images: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """Return Y of ITU-R BT.601 with its narrow range, 16 .. 235, for RGB values in 0 .. 255."""
    return 16.0 + jnp.matmul(images, jnp.asarray(_LUMA), precision=_EXACT)


def psnr(
    predicted: Float[Array, "n h w"], true: Float[Array, "n h w"], valid: Bool[Array, "n h w"]
) -> Float[Array, " n"]:
    """Return the peak signal-to-noise ratio in dB, 10 log10(255² / MSE), over the valid pixels.

    Values are in 0 .. 255. Equal images have an infinite ratio.
    """
    count = jnp.maximum(valid.sum((1, 2), dtype=jnp.float32), 1.0)
    error = jnp.where(valid, jnp.square(predicted - true), 0.0).sum((1, 2)) / count
    return 10.0 * jnp.log10(_PEAK**2 / error)


def ssim(
    predicted: Float[Array, "n h w"], true: Float[Array, "n h w"], valid: Bool[Array, "n h w"]
) -> Float[Array, " n"]:
    """Return the mean structural similarity (Wang et al. 2004) over windows of valid pixels.

    Windows are Gaussian, 11 x 11 with a standard deviation of 1.5; K1 = 0.01, K2 = 0.03, and values
    are in 0 .. 255. NaN where an image holds no whole window.
    """
    # Around the middle grey: E[x²] - E[x]² loses fewer digits there.
    x, y = predicted - _PEAK / 2, true - _PEAK / 2
    mean_x, mean_y, xx, yy, xy = (_blur(v) for v in (x, y, x * x, y * y, x * y))
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    mean_x, mean_y = mean_x + _PEAK / 2, mean_y + _PEAK / 2
    c1, c2 = (_K1 * _PEAK) ** 2, (_K2 * _PEAK) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    whole = jax.lax.reduce_window(
        valid, True, jax.lax.bitwise_and, (1, _WINDOW, _WINDOW), (1, 1, 1), "valid"
    )
    return jnp.where(whole, similarity, 0.0).sum((1, 2)) / whole.sum((1, 2), dtype=jnp.float32)


def _blur(x: Float[Array, "n h w"]) -> Float[Array, "n i j"]:
    """Return the Gaussian mean around each pixel that has a whole window."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    line = jnp.asarray(weights / weights.sum(), x.dtype)
    x = x[..., None]
    for kernel in (line[:, None, None, None], line[None, :, None, None]):
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=_EXACT,
        )
    return x[..., 0]
