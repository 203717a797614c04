"""The figures of a run folder, as PNG: curves, readings, mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.atomic import write_atomically
from common.evaluation.evaluation import Evaluation
from common.evaluation.measure import Measure
from common.formatting import percent
from common.reading.result import Reading
from common.report.character_figures import sheet_of_characters, sheet_of_confusions
from common.report.drawing import QUIET, RIGHT, WRONG, label, png
from common.report.line_figures import sheet_of_lines, sheet_of_mistakes
from common.report.page_figures import sheet_of_pages, sheet_of_scores
from common.report.series import percent_points, read_metrics, series, smoothed
from common.tasks import Task

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.figure import Figure

READINGS = {"characters": 32, "lines": 16, "pages": 8}
"""Task to the number of readings of a sheet. Up to half of them are mistakes."""
SHEETS: dict[str, Callable[[Sequence[Reading], str], Figure]] = {
    "characters": sheet_of_characters,
    "lines": sheet_of_lines,
    "pages": sheet_of_pages,
}
MISTAKES: dict[str, Callable[[Any], Figure]] = {
    "characters": lambda evaluation: sheet_of_confusions(evaluation.confusion_KK, evaluation.charset),
    "lines": lambda evaluation: sheet_of_mistakes(evaluation.edits),
    "pages": lambda evaluation: sheet_of_scores(evaluation.scores_N.tolist()),
}


def draw_run(folder: Path, metrics: Path, task: Task, evaluation: Evaluation, data: str) -> None:
    """Write curves.png, readings.png and confusion.png.

    Args:
        folder: the run folder.
        metrics: its metrics.jsonl.
        task: what the model reads.
        evaluation: of the test split.
        data: name of the data set.

    Raises:
        UserError: a file cannot be written.
    """
    limit = READINGS[task.name]
    shown = [evaluation.reading(i) for i in evaluation.sample(limit, limit // 2)]
    mistakes = "those with the lowest F1" if task.name == "pages" else "the most confident mistakes"
    title = f"{data}: test {task.measure.examples} and {mistakes}"
    for name, figure in (
        ("curves", sheet_of_curves(read_metrics(metrics), task.measure)),
        ("readings", SHEETS[task.name](shown, title)),
        ("confusion", MISTAKES[task.name](evaluation)),
    ):
        write_atomically(folder / f"{name}.png", png(figure))


def sheet_of_readings(readings: Sequence[Reading], title: str) -> Figure:
    """The sheet of these readings: of pages if they have marks, of lines if they have confidences per character."""
    pages = any(reading.marks for reading in readings)
    lines = any(reading.character_confidences is not None for reading in readings)
    return SHEETS["pages" if pages else "lines" if lines else "characters"](readings, title)


def sheet_of_curves(rows: Sequence[dict[str, float]], measure: Measure) -> Figure:
    """Loss, validation score and learning rate, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.7), layout="constrained")
    loss, score, rate = figure.subplots(1, 3, width_ratios=[1.25, 1, 0.85])

    steps, losses = series(rows, "train/loss")
    loss.plot(steps, losses, color=QUIET, alpha=0.45, linewidth=0.8, label="training, each step")
    loss.plot(steps, smoothed(losses), color=RIGHT, linewidth=1.8, label="training, smoothed")
    loss.plot(*series(rows, "validation/loss"), color=WRONG, marker="o", markersize=4, label="validation, each epoch")
    if np.isfinite(losses).any():  # a first step of 50 nats would flatten the rest of the curve
        loss.set_ylim(0, 1.15 * float(np.nanmax(np.append(smoothed(losses), series(rows, "validation/loss")[1]))))
    lines = measure.lower_is_better
    label(loss, "Loss", "step", "nats per character" if lines else "nats per example")
    loss.legend(frameon=False, fontsize=8)

    at, shares = series(rows, f"validation/{measure.metric}")
    score.plot(at, 100 * shares, color=WRONG, marker="o", markersize=4, label="characters (CER)")
    if lines:
        score.plot(
            *percent_points(series(rows, "validation/wer")), color=RIGHT, marker="s", markersize=3, label="words (WER)"
        )
        score.set_ylim(0, 105)  # the error of a first epoch may exceed 100%
        score.legend(frameon=False, fontsize=8)
    if np.isfinite(shares).any():
        best = int(np.nanargmin(shares) if lines else np.nanargmax(shares))
        score.plot(at[best], 100 * shares[best], color=WRONG, marker="o", markersize=10, fillstyle="none")
        score.annotate(
            f"best {percent(shares[best], 2 if lines else 1)}",
            (at[best], 100 * shares[best]),
            xytext=(0, 9 if lines else -18),
            textcoords="offset points",
            ha="right" if best else "left",
            fontsize=9,
        )
    if not lines:
        score.margins(y=0.15)
    label(score, "Validation error" if lines else f"Validation {measure.name}", "step", "%")

    rate.plot(*series(rows, "train/learning_rate"), color=RIGHT)
    rate.set_ylim(bottom=0)
    label(rate, "Learning rate", "step", "")
    return figure
