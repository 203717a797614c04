"""Figures of a run that finds lines on pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.reading.result import Reading
from common.report.drawing import LITERAL, RIGHT, label

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.figure import Figure

_ACROSS = 4  # pages beside each other


def sheet_of_pages(readings: Sequence[Reading], title: str) -> Figure:
    """Pages, each under its score; a page that carries lines is drawn with them."""
    from matplotlib.figure import Figure

    rows = -(-len(readings) // _ACROSS)
    figure = Figure(figsize=(3.6 * _ACROSS, 5.0 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=13, **LITERAL)
    grid = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, reading in zip(grid, readings, strict=False):
        axes.imshow(reading.image_HW, cmap="gray_r", vmin=0, vmax=255)
        for mark in reading.marks:
            axes.plot(*np.asarray(mark.points).T, color=mark.colour, linewidth=1.2)
        axes.set_title(f"{reading.text} · {reading.confidence:.0%}", fontsize=9, **LITERAL)
    return figure


def sheet_of_scores(scores_N: Sequence[float]) -> Figure:
    """The score of each page, from the worst to the best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    ranks = np.arange(1, len(scores_N) + 1)
    axes.plot(ranks, 100 * np.sort(np.asarray(scores_N)), color=RIGHT, marker="o", markersize=3)
    axes.set_ylim(0, 102)
    label(axes, "Score of each page", "pages, from the worst", "%")
    return figure
