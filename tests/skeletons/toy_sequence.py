"""A toy sequence task: tokens in, tokens out by a scan, a text score from rows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.build.tasks import TaskSpec
from imgrec_jax.config import get_config as get_base
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import LossOutput, Score, Task, nothing
from imgrec_jax.ops.losses import softmax_cross_entropy


class Translator(nn.Module):
    vocabulary: int

    @nn.compact
    def __call__(self, tokens, targets=None):  # without targets, from what it has written itself
        embed, head = nn.Embed(self.vocabulary, 16), nn.Dense(self.vocabulary)
        state, _ = nn.RNN(nn.GRUCell(32), return_carry=True)(embed(tokens))

        def write(cell, carry, target):
            state, out = cell(carry[0], embed(carry[1]))
            logits = head(out)
            return (state, logits.argmax(-1) if targets is None else target), logits

        start = (state, jnp.zeros(len(tokens), jnp.int32))
        scan = nn.scan(write, {"params": False}, {"params": False}, in_axes=1, out_axes=1)
        return scan(nn.GRUCell(32), start, tokens if targets is None else targets)[1]


def text(tokens, facts):
    return "".join(facts["vocabulary"][token] for token in tokens if token > 0)


def valid(batch):
    return batch["mask"][:, None] & (batch["target_tokens"] > 0)


def rows(tokens, batch):
    return {"predicted": tokens, "target": batch["target_tokens"]}


def translate(network, facts):
    """Cross-entropy per token that is no padding (0); the score is the share of whole answers."""

    def init(key, batch):
        return network.init(key, batch["tokens"], batch["target_tokens"])["params"], {}

    def count(batch):
        return {"tokens": valid(batch).sum(dtype=jnp.float32)}

    def loss(params, model_state, batch, context):
        targets = batch["target_tokens"]
        logits = network.apply({"params": params}, batch["tokens"], targets)
        each = jax.vmap(softmax_cross_entropy)(logits, targets)
        sums = {**count(batch), "loss": jnp.where(valid(batch), each, 0.0).sum()}
        share = sums["loss"] / jnp.maximum(context.counts["tokens"], 1.0)
        return LossOutput(share, model_state, sums)

    def predict(params, model_state, batch):
        return network.apply({"params": params}, batch["tokens"]).argmax(-1)

    def metrics(sums, rows):
        if not rows:  # in training
            return {"loss": float(sums["loss"] / sums["tokens"])}
        same = [text(a, facts) == text(b, facts) for a, b in zip(*rows.values(), strict=True)]
        return {"exact": float(np.mean(same))}

    return Task(init, count, loss, predict, nothing, metrics, Score("exact"), rows)


SPEC = TaskSpec(
    translate,
    needs=("tokens", "target_tokens"),
    network=lambda config, facts, devices: Translator(len(facts["vocabulary"])),
    presentation=Presentation(record=lambda tokens, facts: {"answer": text(tokens, facts)}),
)


def get_config():
    settings = {"data__source": "npz:PATH", "optim__learning_rate": 1e-2}
    return get_base("base", task__name="toy_sequence", **settings).unlock()
