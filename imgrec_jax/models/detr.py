"""Detection as the prediction of a set: Carion et al. 2020, "End-to-End Object Detection with
Transformers" (DETR).

With a ResNet-50 and the 91 labels of COCO's numbering, it has 41,577,888 parameters. The published
count is 41,524,768: there the 53,120 scales and biases of the encoder's norms are constants.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.detr_transformer import EPSILON, Layer
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder
from imgrec_jax.models.resnet import TORCH_UNIFORM
from imgrec_jax.ops.position_embeddings import sine_positions


class DETR(nn.Module):
    """An encoder, a transformer over its coarsest features, and queries that each predict a box.

    The defaults are those of the published network except its encoder, a ResNet-50.

    Attributes:
        num_classes: number of object classes.
        encoder: module that returns a list of features from fine to coarse, of which the last is
            used; called as `encoder(images, train=..., mask=...)`.
        width: channels of the transformer, a multiple of 4 and of `heads`.
        heads: number of attention heads.
        hidden: channels inside its MLPs.
        encoder_depth, decoder_depth: number of encoder and of decoder layers.
        queries: number of predicted boxes per image.
        dropout: of the transformer.
        frozen_statistics: run the encoder in training as in evaluation, on its pretrained batch
            statistics, as in the published training.
        dtype: computation dtype; outputs are always float32.
        conv: layer class; a faster equivalent may be passed.
    """

    num_classes: int = 91
    encoder: nn.Module = PlainEncoder(width=16, stride=2)
    width: int = 256
    heads: int = 8
    hidden: int = 2048
    encoder_depth: int = 6
    decoder_depth: int = 6
    queries: int = 100
    dropout: float = 0.1
    frozen_statistics: bool = False
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Any = None,
        pixel_mask: Bool[Array, "n h w"] | None = None,
    ) -> dict[str, Float[Array, "n d q _"]]:
        """Return the predictions of the q queries after each of the d decoder layers.

        These are `logits` [n, d, q, k + 1] of the classes and, last, of "no object", and `boxes`
        [n, d, q, 4] as centre x, centre y, width and height relative to the image. The last layer
        gives the predictions; the others are for auxiliary losses (section 3.2, "Auxiliary
        decoding losses").

        Args:
            images: normalised.
            train: whether to apply dropout and update batch statistics.
            mask: false for rows that do not contribute to batch statistics.
            pixel_mask: false for pixels that only pad an image to the size of the batch.
        """
        self._check()
        moving = train and not self.frozen_statistics
        x = self.encoder(images, train=moving, mask=mask)[-1]  # pyright: ignore[reportCallIssue]
        settings = {"dtype": self.dtype, "kernel_init": TORCH_UNIFORM}
        memory = self.conv(self.width, (1, 1), name="neck", **settings)(x)
        memory = memory.reshape(len(x), -1, self.width)
        height, width = x.shape[1:3]
        grid = jnp.ones((1, height, width), bool)
        valid = None
        if pixel_mask is not None:
            grid = _nearest(pixel_mask, height, width)
            valid = grid.reshape(len(x), -1)
        positions = sine_positions(grid, self.width).astype(self.dtype)

        layer = functools.partial(Layer, self.heads, self.hidden, self.dropout, self.dtype)
        for number in range(self.encoder_depth):
            encode = layer(name=f"encoder_layer{number + 1}")
            memory = encode(memory, positions, valid=valid, train=train)

        shape = (self.queries, self.width)
        queries = self.param("queries", nn.initializers.normal(1.0), shape, jnp.float32)
        queries = queries.astype(self.dtype)[None]
        norm = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm")
        decoded = jnp.zeros((len(x), *shape), self.dtype)
        outputs: list[Array] = []
        for number in range(self.decoder_depth):
            decode = layer(name=f"decoder_layer{number + 1}")
            decoded = decode(decoded, queries, memory, positions, valid=valid, train=train)
            outputs.append(norm(decoded))
        y = jnp.stack(outputs, axis=1)
        dense = functools.partial(nn.Dense, **settings)
        logits = dense(self.num_classes + 1, name="head")(y)
        for number in (1, 2):
            y = nn.relu(dense(self.width, name=f"box{number}")(y))
        boxes = nn.sigmoid(dense(4, name="box3")(y).astype(jnp.float32))
        return {"logits": logits.astype(jnp.float32), "boxes": boxes}

    def _check(self) -> None:
        if self.width % 4 or self.width % self.heads:
            raise UsageError(
                f"expected a width that is a multiple of 4 and of the {self.heads} heads, got "
                f"{self.width}; try --config.model.detr.width={32 * self.heads}"
            )


def _nearest(mask: Bool[Array, "n h w"], height: int, width: int) -> Bool[Array, "n i j"]:
    """Return the mask at a coarser size; each cell has the value of its upper left pixel."""
    rows, columns = (
        np.arange(size) * whole // size
        for size, whole in zip((height, width), mask.shape[1:], strict=True)
    )
    return mask[:, rows][:, :, columns]
