"""The best of several runs, by a figure of their validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError, unknown_name
from common.experiments.found import COMPLETE, FoundRun

LOWER_IS_BETTER = ("cer", "wer", "loss")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best run."""

    run: FoundRun
    by: str
    """The figure, such as cer."""
    value: float
    """Its value on the validation split."""
    compared: int
    """Number of runs that were compared."""
    left_out: int
    """Number of runs that are not complete, or lack the figure."""
    data: int
    """Number of different data sets that the compared runs were validated on."""


def best(runs: Sequence[FoundRun], by: str | None = None) -> Choice:
    """The complete run with the best validation figure. Among equals it is the first in the order given.

    The test figure plays no part: a run that was chosen by it would look better than it is.

    Args:
        runs: the runs to choose from.
        by: a validation figure, such as cer, wer, accuracy or f1; None for the measure that all runs have.

    Raises:
        UserError: no complete run, no such figure, or runs of several measures without `by`.
    """
    if by is not None and by.startswith(("test.", "test/")):
        raise UserError(
            f"--by {by} asks for the test split; the best run is chosen by its validation figure, so give {by[5:]}"
        )
    complete = [run for run in runs if run.state == COMPLETE]
    if not complete:
        raise UserError(f"none of {len(runs)} runs is complete; see `fourhands runs list FOLDER` for their states")
    if by is None:
        measures = {run.measure.metric for run in complete if run.measure is not None}
        if len(measures) != 1:
            raise UserError(f"the runs have several measures ({', '.join(sorted(measures))}); choose one with --by")
        by = measures.pop()
    by = by.removeprefix("validation.").removeprefix("validation/").removeprefix("best_validation_")
    having = [run for run in complete if _is_number(run.validation.get(by))]
    if not having:
        raise unknown_name("validation figure", by, {name for run in complete for name in run.validation})
    lower = by in LOWER_IS_BETTER
    chosen = (min if lower else max)(having, key=lambda run: run.validation[by])
    data = {run.fields.get("data_hash") or str(run.config.get("data")) for run in having}
    return Choice(
        run=chosen,
        by=by,
        value=chosen.validation[by],
        compared=len(having),
        left_out=len(runs) - len(having),
        data=len(data),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
