"""Toy meta-learning: labels that change with each episode, and a gradient inside the loss."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.task import LossOutput, Score, Task
from imgrec_jax.ops.losses import softmax_cross_entropy


class Classifier(nn.Module):
    ways: int

    @nn.compact
    def __call__(self, image):
        return nn.Dense(self.ways)(nn.tanh(nn.Dense(24)(image.reshape(len(image), -1))))


def maml(network, facts, *, rate=0.5):
    """MAML (Finn et al. 2017) with one inner step; an example is an episode, [n, rows, ...]."""

    def init(key, batch):
        return network.init(key, batch["image"][0])["params"], {}

    def count(batch):
        return {"queries": (batch["mask"][:, None] & ~batch["support"]).sum(dtype=jnp.float32)}

    def losses(params, images, labels):
        return softmax_cross_entropy(network.apply({"params": params}, images), labels)

    def adapted(params, images, labels, support):
        def mean_over_support(params):
            each = jnp.where(support, losses(params, images, labels), 0.0)
            return each.sum() / support.sum(dtype=jnp.float32)

        gradient = jax.grad(mean_over_support)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient)

    def predict(params, model_state, batch):
        def one(images, labels, support):
            return network.apply({"params": adapted(params, images, labels, support)}, images)

        return jax.vmap(one)(batch["image"], batch["episode_label"], batch["support"])

    def loss(params, model_state, batch, context):
        sums = metric_sums(predict(params, model_state, batch), batch)
        share = sums["loss"] / jnp.maximum(context.counts["queries"], 1.0)
        return LossOutput(share, model_state, sums)

    def metric_sums(logits, batch):
        query = batch["mask"][:, None] & ~batch["support"]
        each = jax.vmap(softmax_cross_entropy)(logits, batch["episode_label"])
        right = logits.argmax(-1) == batch["episode_label"]
        return {
            "queries": query.sum(dtype=jnp.int32),
            "correct": (query & right).sum(dtype=jnp.int32),
            "loss": jnp.where(query, each, 0.0).sum(),
        }

    def compute_metrics(sums, rows):
        n = max(int(sums["queries"]), 1)
        return {"loss": float(sums["loss"] / n), "accuracy": float(sums["correct"] / n)}

    return Task(init, count, loss, predict, metric_sums, compute_metrics, Score("accuracy"))


SPEC = TaskSpec(maml, network=lambda config, facts, devices: Classifier(facts["ways"]))


def get_config():
    config = start_from("base")
    config.task.name, config.data.source = "toy_episodes", "digits"
    config.augment = "noise(0.05)"
    config.data.sampling = "episodes(ways=3, shots=2, queries=3, episodes=48)"
    config.data.eval_sampling = "episodes(ways=3, shots=2, queries=3, episodes=40)"
    config.optim.learning_rate = 1e-2
    return config
