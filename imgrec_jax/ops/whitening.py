"""Compute convolution filters that decorrelate image patches."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def whitening_kernel(
    images: Float[Array, "n h w c"], size: int = 2, epsilon: float = 5e-4
) -> Float[Array, "i j c d"]:
    """Return a convolution kernel whose outputs on such images are uncorrelated, of unit variance.

    The principal components of all patches, each divided by sqrt(variance + `epsilon`); then the
    same negated, because the following nonlinearity keeps one half: d = 2 size² c
    (Page 2019, "How to train your ResNet"; Jordan 2024, arXiv:2404.00498, section 3.1). The mean
    is not subtracted, as there.

    Args:
        images: normalised like the inputs of the network; a few thousand are enough.
        size: of the patches, square.
        epsilon: keeps the filters of almost constant directions small.
    """
    height, width, channels = images.shape[1:]
    rows, columns = height - size + 1, width - size + 1
    shifts = [images[:, i : i + rows, j : j + columns] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(shifts, axis=-1).reshape(-1, size * size * channels)
    # In full float32 on any device: rounded products would hide the smallest variances.
    covariance = jnp.matmul(patches.T, patches, precision="highest") / len(patches)
    variances, directions = jnp.linalg.eigh(covariance)
    filters = directions / jnp.sqrt(variances + epsilon)[None]  # one in each column
    both = jnp.concatenate([filters, -filters], axis=1)
    return both.reshape(size, size, channels, -1)
