"""Learning curves of several frameworks in one chart, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.report.figures import series, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# told apart by hue, by dash and by marker; the middle lightness is legible on white and on black
_Style = tuple[str, str | tuple[int, tuple[int, ...]], str]
_STYLES: tuple[_Style, ...] = (
    ("#3987d1", "-", "o"),
    ("#e2603c", "--", "s"),
    ("#a267c4", "-.", "^"),
    ("#28a57a", ":", "D"),
    ("#b08a1c", (0, (5, 1, 1, 1, 1, 1)), "v"),
)
# colours that matplotlib writes and the page replaces
_TEXT, _LINE = "#010203", "#040506"

Rows = Sequence[dict[str, float]]


def learning_charts(metrics: Mapping[str, Rows], order: Sequence[str], target: float) -> list[tuple[str, str]]:
    """Title and SVG of each chart.

    Args:
        metrics: framework to the rows of its metrics.jsonl.
        order: every framework of the report, so that one keeps its colour whichever others are missing.
        target: share of validation images, drawn as a line.
    """
    from matplotlib.ticker import MaxNLocator

    styles = {name: _STYLES[i % len(_STYLES)] for i, name in enumerate(order)}

    def by_epoch(axes: Axes) -> None:
        for name, rows in metrics.items():
            _line(axes, name, styles, *_percent(series(rows, "validation/accuracy", "epoch")), marked=True)
        axes.set(xlabel="epoch", ylabel="validation accuracy, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.axhline(100 * target, color=_LINE, linewidth=1, linestyle=(0, (2, 2)))

    def by_seconds(axes: Axes) -> None:
        for name, rows in metrics.items():
            _line(axes, name, styles, *_percent(series(rows, "validation/accuracy", "seconds")), marked=True)
        axes.set(xlabel="seconds of training", ylabel="validation accuracy, %")
        axes.set_xlim(left=0)
        axes.axhline(100 * target, color=_LINE, linewidth=1, linestyle=(0, (2, 2)))

    def losses(axes: Axes) -> None:
        for name, rows in metrics.items():
            steps, values = series(rows, "train/loss")
            _line(axes, name, styles, steps, smoothed(values), marked=False)
        axes.set(xlabel="step", ylabel="training loss, nats, smoothed")
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])

    charts = {
        "Validation accuracy by epoch": by_epoch,
        "Validation accuracy by time": by_seconds,
        "Training loss by step": losses,
    }
    return [(title, _svg(title, draw, ", ".join(metrics))) for title, draw in charts.items()]


def _percent(points: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return points[0], 100 * points[1]


def _line(axes: Axes, name: str, styles: Mapping[str, _Style], x: np.ndarray, y: np.ndarray, *, marked: bool) -> None:
    colour, dash, marker = styles[name]
    axes.plot(
        x, y, color=colour, linestyle=dash, marker=marker if marked else None, markersize=4, linewidth=1.6, label=name
    )


def _svg(title: str, draw: Callable[[Axes], None], names: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # fonttype none: text stays text; hashsalt: the same input gives the same ids
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "text.color": _TEXT,
        "axes.labelcolor": _TEXT,
    }
    style |= {"axes.edgecolor": _LINE, "xtick.color": _LINE, "ytick.color": _LINE, "grid.color": _LINE}
    style |= {"xtick.labelcolor": _TEXT, "ytick.labelcolor": _TEXT, "font.size": 9}
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.4, 3.0), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(linewidth=0.4)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor").replace(_LINE, "var(--line)")
    svg = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{title}: {names}" \1>', svg, count=1
    )
    return re.sub(r' id="[a-z0-9.]+_\d+"', "", svg)  # axes_1 and the like stand in every chart
