"""Errors that the user can fix, shown as one line without a traceback."""

import difflib
from collections.abc import Iterable

from imgrec_jax.core.printable import printable

STOPPED = 75
"""Exit status of a stopped run that the same command resumes (EX_TEMPFAIL)."""


class UserError(Exception):
    """Something outside the code is wrong: a file, a disk, a download. Exit status 1.

    Each argument is one line; control characters in it, as names may hold, are escaped.
    """

    exit_status = 1

    def __str__(self) -> str:
        return "\n".join(printable(str(line)) for line in self.args)


class UsageError(UserError):
    """The request itself is wrong: a flag, a config value, a name. Exit status 2."""

    exit_status = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not in a lookup table."""
    known = sorted(known)
    hint = did_you_mean(name, known) or ";"
    return UsageError(f"unknown {what} '{name}'{hint} known: {', '.join(known)}")
