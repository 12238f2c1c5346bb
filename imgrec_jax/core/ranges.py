"""Ranges: the values that a config key, a flag or an argument of a pipeline accepts.

A range is declared beside the default that it belongs to: `COUNT(20)` in configs/base.py,
`Annotated[int, COUNT] = 20` in a signature. It is checked before anything starts.
"""

import dataclasses
import math
from typing import Any

MOST = 2**31 - 1
"""The greatest whole number of a setting: JAX counts in int32."""
_LARGE = 1e6  # far above every useful factor; its square is finite in float32
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that a setting accepts.

    Attributes:
        kind: bool, int, float or str; a float also accepts whole numbers.
        low, high: the least and the greatest number.
        above, below: whether `low` and `high` themselves are excluded.
        also: further values with a meaning of their own, such as -1.
        choices: the accepted texts; empty: any.
    """

    kind: type
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    also: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()

    def __call__(self, default: Any) -> "Setting":
        """Return a setting with this default, which lies in the range."""
        if not self.accepts(default):
            raise ValueError(f"the default {default!r} is outside of its range: {self}")
        return Setting(default, self)

    def accepts(self, value: Any) -> bool:
        """Return whether a value has the right type and lies in the range."""
        types = (int, float) if self.kind is float else self.kind
        if not isinstance(value, types) or isinstance(value, bool) != (self.kind is bool):
            return False
        if self.kind not in {int, float}:
            return not self.choices or value in self.choices
        if value in self.also:
            return True
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return over and under and abs(value) < math.inf

    def read(self, text: str) -> Any:
        """Return the value of a flag's text.

        Raises:
            ValueError: it has another type.
        """
        return self.kind(text)

    def __str__(self) -> str:
        """Return the range in words: "a whole number from 1 to 9", "auto or plain"."""
        if self.choices:
            *others, last = (choice or "''" for choice in self.choices)
            return f"{', '.join(others)} or {last}" if others else last
        if self.kind in {bool, str} or (self.low, self.high) == (-math.inf, math.inf):
            return "a finite number" if self.kind is float else _KINDS[self.kind]
        start = f"above {self.low:.10g}, up" if self.above else f"from {self.low:.10g}"
        end = f"to below {self.high:.10g}" if self.below else f"to {self.high:.10g}"
        also = "".join(f", or {value:g}" for value in self.also)
        return f"{_KINDS[self.kind]} {start} {end}{also}"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A config key as configs/base.py declares it: its default and its range."""

    default: Any
    range: Range


def whole(low: int, high: int = MOST) -> Range:
    """Return the range of the whole numbers low .. high."""
    return Range(int, low, high)


def one_of(*choices: str) -> Range:
    """Return the range of some words."""
    return Range(str, choices=choices)


SEED = whole(0, 2**32 - 1)
COUNT = whole(1)
COUNT_OR_ZERO = whole(0)
WIDTH = whole(1, 2**16)
"""Channels of a layer."""
SIDE = whole(0, 13_000)
"""Pixels of a side of an image; 0 mostly means: as it is."""
DEPTH = whole(1, 1000)
"""Layers, which are compiled one by one."""
POSITIVE = Range(float, 0, _LARGE, above=True)
NOT_NEGATIVE = Range(float, 0, _LARGE)
FRACTION = Range(float, 0, 1)
ABOVE_ZERO_TO_ONE = Range(float, 0, 1, above=True)
ASPECT = Range(float, 1, 100)
"""The greatest ratio of the sides of a window."""
BELOW_ONE = Range(float, 0, 1, below=True)
"""Decay rates, momenta and probabilities of dropping, where 1 would leave nothing."""


def setting(declared: Any) -> Setting:
    """Return what is declared; a plain value is a default whose whole type is accepted."""
    return declared if isinstance(declared, Setting) else Setting(declared, Range(type(declared)))


def error_line(what: str, range_: Range, value: Any) -> str:
    """Return `expected epochs to be a whole number from 1 to 9, got 0`."""
    enormous = isinstance(value, int) and abs(value) >= 10**30  # Python refuses to print some
    got = "a number of more than 30 digits" if enormous else repr(value)
    return f"expected {what} to be {range_}, got {got}"
