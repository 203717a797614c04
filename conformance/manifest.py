"""What is asked of whom: implementation × rung × check × dtype = required, optional or not applicable.

Everything is required of everyone but for the rows below. A package that plugs in a framework of its own may bring
rows for it: an entry point in the group `fourhands.manifest`, under the implementation's name, whose value is a
sequence of `Row`. Not applicable never counts as passed.
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
    """An exception from "required". Names may hold wildcards (`*`)."""

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
ROWS: Sequence[Row] = (KERAS_ON_TORCH,) if os.environ.get("KERAS_BACKEND") == "torch" else ()


@cache
def rows_of(implementation: str) -> tuple[Row, ...]:
    """The rows that tell of the implementation, the suite's own first."""
    brought = [row for point in entry_points(group=GROUP) if point.name == implementation for row in point.load()]
    return tuple(row for row in (*ROWS, *brought) if row.implementation == implementation)


def lookup(implementation: str, rung: str, check: str, dtype: str) -> tuple[Status, str]:
    """Status and reason; the first row that fits decides."""
    for row in rows_of(implementation):
        if fnmatch(rung, row.rung) and fnmatch(check, row.check) and fnmatch(dtype, row.dtype):
            return row.status, row.reason
    return "required", ""
