"""The curve of an adaptation: errors against the number of own lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.report.drawing import QUIET, RIGHT, WRONG, label

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.figure import Figure


def sheet_of_adaptation(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """CER on the held-out pages against the number of own lines, with 95% intervals.

    Args:
        rows: the `curve` of result.json, from 0 lines on.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    lines = np.array([row["lines"] for row in rows])
    at = np.arange(len(rows))  # equal distances: the numbers grow by factors, and 0 has no logarithm
    cer, plain = (100 * np.array([row[name] for row in rows]) for name in ("cer", "cer_best_path"))
    low, high = 100 * np.array([row["cer_interval"] for row in rows]).T
    axes.fill_between(at, low, high, color=RIGHT, alpha=0.15, linewidth=0, label="95% interval")
    axes.plot(at, plain, color=QUIET, marker="s", markersize=4, label="best path")
    axes.plot(at, cer, color=RIGHT, marker="o", label="beam and language model")
    axes.axhline(cer[0], color=WRONG, linewidth=0.8, linestyle=":")
    for x, value in zip(at, cer, strict=True):
        axes.annotate(f"{value:.1f}", (x, value), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(at, [f"{count:,}" for count in lines])
    axes.set_ylim(bottom=0)
    label(axes, "Errors on held-out pages", "own lines", "CER, %")
    axes.legend(frameon=False, fontsize=8)
    return figure
