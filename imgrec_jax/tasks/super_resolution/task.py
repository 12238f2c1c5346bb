"""Super-resolution: an image of a higher resolution from one of a lower."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Facts, LossOutput, PyTree, Score, Task
from imgrec_jax.ops import bicubic, image_quality
from imgrec_jax.tasks import forward, per_example
from imgrec_jax.tasks.super_resolution import colour, losses

Images = Float[Array, "n h w c"]


def super_resolution(
    module: forward.Network,
    facts: Facts,
    *,
    scale: int = 3,
    channels: str = "y",
    loss: str = "l1",
    patch: int = 0,
) -> Task:
    """Return the task for the normalisation of `facts`; see `enlarge`."""
    del patch  # of the training crops, which the source makes
    return enlarge(
        module, scale=scale, channels=channels, loss=loss, mean=facts["mean"], std=facts["std"]
    )


def enlarge(
    module: forward.Network,
    *,
    scale: int,
    channels: str = "y",
    loss: str = "l1",
    mean: Any = (0.0,),
    std: Any = (1.0,),
) -> Task:
    """Return the task of training `module(images, valid=...) -> images enlarged by scale`.

    A batch holds `image` (RGB at the low resolution, normalised by mean and std), `target_image`
    (at the high resolution), `mask`, and, if images are padded, `size` (int32[n, 2], the height
    and width of each at the low resolution), and `grey` (bool[n], images of one channel, whose
    values are luma themselves). The network sees values in 0 .. 1.

    With channels "y", the network enlarges luma alone (Y of BT.601, 16 .. 235, as the literature
    before 2017), and the colours are enlarged bicubically; with "rgb", it enlarges all three.
    The loss is the mean of `losses.LOSSES` over the values of an image, then over images.

    Predictions: `image`, RGB in 0 .. 1, and `luma`, in 0 .. 255. Scores are means over images of
    `psnr` (dB) and `ssim` on luma rounded to 8 bits, without a border of `scale` pixels, those of
    bicubic enlargement beside them (`psnr_bicubic`, `ssim_bicubic`), and `psnr_rgb`.

    Args:
        module: the network.
        scale: 2, 3 or 4, or any other whole factor that the network has.
        channels: "y" or "rgb".
        loss: "l1", "l2" or "charbonnier".
        mean: of the normalisation of the images, with pixels in 0 .. 1.
        std: of the normalisation.

    Raises:
        UsageError: another value.
    """
    if scale < 2:
        raise UsageError(f"expected task.super_resolution.scale of 2 or more, got {scale}; try 3")
    if channels not in colour.CHANNELS:
        raise UsageError(
            f"expected task.super_resolution.channels of y or rgb, got '{channels}'; try y"
        )
    distance = losses.read_loss(loss)
    raw = partial(_raw, mean=np.asarray(mean, np.float32), std=np.asarray(std, np.float32))
    run = partial(_enlarged, module, channels, raw)
    return Task(
        init=partial(_init, module, channels, raw),
        count=per_example.count,
        loss=partial(_loss, run, distance, channels, raw, scale),
        predict=partial(_predict, run, channels, raw, scale),
        metric_sums=_metric_sums,
        compute_metrics=compute_metrics,
        headline=Score("psnr"),
        rows=partial(_rows, scale),
    )


def _raw(images: Images, *, mean: np.ndarray, std: np.ndarray) -> Images:
    """Return images in 0 .. 1, before normalisation."""
    return images * std.reshape(1, 1, 1, -1) + mean.reshape(1, 1, 1, -1)


def _init(
    module: forward.Network, channels: str, raw: Any, key: Array, batch: Batch
) -> tuple[PyTree, PyTree]:
    inputs = colour.network_channels(raw(batch["image"]), channels)
    return forward.initialise(module, key, {"image": inputs})


def _enlarged(
    module: forward.Network, channels: str, raw: Any, params: PyTree, batch: Batch
) -> Images:
    inputs = colour.network_channels(raw(batch["image"]), channels, batch.get("grey"))
    valid = _inside(batch["size"], inputs.shape[1:3]) if "size" in batch else None
    return module.apply({"params": params}, inputs, valid=valid)


def _loss(
    run: Any,
    distance: losses.Distance,
    channels: str,
    raw: Any,
    scale: int,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
    context: Context,
) -> LossOutput:
    predicted = run(params, batch)
    true = colour.network_channels(raw(batch["target_image"]), channels)
    valid = _valid_target(batch, true.shape, scale)
    values = jnp.where(valid[..., None], distance(predicted - true), 0.0)
    count = jnp.maximum(valid.sum((1, 2), dtype=jnp.float32) * true.shape[-1], 1.0)
    each = values.sum((1, 2, 3)) / count
    squared = jnp.where(valid[..., None], jnp.square(predicted - true), 0.0).sum((1, 2, 3))
    # Of the network's own values in 0 .. 1, without rounding or border: for the log alone.
    ratio = -10.0 * jnp.log10(jnp.maximum(squared / count, 1e-10))
    return per_example.output(each, model_state, batch, context, psnr=ratio)


def _predict(
    run: Any,
    channels: str,
    raw: Any,
    scale: int,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
) -> dict[str, Array]:
    del model_state
    output = run(params, batch)
    if channels == "rgb":
        image = output.clip(0.0, 1.0)
        luma = colour.luma_of(jnp.rint(255.0 * image), batch.get("grey"))
        return {"image": image, "luma": luma}
    larger = bicubic.upscale(raw(batch["image"]), scale)
    image = colour.with_luma(larger, output[..., 0], batch.get("grey")).clip(0.0, 1.0)
    return {"image": image, "luma": 255.0 * output[..., 0]}


def _metric_sums(outputs: Mapping[str, Array], batch: Batch) -> dict[str, Array]:
    del outputs
    return {"examples": batch["mask"].sum(dtype=jnp.int32)}


def _rows(scale: int, outputs: Mapping[str, Array], batch: Batch) -> dict[str, Array]:
    grey = batch.get("grey")
    true, low = _in_255(batch["target_image"]), _in_255(batch["image"])
    luma = _eight_bits(colour.luma_of(true, grey))
    valid = _valid_target(batch, true.shape, scale, border=scale)
    bicubic_luma = bicubic.upscale(colour.luma_of(low, grey)[..., None], scale)[..., 0]
    predicted, baseline = _eight_bits(outputs["luma"]), _eight_bits(bicubic_luma)
    rgb = _eight_bits(255.0 * outputs["image"])
    planes = [image_quality.psnr(rgb[..., k], true[..., k], valid) for k in range(3)]
    error = sum(10.0 ** (-plane / 10.0) for plane in planes) / len(planes)
    return {
        "psnr": image_quality.psnr(predicted, luma, valid),
        "ssim": image_quality.ssim(predicted, luma, valid),
        "psnr_bicubic": image_quality.psnr(baseline, luma, valid),
        "ssim_bicubic": image_quality.ssim(baseline, luma, valid),
        "psnr_rgb": -10.0 * jnp.log10(error),
    }


def compute_metrics(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores: in evaluation means over the images, else those of `per_example`."""
    if not rows:
        return per_example.means(sums, rows)
    return {name: float(np.mean(values, dtype=np.float64)) for name, values in rows.items()}


def _in_255(images: Array) -> Images:
    """Return integer images, as the source has them, as float32 in 0 .. 255."""
    return images.astype(jnp.float32) * (255.0 / jnp.iinfo(images.dtype).max)


def _eight_bits(values: Array) -> Array:
    return jnp.floor(values + 0.5).clip(0.0, 255.0)


def _inside(size: Array, shape: tuple[int, ...], border: int = 0) -> Bool[Array, "n h w"]:
    """Return which pixels are in images of `size` (height and width) without a border."""
    down, across = (jnp.arange(side)[None] for side in shape)
    height, width = size[:, :1], size[:, 1:]
    rows = (down >= border) & (down < height - border)
    columns = (across >= border) & (across < width - border)
    return rows[:, :, None] & columns[:, None, :]


def _valid_target(
    batch: Batch, shape: tuple[int, ...], scale: int, border: int = 0
) -> Bool[Array, "n h w"]:
    if "size" in batch:
        return _inside(scale * batch["size"], shape[1:3], border)
    size = jnp.broadcast_to(jnp.array(shape[1:3]), (shape[0], 2))
    return _inside(size, shape[1:3], border)
