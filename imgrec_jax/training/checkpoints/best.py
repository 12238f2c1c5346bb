"""Selection of the best step: by which score of the val split, and in which direction."""

from collections.abc import Mapping
from typing import NamedTuple

from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.task import Score


class Selection(NamedTuple):
    """The score that selects the best step.

    Attributes:
        name: such as val_accuracy; always on the val split, never on test.
        sign: 1 where higher is better, -1 where lower is.
    """

    name: str
    sign: int

    def value(self, metrics: Mapping[str, float]) -> float:
        """Return the score, signed so that higher is better.

        Raises:
            UsageError: the metrics do not contain it.
        """
        if self.name not in metrics:
            known = [name.removeprefix("val_") for name in metrics if name.startswith("val_")]
            score = self.name.removeprefix("val_")
            raise UsageError(
                f"expected checkpoint.best to name a score, got '{score}'"
                f"{did_you_mean(score, known)}; try one of {', '.join(known)}, with - before it "
                "where lower is better"
            )
        return self.sign * metrics[self.name]


def read_selection(text: str, headline: Score) -> Selection:
    """Return the selection of `checkpoint.best`; "" means the task's headline.

    Args:
        text: a score of the task, such as "balanced_accuracy"; "-loss" selects the lowest.
        headline: of the task.
    """
    if not text:
        return Selection(f"val_{headline.name}", 1 if headline.higher_is_better else -1)
    return Selection(f"val_{text.removeprefix('-')}", -1 if text.startswith("-") else 1)
