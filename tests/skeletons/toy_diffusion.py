"""A toy flow model: random times in the loss, random noise in evaluation, a sampling loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import Score, Task
from imgrec_jax.tasks import per_example

STEPS = 8


class Velocity(nn.Module):
    """Where pixels are heading at a time between noise (0) and image (1)."""

    @nn.compact
    def __call__(self, x, time):
        flat = x.reshape(len(x), -1)
        hidden = nn.gelu(nn.Dense(64)(jnp.concatenate([flat, time[:, None]], axis=-1)))
        return nn.Dense(flat.shape[-1])(hidden).reshape(x.shape)


def flow(network, facts):
    """Rectified flow (Liu et al. 2023): the loss at a random time of each image and key."""
    shape, mean, std = tuple(facts["image_shape"]), facts["mean"][0], facts["std"][0]

    def init(key, batch):
        return network.init(key, batch["image"], jnp.zeros(len(batch["image"])))["params"], {}

    def draw(keys):
        time = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 0)))(keys)
        noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 1), shape))(keys)
        return time, noise

    def errors(params, batch):
        time, noise = draw(batch["keys"])
        part = time.reshape(-1, 1, 1, 1)
        at = (1.0 - part) * noise + part * batch["image"]
        heading = network.apply({"params": params}, at, time)
        return jnp.square(heading - (batch["image"] - noise)).mean((1, 2, 3))

    def loss(params, model_state, batch, context):
        return per_example.output(errors(params, batch), model_state, batch, context)

    def predict(params, model_state, batch):
        """Return images made from keys alone and, of a batch with images, their errors."""

        def move(x, step):
            time = jnp.full(len(x), step / STEPS)
            return x + network.apply({"params": params}, x, time) / STEPS, None

        _, noise = draw(batch["keys"])
        x, _ = jax.lax.scan(move, noise, jnp.arange(STEPS, dtype=jnp.float32))
        found = {"errors": errors(params, batch)} if "image" in batch else {}
        return {"images": jnp.clip(x * std + mean, 0.0, 1.0), **found}

    def metric_sums(outputs, batch):
        return per_example.sums({"loss": outputs["errors"]}, batch)

    score = Score("loss", higher_is_better=False)
    return Task(init, per_example.count, loss, predict, metric_sums, per_example.means, score)


SPEC = TaskSpec(
    flow,
    network=lambda config, facts, devices: Velocity(),
    presentation=Presentation(sample=lambda outputs: outputs["images"]),
)


def get_config():
    config = start_from("base")
    config.task.name = "toy_diffusion"
    config.data.source = "digits"
    config.optim.ema_decay = 0.9
    return config
