"""Statistics of sequences of tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.text_table import table
from imgrec_jax.data.inspect.spread import Spread, spread
from imgrec_jax.data.raw.items import Images

_SHOWN = 8  # the most frequent tokens


@dataclass(frozen=True)
class TokenReport:
    """The tokens of one split.

    Attributes:
        longest: the number of tokens for which examples have room.
        lengths: of the sequences, up to the last token that is not 0.
        vocabulary: the size of the vocabulary; 0 if it is not known.
        distinct: how many different tokens occur.
        frequent: the most frequent tokens other than 0, by name if there is a vocabulary.
    """

    longest: int
    lengths: Spread
    vocabulary: int
    distinct: int
    frequent: tuple[tuple[str, int], ...]


def report_tokens(images: Images, name: str) -> TokenReport:
    """Return the statistics of a field int[n, t]."""
    tokens = np.asarray(images.fields[name]).reshape(len(images), -1)
    words = images.facts.get("vocabulary", ())
    present = tokens != 0
    lengths = np.where(present.any(1), tokens.shape[1] - present[:, ::-1].argmax(1), 0)
    values, counts = np.unique(tokens, return_counts=True)
    order = [k for k in np.argsort(-counts, kind="stable").tolist() if values[k]][:_SHOWN]
    spelled = [words[values[k]] if 0 <= values[k] < len(words) else str(values[k]) for k in order]
    frequent = tuple(zip(spelled, counts[order].tolist(), strict=True))
    return TokenReport(tokens.shape[1], spread(lengths), len(words), len(values), frequent)


def token_lines(
    name: str, reports: Mapping[str, TokenReport], label_names: Sequence[str]
) -> list[str]:
    """Return lengths and frequent tokens as text."""
    del label_names
    rows = [[name, "room", "length", "different", "most frequent"]]
    rows += [
        [
            split,
            f"{r.longest:,}",
            str(r.lengths),
            f"{r.distinct:,}" + (f" of {r.vocabulary:,}" if r.vocabulary else ""),
            " ".join(f"{word!r}" for word, _ in r.frequent),
        ]
        for split, r in reports.items()
    ]
    return [*table(rows, "<>>><"), "(length: up to the last token that is not 0)"]


def tokens_json(report: TokenReport, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the statistics as JSON."""
    del label_names
    return {
        "room": report.longest,
        "length": report.lengths._asdict(),
        "vocabulary": report.vocabulary,
        "different": report.distinct,
        "most_frequent": dict(report.frequent),
    }
