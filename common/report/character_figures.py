"""Figures of characters: a sheet of readings, and the confusion matrix."""

# K classes

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from common.charset import Charset
from common.formatting import percent
from common.metrics import most_confused
from common.reading.result import Reading
from common.report.drawing import LITERAL, QUIET, WRONG, drawable, label

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.figure import Figure

_WRITE_CELLS = 16  # with more classes there is no room for a number in each cell
_ROOM = 16  # characters that fit under an image


def sheet_of_characters(readings: Sequence[Reading], title: str) -> Figure:
    """A grid of images, eight in a row, each with its reading below."""
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
    """The confusion matrix, with a list of the most frequent mistakes beside it.

    Each cell is the share of the examples of a class (row) that were read as a class (column).
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    classes = len(charset)
    side = float(np.clip(0.16 * classes, 5, 12))
    # positions are set here, in inches, because the layout engine takes seconds for 248 tick labels
    width, height = side + 3.4, side + 2.0
    figure = Figure(figsize=(width, height))
    matrix = figure.add_axes((0.7 / width, 1.3 / height, side / width, side / height))
    listing = figure.add_axes(((side + 1.4) / width, 1.3 / height, 2.0 / width, side / height))
    scale = figure.add_axes((0.7 / width, 0.5 / height, side / width, 0.15 / height))
    totals_K1 = counts_KK.sum(axis=1, keepdims=True)
    share_KK = np.divide(counts_KK, totals_K1, out=np.zeros(counts_KK.shape), where=totals_K1 > 0)

    # on a scale of square roots a mistake of 2% is visible beside a diagonal of 95%
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
    bar.set_label("share of the true class", fontsize=9)

    listing.set_axis_off()
    lines = [
        f"{names[i]} read as {names[j]}\n{percent(share_KK[i, j], 0)} ({n:,} of {int(totals_K1[i, 0]):,})"
        for i, j, n in most_confused(counts_KK, 12 if side > 7 else 8)
    ]
    listing.set_title("Most frequent mistakes", fontsize=10, loc="left")
    text = "\n\n".join(lines) or "none"
    listing.text(0, 0.99, text, va="top", fontsize=9, linespacing=1.25, transform=listing.transAxes, **LITERAL)
    return figure
