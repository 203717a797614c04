"""The pictures of a run folder, as PNG: curves, readings, confusions. The same input gives the same bytes.

Matplotlib's Figure is used as an object, without pyplot, which would keep every figure in a global list. Characters
are drawn as they are: no text is taken for mathematics, whatever `$` or backslash it holds.
"""

# K classes, S steps

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from common.charset import Charset
from common.atomic import write_atomically
from common.metrics import Edits, most_confused
from common.formatting import percent, visible
from common.reading.result import Reading

if TYPE_CHECKING:  # half a second to import, so only the functions that draw do
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
RIGHT, WRONG, QUIET = "#1f77b4", "#c0392b", "#9aa5b1"
_WRITE_CELLS = 16  # classes up to which there is room for a figure in each cell
_ROOM = 16  # characters that fit under an image
LITERAL: dict[str, Any] = {"parse_math": False}


def curves(metrics: Path, out: Path) -> None:
    """Draw metrics.jsonl: loss per step and per epoch, validation accuracy, learning rate.

    Raises:
        UserError: `out` cannot be written.
    """
    write_atomically(out, png(sheet_of_curves(read_metrics(metrics))))


def readings_sheet(readings: Sequence[Reading], out: Path, title: str) -> None:
    """Draw each reading: the image, what stands there, what was read and how surely; mistakes are marked.

    Raises:
        UserError: `out` cannot be written.
    """
    write_atomically(out, png(sheet_of_readings(readings, title)))


def mistakes(edits: Edits, out: Path) -> None:
    """Draw the most frequent mistakes in lines.

    Raises:
        UserError: `out` cannot be written.
    """
    from common.report.line_figures import sheet_of_mistakes  # it draws with what stands here

    write_atomically(out, png(sheet_of_mistakes(edits)))


def confusion_matrix(counts_KK: Int[np.ndarray, "K K"], charset: Charset, out: Path) -> None:
    """Draw how often each class (row) was read as which (column), as a share of the row, and list the worst.

    Raises:
        UserError: `out` cannot be written.
    """
    write_atomically(out, png(sheet_of_confusions(counts_KK, charset)))


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a date or a version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl; what was not finite is not a number."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [{name: np.nan if value is None else value for name, value in row.items()} for row in rows]


