"""The report on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.formatting import duration, percent, significant
from common.tasks import task_of

_PIPE_WIDTH = 150  # where there is no terminal to fit


def print_tables(report: Mapping[str, Any], page: Path) -> None:
    """Print parity, a table per rung, the failures, and the path of the page."""
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
        parity.add_row(name, f"{verdict['passed']} of {verdict['checks']}", caught, reason)
    console.print(parity)

    for rung, found in report["rungs"].items():
        measure, budget = task_of(rung).measure, found["budget"]
        table = Table(title=f"{rung} on {budget['data']}", title_justify="left")
        table.add_column("framework")
        for column in (
            *(heading for heading, _ in measure.shown),
            "parameters",
            f"to {percent(budget['target'], 0)}",
            f"{measure.examples}/s",
            "step, ×PyTorch",
            "peak memory",
            "first step",
            "code lines",
        ):
            table.add_column(column, justify="right")
        for name, row in found["rows"].items():
            reached = row["seconds_to_target"]
            memory = row["peak_memory_mb"]
            table.add_row(
                name,
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
            console.print(
                f"{difference['first']} less {difference['second']}: {100 * difference['difference']:+.2f} points of "
                f"{measure.name} (95% interval {low:+.2f} to {high:+.2f}); {difference['better']}'s run is better"
            )
        if found["differences"] and len(measurable) < len(found["differences"]):
            others = "other pairs" if measurable else "frameworks"
            console.print(f"between the {others}: no measurable difference in {measure.name}")
    for failure in report["failures"]:
        console.print(f"failed: {failure['what']}: {failure['reason']}")
    console.print(f"the report: {page}", soft_wrap=True)


def _score(value: float | Sequence[float]) -> str:
    """A share, or an interval of shares, in percent."""
    return f"{percent(value[0])} to {percent(value[1])}" if isinstance(value, Sequence) else percent(value, 2)
