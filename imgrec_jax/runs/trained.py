"""A trained network with all that is needed to use it; neither data set nor devices."""

import functools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt
from ml_collections import ConfigDict

from imgrec_jax.build import experiment
from imgrec_jax.build.preprocessing import normalise, unit
from imgrec_jax.build.sources import (
    DECODING_SOURCES,
    RESIZING_SOURCES,
    for_reading,
    open_source,
    takes_shape,
)
from imgrec_jax.build.tasks import presentation
from imgrec_jax.core.errors import UsageError, UserError, unknown
from imgrec_jax.core.task import PyTree, Task
from imgrec_jax.data.images.read import fit_pictures, read_pictures
from imgrec_jax.data.sources.relabel import relabel
from imgrec_jax.data.sources.source import Splits
from imgrec_jax.runs.whole_image import LOOKS
from imgrec_jax.tasks.forward import Network
from imgrec_jax.training.evaluate import Evaluation, evaluate
from imgrec_jax.training.step import compiled_steps, parallel

Images = np.ndarray | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""Pictures as uint8[n, h, w, c] (uint16 where the run has learned from such), or their paths."""


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network. It needs neither the data nor the devices that made it.

    Attributes:
        params, model_state: numpy arrays.
        module: the Linen module; it takes what `inputs` returns.
        task: over uint8 pictures, with the run's scaling and normalisation.
        config: the resolved config.
        labels: the class names, in the order of the outputs.
        image_shape: height, width and channels of the pictures it takes.
        mean, std: of the normalisation, by channel, with pixels in 0 .. 1.
        step: optimizer steps behind the weights.
        metrics: the scores at that step.
        result: the content of result.json; empty where the run is not finished.
        trained: whether the call of `train` that returned this run has trained.
    """

    params: PyTree = field(repr=False)
    model_state: PyTree = field(repr=False)
    module: Network = field(repr=False)
    task: Task = field(repr=False)
    config: Any = field(repr=False)
    labels: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    step: int
    metrics: dict[str, float]
    result: dict[str, Any] = field(repr=False)
    trained: bool = False

    def predict(self, images: Images) -> Any:
        """Return what the network says of pictures; of classes their probabilities.

        These are float32[n, classes], and float32[n, h, w, classes] of pixels. Pictures of
        another size are cut and resized as the folder source does it; see `look` for whole ones.

        Raises:
            UserError: a file is no intact picture.
            UsageError: an array is not uint8[n, h, w, c] with the run's channels.
        """
        return self._apply(self._answer, images)

    def look(self, picture: np.ndarray) -> Any:
        """Return what the network says of one picture [h, w, c] of any size, in its own pixels.

        Only for tasks whose answers belong to places in the picture (see `presentation.Drawing`).

        Raises:
            UsageError: the task is none of these.
        """
        drawing = presentation(self.config.task.name).drawing
        if drawing is None:
            raise UsageError(
                f"expected a task that answers in places, got '{self.config.task.name}'; "
                "try run.predict"
            )
        return LOOKS[drawing.unit](self.predict, picture, self.image_shape, self.config)

    def logits(self, inputs: Float[Array, "n h w c"] | np.ndarray) -> Any:
        """Return what the network itself puts out for pictures that are normalised already.

        That is float32[n, ...]; of detectors, several such arrays by name.

        Args:
            inputs: float32, as `inputs` returns them; of any size that the module takes.
        """
        with self._precision():
            outputs = self._forward(self.params, self.model_state, jnp.asarray(inputs))
        return jax.tree.map(lambda output: np.asarray(output, np.float32), outputs)

    def features(self, images: Images, layer: str = "features") -> np.ndarray:
        """Return what a layer puts out, [n, ...]; "features" is what the last layer works on.

        Layers are named by their path in the module, such as `conv1` or `stage1/block2`.

        Raises:
            UsageError: no such layer; the message lists all.
            UserError: a file is no intact picture.
        """
        blank = np.zeros((1, *self.image_shape), np.uint8)
        known = jax.eval_shape(self._layers, self.params, self.model_state, blank)
        if layer not in known:
            raise unknown("layer", layer, known)
        return self._apply(functools.partial(self._layer, layer=layer), images)

    def inputs(self, images: UInt[Array, "n h w c"] | np.ndarray) -> Float[Array, "n h w c"]:
        """Return pictures of the run's size and type scaled and normalised, for `module`."""
        return normalise(unit(images), self.mean, self.std)

    def evaluate(self, source: str = "") -> dict[str, Evaluation]:
        """Score all splits but train of a source, by default the run's own.

        A source with one split alone (plain class folders) is scored whole. Classes in another
        order are found by their names; some may be missing.

        Raises:
            UsageError: the source has other classes.
        """
        return self.score(self.open(source))

    def score(self, splits: Splits) -> dict[str, Evaluation]:
        """Score all splits but train, or one split that is there alone."""
        devices = _devices()
        program = compiled_steps.EvalProgram(self.task, devices)
        params, model_state = devices.replicate((self.params, self.model_state))
        with self._precision():
            return {
                name: evaluate(
                    program,
                    self.task.compute_metrics,
                    params,
                    model_state,
                    experiment.one_pass(split, self.config.eval_batch_size, devices),
                )
                for name, split in splits.items()
                if name != "train" or len(splits) == 1
            }

    def open(self, source: str = "") -> Splits:
        """Return the splits of a source as `evaluate` sees them, by default the run's own.

        Raises:
            UsageError: the source has other classes, or pictures of another size.
        """
        where = source or self.config.data.source
        splits = self.splits(source).items()
        relabelled = {name: relabel(split, self.labels, where) for name, split in splits}
        return for_reading(self.config.data, relabelled)

    def splits(self, source: str = "") -> Splits:
        """Return the splits of a source in the run's form of pictures, with classes of their own.

        Raises:
            UsageError: the source has pictures of another size.
        """
        config: Any = ConfigDict(self.config.to_dict())
        height, width, _ = self.image_shape
        if source:
            config.data.source, config.data.holdout = source, 0.0
            config.data.classes, config.data.examples_per_class = "", 0
            kind = source.partition(":")[0]
            if kind not in DECODING_SOURCES:
                config.data.center_crop = 1.0
            if takes_shape(kind, config.task.name):
                if not (config.data.image_shape or config.data.image_size):
                    config.data.image_shape = f"{height}x{width}"
            elif height == width and kind in RESIZING_SOURCES:
                config.data.image_size = height
        splits = open_source(config)
        shape = next(iter(splits.values())).image_shape
        if shape != self.image_shape:
            raise UsageError(
                f"expected pictures of {self.image_shape} as in training, got {shape} "
                f"in {config.data.source}; try pictures of that size, or folder:PATH for any size"
            )
        return splits

    def _apply(self, program: Callable[..., PyTree], images: Images) -> Any:
        """Return what a compiled program says of all pictures, batch by batch, as numpy."""
        weights = jax.device_put((self.params, self.model_state))
        parts: list[PyTree] = []
        with self._precision():
            for batch in self._batches(images):
                # Filled up to a power of two: few sizes, and so few compilations.
                size = min(self.config.eval_batch_size, 1 << (len(batch) - 1).bit_length())
                padding = [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)]
                outputs = parallel.fetch(program(*weights, np.pad(batch, padding)))
                parts.append(jax.tree.map(operator.itemgetter(slice(len(batch))), outputs))
        return jax.tree.map(lambda *x: np.concatenate(x), *parts)

    def _batches(self, images: Images) -> Iterator[np.ndarray]:
        """Yield pictures of the run's shape and type, `eval_batch_size` at most."""
        form = self.image_shape, self.config.data.dtype, self.config.data.center_crop
        several = [images] if isinstance(images, str | os.PathLike) else images
        if len(several) == 0:
            raise UsageError("expected pictures, got none; try an array or paths")
        for first in range(0, len(several), self.config.eval_batch_size):
            part = several[first : first + self.config.eval_batch_size]
            if not isinstance(part[0], str | os.PathLike):
                yield fit_pictures(np.asarray(part), *form)
                continue
            read = read_pictures(part, *form)  # pyright: ignore[reportArgumentType]
            if error := next((p for p in read if isinstance(p, UserError)), None):
                raise error
            yield np.stack(read)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _precision(self) -> Any:
        return jax.default_matmul_precision(experiment.MATMUL_PRECISIONS[self.config.precision])

    @functools.cached_property
    def _forward(self) -> Callable[..., Array]:
        def program(params: PyTree, model_state: PyTree, inputs: Array) -> Any:
            return self.module.apply({"params": params, **model_state}, inputs, train=False)

        return jax.jit(program)

    @functools.cached_property
    def _answer(self) -> Callable[..., PyTree]:
        answer = presentation(self.config.task.name).answer

        def program(params: PyTree, model_state: PyTree, images: Array) -> PyTree:
            return answer(self.task.predict(params, model_state, {"image": images}))

        return jax.jit(program)

    @functools.cached_property
    def _layer(self) -> Callable[..., Array]:
        def program(params: PyTree, model_state: PyTree, images: Array, layer: str) -> Array:
            return self._layers(params, model_state, images)[layer]

        return jax.jit(program, static_argnames="layer")

    def _layers(self, params: PyTree, model_state: PyTree, images: Array) -> dict[str, Array]:
        """Return the outputs of all layers by name, and what the module sows."""
        _, variables = self.module.apply(
            {"params": params, **model_state},
            self.inputs(images),
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        found = jax.tree_util.tree_leaves_with_path(variables["intermediates"])
        return {_layer_name(path): leaf for path, leaf in found}


def _layer_name(path: tuple[Any, ...]) -> str:
    """Return `conv1` for conv1/__call__/0; only what is called again has its number behind it."""
    parts = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    return "/".join(part for part in parts if part not in {"__call__", "0"}) or "output"


def _devices() -> parallel.Parallel:
    """Return the layout that runs are scored in: all devices of this process, nothing cut."""
    return parallel.choose("auto", jax.local_devices())
