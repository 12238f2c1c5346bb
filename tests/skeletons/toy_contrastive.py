"""A toy contrastive learner: two views, negatives of all shards, an EMA teacher, no labels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.task import Score, Task
from imgrec_jax.tasks import forward, per_example


class Encoder(nn.Module):
    """An image as a vector."""

    @nn.compact
    def __call__(self, image, *, train=False, mask=None):
        x = nn.relu(nn.Conv(8, (3, 3), strides=2, use_bias=False)(image))
        return nn.Dense(16, use_bias=False)(x.reshape(len(x), -1))


def unit(vectors):
    return vectors / jnp.sqrt(jnp.square(vectors).sum(-1, keepdims=True) + 1e-6)


def contrastive(encoder, facts, *, temperature=0.2):
    """InfoNCE between an image and its second view as the teacher sees it (He et al. 2020)."""

    def init(key, batch):
        return forward.initialise(encoder, key, batch)

    def loss(params, model_state, batch, context):
        student = unit(forward.apply(encoder, params, model_state, batch))
        teacher, state = context.ema
        second = {**batch, "image": batch["view2_image"]}
        seen = jax.lax.stop_gradient(unit(forward.apply(encoder, teacher, state, second)))
        others, valid, index = context.gather((seen, batch["mask"], batch["index"]))
        logits = jnp.where(valid[None], student @ others.T / temperature, -1e9)
        own = valid[None] & (index[None] == batch["index"][:, None])
        each = nn.logsumexp(logits, axis=-1) - jnp.where(own, logits, 0.0).sum(-1)
        alignment = (student * seen).sum(-1)
        return per_example.output(each, model_state, batch, context, alignment=alignment)

    def predict(params, model_state, batch):
        return {"features": unit(forward.apply(encoder, params, model_state, batch))}

    def metric_sums(outputs, batch):
        features = jnp.where(batch["mask"][:, None], outputs["features"], 0.0)
        return {"examples": batch["mask"].sum(dtype=jnp.int32), "feature": features.sum(0)}

    def compute_metrics(sums, rows):
        if "loss" in sums:
            return per_example.means(sums, rows)
        mean = sums["feature"] / max(int(sums["examples"]), 1)
        return {"spread": float(1.0 - mean @ mean)}  # 0 where all images look alike, up to 1

    return Task(
        init, per_example.count, loss, predict, metric_sums, compute_metrics, Score("spread"),
        needs_whole_batch=True,
    )  # fmt: skip


SPEC = TaskSpec(contrastive, network=lambda config, facts, devices: Encoder())


def get_config():
    config = start_from("base")
    config.task.name = "toy_contrastive"
    config.data.source = "digits"
    config.augment = "pad_crop(pad=1)|noise(0.1) ; pad_crop(pad=1)|noise(0.1)"
    config.optim.ema_decay = 0.9
    config.evaluators = "neighbours(k=5)"
    return config
