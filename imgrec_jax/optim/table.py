"""Table of the optimizers that a config can name, and of optax's that it cannot."""

from collections.abc import Callable, Mapping

import optax
from optax import contrib

from imgrec_jax.core.ranges import BELOW_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, Range, one_of
from imgrec_jax.optim import optimizers

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "acprop": contrib.acprop,
    "adabelief": optax.adabelief,
    "adadelta": optax.adadelta,
    "adafactor": optimizers.adafactor,
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamax": optax.adamax,
    "adamaxw": optax.adamaxw,
    "adamw": optax.adamw,
    "adan": optax.adan,
    "ademamix": contrib.ademamix,
    "adopt": contrib.adopt,
    "amsgrad": optax.amsgrad,
    "cocob": contrib.cocob,
    "dadapt_adamw": contrib.dadapt_adamw,
    "dog": contrib.dog,
    "dowg": contrib.dowg,
    "fromage": optax.fromage,
    "lamb": optax.lamb,
    "lars": optimizers.lars,
    "lion": optax.lion,
    "madgrad": contrib.madgrad,
    "muon": optimizers.muon,
    "nadam": optax.nadam,
    "nadamw": optax.nadamw,
    "novograd": optax.novograd,
    "optimistic_adam_v2": optax.optimistic_adam_v2,
    "optimistic_gradient_descent": optax.optimistic_gradient_descent,
    "prodigy": contrib.prodigy,
    "radam": optax.radam,
    "rmsprop": optimizers.rmsprop,
    "sgd": optimizers.sgd,
    "sign_sgd": optax.sign_sgd,
    "signum": optax.signum,
    "simplified_ademamix": contrib.simplified_ademamix,
    "sm3": optimizers.sm3,
    "yogi": optax.yogi,
}
SETTINGS: Mapping[str, Range] = {
    "accumulator_dtype": one_of("float32", "bfloat16"),
    "alpha": NOT_NEGATIVE,
    "beta3": BELOW_ONE,
    "betas": BELOW_ONE,
    "bias_correction_mu": Range(bool),
    "bias_correction_nu": Range(bool),
    "eps_root": FRACTION,
    "estim_lr0": POSITIVE,
    "estim_lr_coef": POSITIVE,
    "init_estim_sq_dist": POSITIVE,
    "min_norm": NOT_NEGATIVE,
    "mu_dtype": one_of("float32", "bfloat16"),
    "rho": BELOW_ONE,
    "safeguard_warmup": Range(bool),
    "threshold": NOT_NEGATIVE,
    "use_clipping": Range(bool),
}
"""Ranges of the settings that no block of `config.optim` declares."""
LEFT_OUT: Mapping[str, str] = {
    "dpsgd": "it needs the gradient of each example",
    "galore": "its state holds empty arrays, which cannot be saved",
    "lbfgs": "it needs the loss itself, to search along a line",
    "momo": "it needs the loss itself",
    "momo_adam": "it needs the loss itself",
    "noisy_sgd": "it keeps a random key in its state",
    "optimistic_adam": "optax has put optimistic_adam_v2 in its place",
    "polyak_sgd": "it needs the loss itself",
    "rprop": "it is for whole data sets, and its step sizes follow no schedule",
    "schedule_free": "it scores other weights than it trains",
    "schedule_free_adamw": "it scores other weights than it trains",
    "schedule_free_sgd": "it scores other weights than it trains",
    "sophia": "it needs the diagonal of the Hessian",
}
"""The other optimizers of optax, each with the reason why a training step cannot use it."""
