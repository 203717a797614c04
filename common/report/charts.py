"""Learning curves of several frameworks in one chart, as SVG. Text and lines take their colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from common.evaluation.measure import Measure
from common.formatting import framework_name
from common.report.series import percent_points, series, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# frameworks differ in hue, dash and marker; a medium lightness is legible on white and on black
_Style = tuple[str, str | tuple[int, tuple[int, ...]], str]
_STYLES: tuple[_Style, ...] = (
    ("#3987d1", "-", "o"),
    ("#e2603c", "--", "s"),
    ("#a267c4", "-.", "^"),
    ("#28a57a", ":", "D"),
    ("#b08a1c", (0, (5, 1, 1, 1, 1, 1)), "v"),
)
# placeholders, replaced in the SVG by the colours of the page
_TEXT, _LINE = "#010203", "#040506"

Rows = Sequence[dict[str, float]]
LOSSES = {"images": "nats per image", "lines": "nats per character", "pages": "nats per pixel + Dice loss"}
"""What the test examples of a task are called, to the unit of its loss."""


def learning_charts(
    metrics: Mapping[str, Rows], order: Sequence[str], target: float | None, measure: Measure
) -> list[tuple[str, str]]:
    """The title and the SVG of each chart.

    Args:
        metrics: framework, or name of a run, to the rows of its metrics.jsonl.
        order: every framework of the report; each has the same colour in all charts, even if others are missing.
        target: value of the measure that is drawn as a horizontal line; None for no line.
        measure: accuracy, CER or F1.
    """
    from matplotlib.ticker import MaxNLocator

    unit = LOSSES[measure.examples]
    styles = {name: _STYLES[i % len(_STYLES)] for i, name in enumerate(order)}

    def validation(axes: Axes, against: str) -> None:
        for name, rows in metrics.items():
            _line(
                axes, name, styles, *percent_points(series(rows, f"validation/{measure.metric}", against)), marked=True
            )
        axes.set_ylabel(f"validation {measure.name}, %")
        if measure.lower_is_better:
            axes.set_ylim(0, min(105, 1.05 * axes.get_ylim()[1]))  # the CER of an untrained model may exceed 100%
        if target is not None:
            axes.axhline(100 * target, color=_LINE, linewidth=1, linestyle=(0, (2, 2)))

    def by_epoch(axes: Axes) -> None:
        validation(axes, "epoch")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    def by_seconds(axes: Axes) -> None:
        validation(axes, "seconds")
        axes.set_xlabel("seconds of training")
        axes.set_xlim(left=0)

    def losses(axes: Axes) -> None:
        for name, rows in metrics.items():
            steps, values = series(rows, "train/loss")
            _line(axes, name, styles, steps, smoothed(values), marked=False)
        axes.set(xlabel="step", ylabel=f"{unit}, smoothed")
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])

    charts = {
        f"Validation {measure.name} by epoch": by_epoch,
        f"Validation {measure.name} by time": by_seconds,
        "Training loss by step": losses,
    }
    return [(title, _svg(title, draw, ", ".join(map(framework_name, metrics)))) for title, draw in charts.items()]


def _line(axes: Axes, name: str, styles: Mapping[str, _Style], x: np.ndarray, y: np.ndarray, *, marked: bool) -> None:
    colour, dash, marker = styles[name]
    axes.plot(
        x,
        y,
        color=colour,
        linestyle=dash,
        marker=marker if marked else None,
        markersize=4,
        linewidth=1.6,
        label=framework_name(name),
    )


def _svg(title: str, draw: Callable[[Axes], None], names: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # fonttype none keeps text as text; hashsalt makes the ids the same for the same input
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "text.parse_math": False,  # a run may have any name
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
    label = escape(f"{title}: {names}").replace("\\", "&#92;")  # re.sub reads a backslash as its own
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{label}" \1>', svg, count=1)
    # ids such as axes_1 occur in every chart, and an id must be unique in a page
    return re.sub(r' id="[a-z0-9.]+_\d+"', "", svg)
