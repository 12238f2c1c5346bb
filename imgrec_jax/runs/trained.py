"""A trained network that can be used without its data set and training devices."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt

from imgrec_jax.build.batches import one_pass
from imgrec_jax.build.experiment import MATMUL_PRECISIONS
from imgrec_jax.build.preprocessing import normalise, unit
from imgrec_jax.build.sources import for_reading
from imgrec_jax.build.tasks import task_name, task_spec
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.rng import evaluation_keys
from imgrec_jax.core.task import Facts, PyTree, Task
from imgrec_jax.data.sources.relabel import relabel
from imgrec_jax.data.sources.source import Splits
from imgrec_jax.runs.inputs import Fields, Images, input_batches
from imgrec_jax.runs.splits import open_splits
from imgrec_jax.runs.whole_image import LOOKS
from imgrec_jax.training.evaluate import Evaluation, evaluate
from imgrec_jax.training.step import compiled_steps, parallel


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network. It does not need its training data or devices.

    Attributes:
        params, model_state: numpy arrays.
        module: the Linen module, applied to the result of `inputs`; some tasks have several, by
            name.
        task: for uint8 images, with the run's scaling and normalisation.
        config: the resolved config.
        facts: metadata of inputs and outputs, as JSON: see `core.task.Facts`.
        step: optimizer steps of the weights.
        metrics: the scores at that step.
        result: the content of result.json; empty if the run is not finished.
        trained: whether the call of `train` that returned this run has trained.
    """

    params: PyTree = field(repr=False)
    model_state: PyTree = field(repr=False)
    module: Any = field(repr=False)
    task: Task = field(repr=False)
    config: Any = field(repr=False)
    facts: Facts = field(repr=False)
    step: int
    metrics: dict[str, float]
    result: dict[str, Any] = field(repr=False)
    trained: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the outputs."""
        return tuple(self.facts["label_names"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the input images."""
        height, width, channels = self.facts["image_shape"]
        return height, width, channels

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the normalisation, per channel, with pixels in 0 .. 1."""
        return tuple(self.facts["mean"])

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the normalisation, per channel, with pixels in 0 .. 1."""
        return tuple(self.facts["std"])

    @property
    def task_name(self) -> str:
        """The name of its task, for messages."""
        return task_name(self.config)

    @property
    def presentation(self) -> Presentation:
        """How the predictions of its task are shown."""
        return task_spec(self.config).presentation

    def predict(self, images: Images | Fields, seed: int = 0) -> Any:
        """Return predictions for images; for classification, class probabilities.

        Probabilities are float32[n, classes], and float32[n, h, w, classes] for pixels. Images of
        another size are cropped and resized as in the folder source; see `look` for whole images.

        Args:
            images: images, or for tasks with other fields (tokens, episodes), arrays by field.
            seed: of the random keys, for tasks that need them; row k always has the same key.

        Raises:
            UserError: a file is not an intact image.
            UsageError: an array is not uint8[n, h, w, c] with the run's channels, or a field does
                not match the inputs of the network.
        """
        return self._apply(functools.partial(self._answer, seed=np.uint32(seed)), images)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Return n generated images, uint8[n, h, w, c]; image k of a seed is always the same.

        Raises:
            UsageError: the task does not generate.
        """
        if self.presentation.sample is None:
            raise UsageError(
                f"expected a run that generates, got one of task '{self.task_name}'; "
                "try run.predict"
            )
        examples = {"index": np.arange(n, dtype=np.int32)}
        images = self._apply(functools.partial(self._sampled, seed=np.uint32(seed)), examples)
        return np.rint(255 * images).astype(np.uint8)

    def look(self, image: np.ndarray) -> Any:
        """Return the prediction for one image [h, w, c] of any size, in its own pixels.

        Only for tasks that predict pixels or boxes (see `presentation.unit`).

        Raises:
            UsageError: the task is of another kind.
        """
        unit = self.presentation.unit
        if unit not in LOOKS:
            raise UsageError(
                f"expected a task that answers in places, got '{self.task_name}'; try run.predict"
            )
        return LOOKS[unit](self.predict, image, self.image_shape, self.config)

    def logits(self, inputs: Float[Array, "n h w c"] | np.ndarray) -> Any:
        """Return the raw outputs of the network for images that are already normalised.

        They are float32[n, ...]; for detectors, several such arrays by name.

        Args:
            inputs: float32, as `inputs` returns them; of any size that the module accepts.
        """
        with self._precision():
            outputs = self._forward(self.params, self.model_state, jnp.asarray(inputs))
        return jax.tree.map(lambda output: np.asarray(output, np.float32), outputs)

    def features(self, images: Images, layer: str = "features") -> np.ndarray:
        """Return the output of a layer, [n, ...]; "features" is the input of the last layer.

        Layers are named by their path in the module, such as `conv1` or `stage1/block2`.

        Raises:
            UsageError: no such layer; the message lists all.
            UserError: a file is no intact image.
        """
        blank = np.zeros((1, *self.image_shape), np.uint8)
        known = jax.eval_shape(self._layers, self.params, self.model_state, blank)
        if layer not in known:
            raise unknown("layer", layer, known)
        return self._apply(functools.partial(self._layer, layer=layer), images)

    def inputs(self, images: UInt[Array, "n h w c"] | np.ndarray) -> Float[Array, "n h w c"]:
        """Return images of the run's size and type, scaled and normalised for `module`."""
        return normalise(unit(images), self.mean, self.std)

    def evaluate(self, source: str = "") -> dict[str, Evaluation]:
        """Evaluate all splits except train of a source, by default the run's own.

        The only split of a source (plain class folders) is evaluated whole. Classes are matched by
        name, in any order; some may be missing.

        Raises:
            UsageError: the source has other classes.
        """
        return self.score(self.open(source))

    def score(self, splits: Splits) -> dict[str, Evaluation]:
        """Evaluate all splits except train, or the only split."""
        devices = _devices()
        program = compiled_steps.EvalProgram(self.task, devices, self.config.seed)
        params, model_state = devices.replicate((self.params, self.model_state))
        with self._precision():
            return {
                name: evaluate(
                    program,
                    self.task.compute_metrics,
                    params,
                    model_state,
                    one_pass(
                        split,
                        self.config.eval_batch_size,
                        devices,
                        sampling=self.config.data.eval_sampling,
                        seed=self.config.seed,
                    ),
                )
                for name, split in splits.items()
                if name != "train" or len(splits) == 1
            }

    def open(self, source: str = "") -> Splits:
        """Return the splits of a source as `evaluate` uses them, by default the run's own.

        Raises:
            UsageError: the source has other classes, or images of another size.
        """
        where = source or self.config.data.source
        splits = self.splits(source).items()
        relabelled = {name: relabel(split, self.labels, where) for name, split in splits}
        return for_reading(self.config.data, relabelled)

    def splits(self, source: str = "") -> Splits:
        """Return the splits of a source in the run's image form, with the source's own classes.

        Raises:
            UsageError: the source has images of another size.
        """
        return open_splits(self.config, self.facts, source)

    def _apply(self, program: Callable[..., PyTree], given: Images | Fields) -> Any:
        """Return the outputs of a compiled program for all rows, batch by batch, as numpy."""
        weights = jax.device_put((self.params, self.model_state))
        parts: list[PyTree] = []
        first = 0
        with self._precision():
            for batch in input_batches(given, self.config, self.facts):
                count = len(next(iter(batch.values())))
                # Padded to a power of two: few sizes, and so few compilations.
                size = min(self.config.eval_batch_size, 1 << (count - 1).bit_length())
                padded = {
                    name: np.pad(array, [(0, size - count), *[(0, 0)] * (array.ndim - 1)])
                    for name, array in batch.items()
                }
                index = np.arange(first, first + size, dtype=np.int32)
                outputs = parallel.fetch(program(*weights, {**padded, "index": index}))
                parts.append(jax.tree.map(operator.itemgetter(slice(count)), outputs))
                first += count
        return jax.tree.map(lambda *x: np.concatenate(x), *parts)

    def _precision(self) -> Any:
        return jax.default_matmul_precision(MATMUL_PRECISIONS[self.config.precision])

    @functools.cached_property
    def _network(self) -> Any:
        """The only module of the run.

        Raises:
            UsageError: it has several.
        """
        if isinstance(self.module, Mapping | tuple | list):
            raise UsageError(
                f"expected a run of one network, got several for task '{self.task_name}'; "
                "try run.module and run.params"
            )
        return self.module

    @functools.cached_property
    def _forward(self) -> Callable[..., Array]:
        def program(params: PyTree, model_state: PyTree, inputs: Array) -> Any:
            return self._network.apply({"params": params, **model_state}, inputs, train=False)

        return jax.jit(program)

    @functools.cached_property
    def _answer(self) -> Callable[..., PyTree]:
        return self._predicted(self.presentation.answer)

    @functools.cached_property
    def _sampled(self) -> Callable[..., PyTree]:
        assert self.presentation.sample is not None  # checked in `sample`
        return self._predicted(self.presentation.sample)

    def _predicted(self, show: Callable[[PyTree], PyTree]) -> Callable[..., PyTree]:
        """Return the compiled `(params, model_state, batch, seed) -> predictions to show`."""

        def program(params: PyTree, model_state: PyTree, batch: Any, seed: Array) -> PyTree:
            keys = evaluation_keys(jax.random.key(seed), batch["index"])
            return show(self.task.predict(params, model_state, {**batch, "keys": keys}))

        return jax.jit(program)

    @functools.cached_property
    def _layer(self) -> Callable[..., Array]:
        def program(params: PyTree, model_state: PyTree, batch: Fields, layer: str) -> Array:
            return self._layers(params, model_state, batch["image"])[layer]

        return jax.jit(program, static_argnames="layer")

    def _layers(self, params: PyTree, model_state: PyTree, images: Any) -> dict[str, Array]:
        """Return the outputs of all layers by name, and the values that the module sows."""
        _, variables = self._network.apply(
            {"params": params, **model_state},
            self.inputs(images),
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        found = jax.tree_util.tree_leaves_with_path(variables["intermediates"])
        return {_layer_name(path): leaf for path, leaf in found}


def _layer_name(path: tuple[Any, ...]) -> str:
    """Return `conv1` for conv1/__call__/0; later calls of a layer get their number as suffix."""
    parts = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    return "/".join(part for part in parts if part not in {"__call__", "0"}) or "output"


def _devices() -> parallel.Parallel:
    """Return the layout for evaluation of runs: all devices of this process, no sharding."""
    return parallel.choose("auto", jax.local_devices())
