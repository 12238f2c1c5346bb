"""A toy sequence task: tokens in, tokens out by a scan, a text score from rows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax import start_from
from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import LossOutput, Score, Task, no_rows
from imgrec_jax.ops.losses import softmax_cross_entropy


class Translator(nn.Module):
    """A recurrent network, scanned over the tokens, says one token for each that it reads."""

    words: int

    @nn.compact
    def __call__(self, tokens):
        states = nn.RNN(nn.GRUCell(32))(nn.Embed(self.words, 16)(tokens))
        return nn.Dense(self.words)(states)


def text(tokens, facts):
    return "".join(facts["vocabulary"][token] for token in tokens if token > 0)


def valid(batch):
    return batch["mask"][:, None] & (batch["target_tokens"] > 0)


def translate(network, facts):
    """Cross-entropy per token that is no padding (0); the score is the share of whole answers."""

    def init(key, batch):
        return network.init(key, batch["tokens"])["params"], {}

    def count(batch):
        return {"tokens": valid(batch).sum(dtype=jnp.float32)}

    def loss(params, model_state, batch, context):
        logits = network.apply({"params": params}, batch["tokens"])
        each = jax.vmap(softmax_cross_entropy)(logits, batch["target_tokens"])
        sums = {**count(batch), "loss": jnp.where(valid(batch), each, 0.0).sum()}
        share = sums["loss"] / jnp.maximum(context.counts["tokens"], 1.0)
        return LossOutput(share, model_state, sums)

    def predict(params, model_state, batch):
        return network.apply({"params": params}, batch["tokens"]).argmax(-1)

    def metrics(sums, rows):
        if "loss" in sums:
            return {"loss": float(sums["loss"] / sums["tokens"])}
        pairs = zip(*rows.values(), strict=True)
        return {"exact": float(np.mean([text(a, facts) == text(b, facts) for a, b in pairs]))}

    return Task(
        init, count, loss, predict, no_rows, metrics, Score("exact"),
        rows=lambda tokens, batch: {"predicted": tokens, "target": batch["target_tokens"]},
    )  # fmt: skip


SPEC = TaskSpec(
    translate,
    ("tokens", "target_tokens"),
    presentation=Presentation(record=lambda tokens, facts: {"answer": text(tokens, facts)}),
    network=lambda config, facts, devices: Translator(len(facts["vocabulary"])),
)


def get_config():
    config = start_from("base")
    config.task.name, config.data.source = "toy_sequence", "npz:PATH"
    config.optim.learning_rate = 1e-2
    return config
