"""A list or a comparison of runs as one self-contained HTML file, in the style of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.atomic import write_atomically
from common.errors import UserError
from common.experiments.command import train_command
from common.experiments.difference import sentence
from common.experiments.found import FoundRun
from common.experiments.table import COLUMNS, cells, said
from common.report.charts import learning_charts
from common.report.series import read_metrics

MOST_CURVES = 12
"""Most runs of a list whose curves are drawn: the lines of more could not be distinguished."""


def write_list(path: Path, runs: Sequence[FoundRun], extra: Sequence[str], title: str) -> None:
    """Write the page of `runs list`.

    Raises:
        UserError: the file cannot be written.
    """
    headings = [*COLUMNS[:-1], *extra, COLUMNS[-1]]
    rows = []
    for run in runs:
        shown = cells(run)
        shown["state"] += f": {run.reason}" if run.reason else ""
        own = [said(name, run.fields.get(name)) for name in extra]
        rows.append([*(shown[column] for column in COLUMNS[:-1]), *own, shown[COLUMNS[-1]]])
    left = {i for i, name in enumerate(headings) if name in ("state", "rung", "framework", "data", "started", "note")}
    drawn = [run for run in runs if run.epochs][:MOST_CURVES]
    with_curves = sum(bool(run.epochs) for run in runs)
    subtitle = f"{len(runs)} runs."
    if with_curves > len(drawn):
        subtitle += f" The curves are those of the first {len(drawn)}, in the order of the table."
    tables = [{"title": "Runs", "headings": headings, "rows": rows, "left": left}]
    _write(path, title=title, subtitle=subtitle, tables=tables, charts=_charts(drawn), commands=_commands(drawn))


def write_comparison(path: Path, runs: Sequence[FoundRun], found: Mapping[str, Any]) -> None:
    """Write the page of `runs compare`.

    Args:
        path: the file.
        runs: the runs, with different names.
        found: the result of `common.experiments.difference.comparison`.

    Raises:
        UserError: the file cannot be written.
    """
    names = [run.name for run in runs]
    tables = [
        {
            "title": title,
            "headings": ["", *names],
            "rows": [[name, *(said(name, value) for value in values)] for name, values in found[key].items()],
            "left": set(),
        }
        for title, key in (("What differs", "differing"), ("Figures", "figures"))
    ]
    measures = {run.measure.metric: run.measure.name for run in runs if run.measure}
    sentences = [sentence(pair, measures[pair["metric"]]) for pair in found["pairs"]] + list(found["not_compared"])
    noted = [f"{run.name}: {note.text} ({note.time[:10]})" for run in runs for note in run.notes]
    _write(
        path,
        title=" and ".join(names) if len(names) == 2 else f"{len(names)} runs",
        subtitle="; ".join(noted) or "Only the settings that differ are shown.",
        tables=tables,
        sentences=sentences,
        charts=_charts(runs),
        commands=_commands(runs),
    )


def _charts(runs: Sequence[FoundRun]) -> list[dict[str, Any]]:
    """The learning curves of the runs, apart for each measure."""
    measures = {run.measure.metric: run.measure for run in runs if run.measure is not None}
    groups = []
    for metric, measure in measures.items():
        metrics = {}
        for run in runs:
            if run.measure is not None and run.measure.metric == metric:
                try:
                    metrics[run.name] = read_metrics(run.path / "metrics.jsonl")
                except (OSError, ValueError, AttributeError):
                    continue
        if not metrics:
            continue
        drawn = learning_charts(metrics, list(metrics), None, measure)
        charts = [(title, Markup(svg)) for title, svg in drawn]
        groups.append({"title": f"Learning curves, {measure.name}", "charts": charts})
    return groups


def _commands(runs: Sequence[FoundRun]) -> list[str]:
    return [command for run in runs if (command := train_command(run.config, run.name))]


def _write(path: Path, *, sentences: Sequence[str] = (), **content: Any) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --html a file, such as {path / 'runs.html'}")
    here = Path(__file__).parent
    loader = FileSystemLoader([here, here.parent / "report"])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = environment.get_template("runs.html").render(sentences=sentences, **content)
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} does not exist; give --html a file in a folder that exists")
    write_atomically(path, (text + "\n").encode("utf-8", "replace"))
