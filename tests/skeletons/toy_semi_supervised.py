"""A toy semi-supervised learner: few labels, unlabelled images beside them, two views of each."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.task import LossOutput, Score, Task
from imgrec_jax.ops.losses import softmax_cross_entropy
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.loss_terms import Term, add_terms

TERMS = (Term("labelled", "examples"), Term("unlabelled", "unlabelled", weight=0.5))


class Classifier(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, image, *, train=False, mask=None):
        return nn.Dense(self.classes)(nn.tanh(nn.Dense(24)(image.reshape(len(image), -1))))


def fixmatch(network, facts, *, threshold=0.6):
    """FixMatch (Sohn et al. 2020): sure predictions on weak views are the labels of strong ones."""

    def init(key, batch):
        return forward.initialise(network, key, batch)

    def count(batch):
        sources = {"examples": batch["mask"], "unlabelled": batch["unlabelled_mask"]}
        return {name: mask.sum(dtype=jnp.float32) for name, mask in sources.items()}

    def consistency(params, batch):
        def logits(name):
            images = batch[f"unlabelled_{name}"]
            flat = images.reshape(-1, *images.shape[2:])
            return forward.apply(network, params, {}, {"image": flat})

        weak = jax.lax.stop_gradient(jax.nn.softmax(logits("image")))
        each = softmax_cross_entropy(logits("view2_image"), weak.argmax(-1))
        sure = (weak.max(-1) >= threshold) & batch["unlabelled_mask"].reshape(-1)
        return jnp.where(sure, each, 0.0).sum(), sure.sum(dtype=jnp.int32)

    def loss(params, model_state, batch, context):
        sums = metric_sums(predict(params, model_state, batch), batch)
        sums["labelled"] = sums["loss"]
        sums["unlabelled"], sums["sure"] = consistency(params, batch)
        return LossOutput(add_terms(TERMS, sums, context.counts), model_state, sums)

    def predict(params, model_state, batch):
        return forward.apply(network, params, model_state, batch)

    def metric_sums(logits, batch):
        each = softmax_cross_entropy(logits, batch["label"])
        right = logits.argmax(-1) == batch["label"]
        return {
            "examples": batch["mask"].sum(dtype=jnp.int32),
            "correct": (batch["mask"] & right).sum(dtype=jnp.int32),
            "loss": jnp.where(batch["mask"], each, 0.0).sum(),
        }

    def compute_metrics(sums, rows):
        n = max(int(sums["examples"]), 1)
        return {"loss": float(sums["loss"] / n), "accuracy": float(sums["correct"] / n)}

    return Task(init, count, loss, predict, metric_sums, compute_metrics, Score("accuracy"))


SPEC = TaskSpec(fixmatch, network=lambda c, facts, d: Classifier(len(facts["label_names"])))


def get_config():
    config = start_from("base")
    config.task.name, config.batch_size = "toy_semi_supervised", 32
    config.data.source = config.data.unlabelled = "digits"
    config.data.sampling = "two_sources(ratio=3)"
    config.augment = "pad_crop(pad=1) ; pad_crop(pad=2)|noise(0.1)"
    return config
