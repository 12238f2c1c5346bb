"""Presentation of detection: drawings, JSON records and COCO results."""

from imgrec_jax.core.presentation import Presentation
from imgrec_jax.tasks.detection import drawing, metrics

PRESENTATION = Presentation(
    record=lambda answer, facts: drawing.record(answer, facts["label_names"]),
    phrase=drawing.phrase,
    document=lambda records, facts: drawing.document(records, facts["label_names"]),
    report=lambda rows, facts: metrics.report(rows, facts["label_names"]),
    lines=metrics.lines,
    unit="boxes",
    draw=lambda answer, image, facts: drawing.draw(answer, image, facts["label_names"]),
    compare=lambda answer, example, image, facts: drawing.compare(
        answer, example, image, facts["label_names"]
    ),
    legend=lambda facts: drawing.legend(facts["label_names"]),
    quality=drawing.quality,
)
