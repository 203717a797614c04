"""Which checks an implementation must pass: implementation × rung × check × dtype → required, or an exception.

Every check is required of every implementation, except for the rows below. A package that registers an implementation
may bring rows for it: an entry point in the group `fourhands.manifest`, under the implementation's name, whose value is
a sequence of `Row`. "Not applicable" never counts as passed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import entry_points
from typing import Literal

GROUP = "fourhands.manifest"

Status = Literal["required", "optional", "not applicable", "known failure"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An exception from "required". Names may have wildcards (`*`)."""

    implementation: str
    rung: str = "*"
    check: str = "*"
    dtype: str = "*"
    status: Status
    reason: str


KERAS_ON_TORCH = Row(
    implementation="keras",
    dtype="float64",
    status="not applicable",
    reason="Keras 3.15 multiplies matrices in float32 on its PyTorch backend (keras-team/keras issue 23704)",
)
WITHOUT_DROPOUT = tuple(
    Row(implementation="*", rung="unet", check=check, status="not applicable", reason="unet has no dropout")
    for check in ("dropout_is_off_when_reading", "dropout_matches_its_definition", "gradients_ignore_dropout")
)
ROWS: Sequence[Row] = (*WITHOUT_DROPOUT, *([KERAS_ON_TORCH] if os.environ.get("KERAS_BACKEND") == "torch" else []))


@cache
def rows_of(implementation: str) -> tuple[Row, ...]:
    """The rows about the implementation; the suite's own come first."""
    brought = [row for point in entry_points(group=GROUP) if point.name == implementation for row in point.load()]
    return tuple(row for row in (*ROWS, *brought) if fnmatch(implementation, row.implementation))


def lookup(implementation: str, rung: str, check: str, dtype: str) -> tuple[Status, str]:
    """Status and reason of a check, from the first row that matches."""
    for row in rows_of(implementation):
        if fnmatch(rung, row.rung) and fnmatch(check, row.check) and fnmatch(dtype, row.dtype):
            return row.status, row.reason
    return "required", ""
