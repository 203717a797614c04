"""Runs as tables on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.experiments.command import train_command
from common.experiments.difference import sentence
from common.experiments.found import COMPLETE, FoundRun
from common.formatting import duration, framework_name, percent, significant

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 150  # columns where the output is not a terminal
_SHARES = ("cer", "wer", "accuracy", "accuracy_case_folded", "f1", "precision", "recall", "iou", "outline_iou")
COLUMNS = ("run", "state", "rung", "framework", "data", "epochs", "validation", "test", "training", "started", "note")


def said(name: str, value: Any) -> str:
    """A value of a field for a reader."""
    if value is None:
        return "–"
    last = name.rpartition(".")[2]
    if last.endswith("_interval") and isinstance(value, list) and len(value) == 2:
        return f"{percent(value[0], 2)} to {percent(value[1], 2)}"
    if last.removeprefix("best_validation_") in _SHARES and isinstance(value, int | float):
        return percent(value, 2)
    if last in ("seconds", "step_seconds", "compile_seconds") and isinstance(value, int | float):
        return duration(value)
    if last == "commit" and isinstance(value, str):
        return value[:10]
    if isinstance(value, float):
        return significant(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cells(run: FoundRun) -> dict[str, str]:
    """The columns of `runs list`."""
    measure = run.measure
    metric = measure.metric if measure else ""
    name = f"{measure.name} " if measure else ""
    shown = dict.fromkeys(COLUMNS, "–")
    shown |= {"run": run.name, "state": run.state, "note": run.notes[-1].text if run.notes else ""}
    config = run.config
    if config:
        shown |= {"rung": str(config.get("rung", "–")), "framework": framework_name(str(config.get("framework", "–")))}
        shown["data"] = str(config.get("data", "–"))
        train = config.get("train")
        wanted = train.get("epochs", "?") if isinstance(train, dict) else "?"
        done = run.result.get("epochs", wanted) if run.state == COMPLETE else len(run.epochs)
        shown["epochs"] = str(wanted) if done == wanted else f"{done} of {wanted}"
    if metric in run.validation:
        shown["validation"] = name + percent(run.validation[metric], 2)
    if isinstance(run.result.get(metric), int | float):
        shown["test"] = name + percent(run.result[metric], 2)
    if isinstance(run.result.get("seconds"), int | float):
        shown["training"] = duration(run.result["seconds"])
    shown["started"] = str(run.status.get("started", "–"))[:16].replace("T", " ")
    return shown


def console() -> Console:
    """A console for tables; text is printed as it is."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)


def print_list(runs: Sequence[FoundRun], extra: Sequence[str] = ()) -> None:
    """A row per run, with columns for the fields `extra`."""
    from rich.table import Table

    table = Table()
    for column in (*COLUMNS[:-1], *extra, COLUMNS[-1]):
        right = column in ("epochs", "validation", "test", "training")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for run in runs:
        shown = cells(run)
        own = [said(name, run.fields.get(name)) for name in extra]
        table.add_row(*(shown[column] for column in COLUMNS[:-1]), *own, shown["note"])
    out = console()
    out.print(table)
    for run in runs:
        if run.reason:
            out.print(f"{run.name} is {run.state}: {run.reason}", soft_wrap=True)


def print_run(run: FoundRun) -> None:
    """Everything of one run, in sections."""
    out = console()
    out.print(f"{run.path}: {run.state}{': ' + run.reason if run.reason else ''}", soft_wrap=True)
    for note in run.notes:
        out.print(f"note of {note.time[:16].replace('T', ' ')}: {note.text}", soft_wrap=True)
    if command := train_command(run.config):
        out.print(f"\ntrain it again:\n  {command}", soft_wrap=True)
    if run.result and run.measure:
        out.print(f"\n{run.measure.sentence(run.result)}", soft_wrap=True)
    rows = [(name, run.fields[name]) for name in run.fields]
    _print_fields(out, "settings", [(n, v) for n, v in rows if n.startswith(("train.", "spec.", "data_config."))])
    outcome = (
        "validation.",
        *_SHARES,
        "loss",
        "best_epoch",
        "epochs",
        "steps",
        "seconds",
        "parameters",
        "step_seconds",
    )
    _print_fields(out, "figures", [(n, v) for n, v in rows if n.startswith(outcome)])
    kept = ("commit", "uncommitted", "code_note", "data_hash", "machine.", "versions.", "started")
    _print_fields(out, "environment", [(n, v) for n, v in rows if n.startswith(kept)])
    print_epochs(out, run)


def _print_fields(out: Console, title: str, rows: Sequence[tuple[str, Any]]) -> None:
    if rows:
        out.print(f"\n{title}:")
    for name, value in rows:
        out.print(f"  {name}: {said(name, value)}", soft_wrap=True)


def print_epochs(out: Console, run: FoundRun) -> None:
    """A row per epoch: training and validation figures, and the seconds that it took."""
    from rich.table import Table

    rows = run.epochs
    if not rows:
        return
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if n.startswith(("train/", "validation/"))]
    table = Table(title="epochs", title_justify="left")
    for column in ("epoch", "step", *names, "seconds"):
        table.add_column(column, justify="right", overflow="fold")
    before = 0.0
    for row in rows:
        seconds = row.get("seconds")
        took = "–" if seconds is None else duration(seconds - before)
        before = before if seconds is None else seconds
        values = [said(name.replace("/", "."), row.get(name)) for name in names]
        table.add_row(*(f"{row.get(name, 0):.0f}" for name in ("epoch", "step")), *values, took)
    out.print(table)


def print_comparison(runs: Sequence[FoundRun], found: dict[str, Any]) -> None:
    """What differs, the figures beside each other, and the paired differences."""
    from rich.table import Table

    out = console()
    for title, rows in (("what differs", found["differing"]), ("figures", found["figures"])):
        table = Table(title=title, title_justify="left")
        table.add_column("", overflow="fold")
        for run in runs:
            table.add_column(run.name, overflow="fold", justify="right")
        for name, values in rows.items():
            table.add_row(name, *(said(name, value) for value in values))
        if rows:
            out.print(table)
        else:
            out.print(f"{title}: nothing")
    for pair in found["pairs"]:
        name = next((run.measure.name for run in runs if run.measure and run.measure.metric == pair["metric"]), "")
        out.print(sentence(pair, name), soft_wrap=True)
    for reason in found["not_compared"]:
        out.print(reason, soft_wrap=True)
