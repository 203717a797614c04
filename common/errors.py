"""Errors that the user can cause and put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """One sentence: what happened, what was expected, how to put it right. The command line prints it and exits 2."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones, with the nearest right one."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return UserError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
