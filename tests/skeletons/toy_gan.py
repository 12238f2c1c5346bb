"""A toy GAN: two players in one tree, images as the answer, a distance from additive sums."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import Score, Task
from imgrec_jax.tasks import per_example

WHO = ("fake", "real")  # whose sums they are


class Player(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.leaky_relu(nn.Dense(32)(x.reshape(len(x), -1))))


def gan(players, facts, *, noise=8):
    """The non-saturating GAN of Goodfellow et al. 2014; images are in the range of the network."""
    shape, mean, std = facts["image_shape"], facts["mean"][0], facts["std"][0]

    def init(key, batch):
        blank = {"generator": jnp.zeros((1, noise)), "discriminator": batch["image"]}
        return {name: p.init(key, blank[name])["params"] for name, p in players.items()}, {}

    def generate(params, keys):
        z = jax.vmap(lambda key: jax.random.normal(key, (noise,)))(keys)
        flat = players["generator"].apply({"params": params["generator"]}, z)
        return jnp.tanh(flat).reshape(-1, *shape)

    def judge(params, images):
        return players["discriminator"].apply({"params": params["discriminator"]}, images)[:, 0]

    def loss(params, model_state, batch, context):
        fake, still = generate(params, batch["keys"]), jax.lax.stop_gradient
        each = nn.softplus(-judge(params, batch["image"])) + nn.softplus(judge(params, still(fake)))
        each += nn.softplus(-judge(still(params), fake))
        return per_example.output(each, model_state, batch, context)

    def predict(params, model_state, batch):
        return jnp.clip(generate(params, batch["keys"]) * std + mean, 0.0, 1.0)

    def metric_sums(images, batch):
        sums = {"examples": batch["mask"].sum(dtype=jnp.int32)}
        for who, pixels in zip(WHO, (images, batch["image"] / 255.0), strict=True):
            f = nn.avg_pool(pixels, (4, 4), (4, 4)).reshape(len(pixels), -1)
            f = jnp.where(batch["mask"][:, None], f, 0.0)
            sums |= {f"{who}_1": f.sum(0), f"{who}_2": f.T @ f}
        return sums

    score = Score("distance", higher_is_better=False)
    return Task(init, per_example.count, loss, predict, metric_sums, compute_metrics, score)


def compute_metrics(sums, rows):
    if "loss" in sums:
        return per_example.means(sums, rows)
    means, products = ([sums[f"{who}_{k}"] / sums["examples"] for who in WHO] for k in (1, 2))
    spreads = [p - np.outer(m, m) for p, m in zip(products, means, strict=True)]
    return {"distance": float(sum(np.square(a - b).sum() for a, b in (means, spreads)))}


PLAYERS = {"generator": Player(64), "discriminator": Player(1)}
SHOWN = Presentation(sample=lambda images: images)
SPEC = TaskSpec(gan, network=lambda config, facts, devices: PLAYERS, presentation=SHOWN)


def get_config():
    config = start_from("base")
    config.task.name, config.data.source = "toy_gan", "digits"
    config.optim.by_path = "discriminator=adam(2e-3,b1=0.5); generator=adam(1e-3,b1=0.5)|every(2)"
    return config
