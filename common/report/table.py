"""The report's tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.formatting import duration, framework_name, percent, significant
from common.report.budgets import rung_title
from common.report.first import FirstLook
from common.tasks import task_of

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 150  # columns where the output is not a terminal


def print_tables(report: Mapping[str, Any], page: Path, first: FirstLook | None = None) -> None:
    """Print parity, a table per rung, the failures, and the path of the page.

    Args:
        report: the content of report.json.
        page: the path of the HTML report.
        first: what the report says about the tier `first`; None for other tiers.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)
    parity = Table(title="Parity: are they the same model?", title_justify="left")
    for column in ("framework", "checks passed", "planted faults caught", "verdict"):
        parity.add_column(column, overflow="fold")
    for name, verdict in report["parity"]["verdicts"].items():
        faults = report["faults"].get(name)
        caught = f"{faults['caught']} of {faults['planted']}" if faults else "–"
        said = {"passed": "same model", "failed": "NOT the same", "absent": "not installed"}[verdict["status"]]
        reason = f"{said}: {verdict['reason']}" if verdict["reason"] else said
        parity.add_row(framework_name(name), f"{verdict['passed']} of {verdict['checks']}", caught, reason)
    console.print(parity)

    for rung, found in report["rungs"].items():
        measure, budget = task_of(rung).measure, found["budget"]
        table = Table(title=rung_title(rung, found), title_justify="left")
        table.add_column("framework")
        for column in (
            *(heading for heading, _ in measure.shown),
            "parameters",
            f"time to {percent(budget['target'], 0)}",
            f"{measure.examples}/s",
            "step, × PyTorch",
            "peak memory",
            "first steps",
            "lines of code",
        ):
            table.add_column(column, justify="right")
        for name, row in found["rows"].items():
            reached = row["seconds_to_target"]
            memory = row["peak_memory_mb"]
            table.add_row(
                framework_name(name),
                *(_score(row[field]) for _, field in measure.shown),
                f"{row['parameters']:,}",
                "not reached" if reached is None else duration(reached),
                significant(row["examples_per_second"]),
                significant(row["step_relative"]),
                "–" if memory is None else f"{memory:,.0f} MB",
                duration(row["compile_seconds"]),
                f"{row['lines_of_rung']} / {row['lines_in_all']}",
            )
        console.print(table)
        measurable = [d for d in found["differences"] if d["measurable"]]
        for difference in measurable:
            low, high = (100 * bound for bound in difference["interval"])
            one, other, better = (framework_name(difference[key]) for key in ("first", "second", "better"))
            console.print(
                f"{one} minus {other}: {100 * difference['difference']:+.2f} points of {measure.name} "
                f"(95% interval {low:+.2f} to {high:+.2f}); {better}'s run is better"
            )
        if found["differences"] and len(measurable) < len(found["differences"]):
            others = "other pairs" if measurable else "frameworks"
            console.print(f"between the {others}: no measurable difference in {measure.name}")
    for failure in report["failures"]:
        console.print(f"failed: {failure['what']}: {failure['reason']}")
    if first:
        _print_first(console, first)
    console.print(f"the report: {page}", soft_wrap=True)


def _print_first(console: Console, first: FirstLook) -> None:
    console.print(f"\nThis is a first look. {first.meaning}")
    for said, names in first.left_out:
        console.print(f"left out: {said}{': ' if names else ''}{names}")
    for command, time in first.commands:
        console.print(f"to go on ({time}): {command}", soft_wrap=True)
    console.print()


def _score(value: float | Sequence[float]) -> str:
    """A share, or an interval of shares, in percent."""
    return f"{percent(value[0])} to {percent(value[1])}" if isinstance(value, Sequence) else percent(value, 2)