def series(rows: Sequence[dict[str, float]], name: str, against: str = "step") -> tuple[np.ndarray, np.ndarray]:
    """What was recorded under `name`, and what stood under `against` in the same rows."""
    found = [(row[against], row[name]) for row in rows if name in row and against in row]
    both = np.array(found, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def smoothed(values_S: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
    """Running mean that forgets over 2% of the steps (at least 5), unbiased at the start; gaps are passed over.

    Source: the bias correction of Kingma & Ba 2015.
    """
    keep = 1 - 1 / max(5.0, 0.02 * len(values_S))
    smooth_S, mean, weight = np.full(len(values_S), np.nan), 0.0, 0.0
    for i, value in enumerate(values_S):
        if np.isfinite(value):
            mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smooth_S[i] = mean / weight if weight else np.nan
    return smooth_S


def sheet_of_curves(rows: Sequence[dict[str, float]]) -> Figure:
    """Three panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.7), layout="constrained")
    loss, score, rate = figure.subplots(1, 3, width_ratios=[1.25, 1, 0.85])

    steps, losses = series(rows, "train/loss")
    loss.plot(steps, losses, color=QUIET, alpha=0.45, linewidth=0.8, label="training, each step")
    loss.plot(steps, smoothed(losses), color=RIGHT, linewidth=1.8, label="training, smoothed")
    loss.plot(*series(rows, "validation/loss"), color=WRONG, marker="o", markersize=4, label="validation, each epoch")
    if np.isfinite(losses).any():  # a first step of 50 nats would press the rest flat
        loss.set_ylim(0, 1.15 * float(np.nanmax(np.append(smoothed(losses), series(rows, "validation/loss")[1]))))
    lines = any("validation/cer" in row for row in rows)
    label(loss, "Loss", "step", "nats per character" if lines else "nats per example")
    loss.legend(frameon=False, fontsize=8)

    at, shares = series(rows, "validation/cer" if lines else "validation/accuracy")
    score.plot(at, 100 * shares, color=WRONG, marker="o", markersize=4, label="characters (CER)")
    if lines:
        score.plot(
            *_percent(series(rows, "validation/wer")), color=RIGHT, marker="s", markersize=3, label="words (WER)"
        )
        score.set_ylim(0, 105)  # a first epoch may read more characters wrong than there are
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
    label(score, "Validation error" if lines else "Validation accuracy", "step", "%")

    rate.plot(*series(rows, "train/learning_rate"), color=RIGHT)
    rate.set_ylim(bottom=0)
    label(rate, "Learning rate", "step", "")
    return figure


def _percent(points: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return points[0], 100 * points[1]


def sheet_of_readings(readings: Sequence[Reading], title: str) -> Figure:
    """A grid of characters, eight across, each with a line beneath; lines stand one below the other."""
    if readings and readings[0].character_confidences is not None:
        from common.report.line_figures import sheet_of_lines  # it draws with what stands here

        return sheet_of_lines(readings, title)
    from matplotlib.figure import Figure

    columns = min(8, max(4, len(readings)))
    rows = -(-len(readings) // columns)
    figure = Figure(figsize=(1.3 * columns, 1.75 * max(1, rows) + 0.6), layout="constrained")
    figure.suptitle(drawable(title, space=" "), fontsize=12, **LITERAL)
    grid = figure.subplots(max(1, rows), columns, squeeze=False).ravel()
    for axes in grid[len(readings) :]:
        axes.set_axis_off()
    for axes, reading in zip(grid, readings, strict=False):
        wrong = reading.truth is not None and reading.truth != reading.text
        colour = WRONG if wrong else QUIET
        axes.imshow(reading.image_HW, cmap="gray_r", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set(color=colour, linewidth=2.5 if wrong else 0.8)
        sign = "" if reading.truth is None else "✗ " if wrong else "✓ "
        read = drawable(reading.text)
        said = f"{sign}{drawable(reading.truth or '')} read as {read}" if wrong else f"{sign}{read}"
        size = 9 if len(said) <= _ROOM else 6.5
        axes.set_title(f"{said}\n{percent(reading.confidence, 0)} sure", y=-0.4, fontsize=size, **LITERAL)
        axes.title.set_color(WRONG if wrong else "black")
    return figure


def sheet_of_confusions(counts_KK: Int[np.ndarray, "K K"], charset: Charset) -> Figure:
    """The matrix, and beside it the most frequent mistakes."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    classes = len(charset)
    side = float(np.clip(0.16 * classes, 5, 12))
    # placed by hand, in inches: the layout engine takes seconds over 248 tick labels
    width, height = side + 3.4, side + 2.0
    figure = Figure(figsize=(width, height))
    matrix = figure.add_axes((0.7 / width, 1.3 / height, side / width, side / height))
    listing = figure.add_axes(((side + 1.4) / width, 1.3 / height, 2.0 / width, side / height))
    scale = figure.add_axes((0.7 / width, 0.5 / height, side / width, 0.15 / height))
    totals_K1 = counts_KK.sum(axis=1, keepdims=True)
    share_KK = np.divide(counts_KK, totals_K1, out=np.zeros(counts_KK.shape), where=totals_K1 > 0)

    # the square root shows a mistake of 2% beside a diagonal of 95%
    image = matrix.imshow(share_KK, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    names = [drawable(c) for c in charset.characters]
    size = 10 if classes <= _WRITE_CELLS else 8
    for axis in (matrix.xaxis, matrix.yaxis):
        axis.set_ticks(range(classes), names, fontsize=size, **LITERAL)
    matrix.tick_params(length=0, labeltop=True, labelright=True)
    edges = np.arange(1, classes) - 0.5
    matrix.hlines(edges, -0.5, classes - 0.5, color="#e4e8ec", linewidth=0.5)
    matrix.vlines(edges, -0.5, classes - 0.5, color="#e4e8ec", linewidth=0.5)
    if classes <= _WRITE_CELLS:
        for (i, j), share in np.ndenumerate(share_KK):
            if counts_KK[i, j]:
                colour = "white" if share > 0.5 else "black"
                matrix.text(j, i, f"{100 * share:.1f}", ha="center", va="center", fontsize=7.5, color=colour)
    right = int(np.trace(counts_KK)) / max(1, int(counts_KK.sum()))
    label(matrix, f"{percent(right)} of {int(counts_KK.sum()):,} read right", "read as", "true")
    bar = figure.colorbar(image, cax=scale, orientation="horizontal", ticks=[0, 0.02, 0.1, 0.3, 0.6, 1])
    bar.ax.set_xticklabels(["0", "2%", "10%", "30%", "60%", "100%"], fontsize=8)
    bar.set_label("share of the row", fontsize=9)

    listing.set_axis_off()
    lines = [
        f"{names[i]} read as {names[j]}\n{percent(share_KK[i, j], 0)} ({n:,} of {int(totals_K1[i, 0]):,})"
        for i, j, n in most_confused(counts_KK, 12 if side > 7 else 8)
    ]
    listing.set_title("Most frequent mistakes", fontsize=10, loc="left")
    text = "\n\n".join(lines) or "none"
    listing.text(0, 0.99, text, va="top", fontsize=9, linespacing=1.25, transform=listing.transAxes, **LITERAL)
    return figure


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, names of the axes, and a light grid."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if axes.get_images():
        return
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e8ec", linewidth=0.7)
    axes.set_axisbelow(True)


@cache
def _has_glyph(character: str) -> bool:
    from matplotlib import font_manager, ft2font

    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    return bool(font.get_char_index(ord(character)))


def drawable(text: str, space: str = "␣") -> str:
    """The text with every character that the font lacks, or that cannot be seen, as U+4E2D."""
    shown = (c if c == " " or not c.isprintable() or _has_glyph(c) else f"U+{ord(c):04X}" for c in text)
    return visible("".join(shown)).replace("␣", space)
