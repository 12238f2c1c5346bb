"""Build an optimizer that treats groups of parameters differently."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.optim import param_patterns
from imgrec_jax.optim.optimizers import Mask


@dataclasses.dataclass(frozen=True)
class Groups:
    """How each parameter is trained, by its path.

    Attributes:
        frozen: parameters that are not updated, and have no state in the optimizer.
        decayed: parameters with weight decay.
        rates: factors on the updates of parameters, where not 1.
        optimizers: the index of the rule of `optim.by_path`, from 0; empty without rules.
    """

    frozen: frozenset[str]
    decayed: frozenset[str]
    rates: dict[str, float]
    optimizers: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Rules:
    """Settings of a config for parameters by path; see `optim` in configs/base.py.

    Attributes:
        freeze: patterns of frozen parameters.
        decay: patterns of decayed ones; "" means all but norms and biases.
        multipliers: learning rates by path, as multiples of the schedule's.
        layers: the layers from input to output, if `layer_decay` is not 1.
        layer_decay: factor on the rate from each layer to the one before it (Clark et al. 2020,
            "ELECTRA"; Bao et al. 2022, "BEiT").
        optimizers: patterns of the parameters of each optimizer; the first match counts;
            without patterns all parameters have the same optimizer.
    """

    freeze: str = ""
    decay: str = ""
    multipliers: str = ""
    layers: str = ""
    layer_decay: float = 1.0
    optimizers: tuple[str, ...] = ()

    def group(self, params: PyTree) -> Groups:
        """Apply the rules to parameters, of which only the shapes are used.

        Raises:
            UsageError: a pattern matches nothing, a parameter is in no layer or has no optimizer,
                or all are frozen.
        """
        shapes = param_patterns.shapes(params)
        frozen = (
            param_patterns.select("optim.freeze", self.freeze, shapes)
            if self.freeze
            else frozenset()
        )
        if frozen == shapes.keys():
            raise UsageError(
                f"expected optim.freeze to leave a parameter to train, got '{self.freeze}', which "
                "matches all; try the names of the first layers"
            )
        decayed = param_patterns.kernels(shapes)
        if self.decay:
            decayed = param_patterns.select("optim.decay", self.decay, shapes)
        rates = param_patterns.multipliers("optim.multipliers", self.multipliers, shapes)
        if self.layer_decay != 1:
            rates = self._with_layers(rates, shapes)
        optimizers = (
            param_patterns.every_match("optim.by_path", self.optimizers, shapes)
            if self.optimizers
            else {}
        )
        return Groups(frozen, decayed, rates, optimizers)

    def _with_layers(
        self, rates: dict[str, float], shapes: dict[str, tuple[int, ...]]
    ) -> dict[str, float]:
        depth = param_patterns.depths("optim.layers", self.layers, shapes)
        last = max(depth.values())
        factors = {name: self.layer_decay ** (last - depth[name]) for name in shapes}
        return {name: factor * rates.get(name, 1.0) for name, factor in factors.items()}


def grouped(
    make: Callable[[Mask], Sequence[optax.GradientTransformation]],
    rules: Rules,
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """Return the optimizer with clipping, freezing, and rates and optimizers by path.

    The rules are applied when the state is created and when a step is compiled. With one
    optimizer and no frozen parameters the state is that of the optimizer itself.

    Args:
        make: returns the optimizers given the mask of decayed parameters, one for each of
            `rules.optimizers`, or a single one without such patterns.
        rules: which parameters to treat differently.
        clip_norm: the largest norm of the gradient of all trained parameters together; 0 = any.
    """

    def bind(params: PyTree) -> tuple[Groups, optax.GradientTransformation]:
        groups = rules.group(params)
        optimizers = make(lambda tree: _by_name(lambda name: name in groups.decayed, tree))
        if not groups.frozen and not groups.optimizers:
            return groups, optimizers[0]
        # Checkpoints use these names.
        trained = [f"rule_{k}" for k in range(len(rules.optimizers))] or ["trained"]
        labels = _by_name(
            lambda name: (
                "frozen" if name in groups.frozen else trained[groups.optimizers.get(name, 0)]
            ),
            params,
        )
        parts = {**dict(zip(trained, optimizers, strict=True)), "frozen": optax.set_to_zero()}
        used = set(jax.tree.leaves(labels))
        in_use: dict[Hashable, optax.GradientTransformation] = {
            label: part for label, part in parts.items() if label in used
        }
        return groups, optax.partition(in_use, labels)

    def init(params: PyTree) -> PyTree:
        return bind(params)[1].init(params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        groups, optimizer = bind(params)
        if clip_norm:
            updates = clip(updates, clip_norm, groups.frozen)
        updates, state = optimizer.update(updates, state, params)
        if groups.rates:
            rates = _by_name(lambda name: groups.rates.get(name, 1.0), params)
            updates = jax.tree.map(lambda u, rate: u * rate, updates, rates)
        return updates, state

    return optax.GradientTransformation(init, update)


def clip(gradient: PyTree, norm: float, frozen: frozenset[str]) -> PyTree:
    """Scale the gradient down to `norm` if the norm over the trained parameters is larger."""
    scale = jnp.minimum(1.0, norm / jnp.maximum(length(gradient, frozen), 1e-12))
    return jax.tree.map(lambda g: (g * scale).astype(g.dtype), gradient)


def length(gradient: PyTree, frozen: frozenset[str]) -> Float[Array, ""]:
    """Return the Euclidean norm of the gradient of all trained parameters together."""
    named = jax.tree_util.tree_leaves_with_path(gradient)
    trained = [leaf for path, leaf in named if path_name(path) not in frozen]
    return jnp.sqrt(sum((jnp.square(g.astype(jnp.float32)).sum() for g in trained), jnp.zeros(())))


def _by_name(of: Callable[[str], Any], tree: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda path, _: of(path_name(path)), tree)
