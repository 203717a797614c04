"""Errors that the user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """An error that the user can correct.

    Its message is one sentence: what happened, what was expected, how to correct it. The command line prints it and
    exits with code 2.
    """


class TooLargeError(UserError):
    """A document has more pixels, pages or lines than are read."""


class NoWritingError(UserError):
    """A page is blank or shows no writing."""

    signs: object = None
    """What was measured of the picture, for the monitor; None if nothing was."""


class NotInstalled(UserError):
    """The framework is registered but not installed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name. Its message suggests the most similar known name and lists all of them."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return UserError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
