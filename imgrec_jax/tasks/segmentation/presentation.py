"""Presentation of segmentation: overlays, area per class and per-class scores."""

import jax
import jax.numpy as jnp

from imgrec_jax.core.presentation import Presentation
from imgrec_jax.tasks.segmentation import report

PRESENTATION = Presentation(
    answer=lambda logits: jax.nn.softmax(logits.astype(jnp.float32)),
    record=lambda answer, facts: report.record(answer, facts["label_names"]),
    phrase=report.phrase,
    report=lambda rows, facts: report.report(rows, facts["label_names"]),
    lines=report.lines,
    unit="pixels",
    draw=lambda answer, image, facts: report.draw(answer, image, facts["label_names"]),
    compare=lambda answer, example, image, facts: report.compare(
        answer, example, image, facts["label_names"]
    ),
    legend=lambda facts: report.legend(facts["label_names"]),
    quality=report.quality,
)
