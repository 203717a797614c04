"""The published comparison as pictures: one row per framework, in one look for every rung.

On the site the pictures are part of the page and take their colours from `_static/figures.css`. README shows a file
with colours of its own, which `readme.py` writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import svg

from common.formatting import FRAMEWORK_NAMES as NAMES
from common.formatting import framework_name as name_of
from common.tasks import task_of

PASSED = "passed"

_ROW, _TOP = 24.0, 30.0  # pixels: height of a framework's row, and where the first row begins
_OVERVIEW = 448.0  # pixels: width of a rung in the overview


def reads_lines(rung: str) -> bool:
    """Whether a rung reads lines; the others read one character."""
    return task_of(rung).name == "lines"


def full_name(framework: str, versions: Mapping[str, str]) -> str:
    """The same with Keras's backend. The report lists TensorFlow's version when Keras runs on it."""
    on = " on TensorFlow" if framework == "keras" and "tensorflow" in versions else ""
    return name_of(framework) + on


def in_order(frameworks: Sequence[str]) -> list[str]:
    """The four in the order of the site, then others by name."""
    return sorted(frameworks, key=lambda f: (list(NAMES).index(f) if f in NAMES else len(NAMES), f))


def shown_rows(report: Mapping[str, Any], rung: str) -> dict[str, Mapping[str, Any]]:
    """A rung's figures by framework; only frameworks that passed parity have any."""
    rows, verdicts = report["rungs"][rung]["rows"], report["parity"]["verdicts"]
    return {f: rows[f] for f in in_order(rows) if verdicts[f]["status"] == PASSED}


def score_name(rung: str) -> str:
    """The measure of a rung."""
    return task_of(rung).measure.name


def longest_line(found: Mapping[str, Any], rung: str) -> str:
    """The longest line of the data, in words; empty for characters. Every published figure of lines names it.

    Raises:
        ValueError: a rung that reads lines, and a budget that does not say how long they were.
    """
    if not reads_lines(rung):
        return ""
    most = found["budget"].get("max_characters")
    if not most:
        raise ValueError(f"report.json: the budget of {rung} lacks max_characters, so its CER cannot be published")
    return f"lines of at most {most} characters"


# --- panels
@dataclass(frozen=True)
class Panel:
    """One measure of all frameworks."""

    title: str
    alt: str
    shapes: str
    width: float
    height: float


def _marker(framework: str, x: float, y: float) -> str:
    """A mark that differs in shape as well as in colour."""
    class_ = f"mark {framework if framework in NAMES else 'other'}"
    r = 5.0
    points = {
        "pytorch": [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
        "keras": [(x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)],
        "jax": [(x, y - r - 1.5), (x + r + 1.5, y), (x, y + r + 1.5), (x - r - 1.5, y)],
    }.get(framework)
    if points is None:
        return svg.tag("circle", cx=x, cy=y, r=r, class_=class_)
    return svg.tag("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), class_=class_)


def _names(frameworks: Sequence[str], first: float) -> str:
    shapes = []
    for i, framework in enumerate(frameworks):
        y = first + i * _ROW + _ROW / 2
        shapes.append(_marker(framework, 8, y) + svg.text(20, y + 4, name_of(framework), "label"))
    return "".join(shapes)


def _axis(ticks: Sequence[float], place: Callable[[float], float], first: float, rows: int, unit: str = "") -> str:
    """Light vertical lines with their values below."""
    bottom = first + rows * _ROW
    factor = 100 if unit == "%" else 1
    return "".join(
        svg.polyline([(place(tick), first), (place(tick), bottom)], "grid")
        + svg.text(place(tick), bottom + 14, f"{factor * tick:g}{unit}", "tick", "middle")
        for tick in ticks
    )


def _ticks(most: float, count: int = 4) -> list[float]:
    """Round values from 0 to at least `most`."""
    rough = most / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [round(step * i, 10) for i in range(math.ceil(most / step - 1e-9) + 1)]


def bars(
    values: Mapping[str, float | None],
    shown: Callable[[float | None], str],
    *,
    title: str,
    alt: str,
    most: float | None = None,
    reference: float | None = None,
    width: float = 360,
    value_width: float = 74,
) -> Panel:
    """Horizontal bars from zero; None has no bar.

    Args:
        values: framework to value, in the order of the rows.
        shown: how to write a value beside its bar.
        title: above the bars.
        alt: the figure in words.
        most: end of the axis at least; without it, the largest value.
        reference: a value to draw a line at.
        width: of the panel, pixels.
        value_width: room for the written values, pixels.
    """
    left, right = 76.0, width - value_width
    ticks = _ticks(max([most or 0, *(value for value in values.values() if value is not None)]) or 1)

    def place(value: float) -> float:
        return left + (right - left) * value / ticks[-1]

    shapes = [_axis(ticks, place, _TOP, len(values)), _names(list(values), _TOP)]
    for i, (framework, value) in enumerate(values.items()):
        y = _TOP + i * _ROW
        if value is not None:
            class_ = f"bar {framework if framework in NAMES else 'other'}"
            shapes.append(svg.rect(left, y + 5, max(1.0, place(value) - left), _ROW - 10, class_, 2))
        shapes.append(svg.text(right + 8, y + _ROW / 2 + 4, shown(value), "value"))
    bottom = _TOP + len(values) * _ROW
    if reference is not None:
        shapes.append(svg.polyline([(place(reference), _TOP - 4), (place(reference), bottom)], "reference"))
    return Panel(title, alt, svg.text(0, 16, title, "title") + "".join(shapes), width, bottom + 20)


def intervals(
    rows: Mapping[str, Mapping[str, Any]],
    field: str,
    *,
    title: str,
    alt: str,
    low: float,
    high: float,
    named: bool = True,
) -> Panel:
    """A mark per framework with its 95% interval, on an axis from `low` to `high`.

    Args:
        rows: framework to its figures, in the order of the rows.
        field: the figure; `FIELD_interval` is its interval.
        title: above the marks.
        alt: the figure in words.
        low: left end of the axis.
        high: right end of the axis.
        named: whether the panel writes the frameworks' names; False if the panel on its left has them.
    """
    width = 360.0 if named else 300.0
    left, right = 76.0, width - 128
    step = (high - low) / 3

    def place(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    ticks = [low + step * i for i in range(4)]
    shapes = [_axis([round(t, 6) for t in ticks], place, _TOP, len(rows), "%")]
    shapes.append(_names(list(rows), _TOP) if named else "")
    for i, (framework, row) in enumerate(rows.items()):
        y = _TOP + i * _ROW + _ROW / 2
        first, last = row[f"{field}_interval"]
        class_ = f"whisker {framework if framework in NAMES else 'other'}"
        shapes += [
            svg.polyline([(place(first), y), (place(last), y)], class_),
            *(svg.polyline([(place(end), y - 4), (place(end), y + 4)], class_) for end in (first, last)),
            _marker(framework, place(row[field]), y),
            svg.text(right + 10, y + 4, f"{row[field]:.1%}", "value"),
            svg.text(right + 54, y + 4, f"{100 * first:.1f} to {100 * last:.1f}", "tick"),
        ]
    bottom = _TOP + len(rows) * _ROW
    head = svg.text(0 if named else left, 16, title, "title")
    return Panel(title, alt, head + "".join(shapes), width, bottom + 20)


def domain(report: Mapping[str, Any], rung: str) -> tuple[float, float]:
    """Ends of the axis of accuracy or CER, the same for all rungs of that measure: steps of 15 points."""
    field = score_name(rung).lower()
    ends = [
        end
        for other in report["rungs"]
        if score_name(other).lower() == field
        for row in shown_rows(report, other).values()
        for end in row[f"{field}_interval"]
    ]
    return round_ends(0.0 if reads_lines(rung) else min(ends), max(ends))


def round_ends(low: float, high: float) -> tuple[float, float]:
    """Round ends of an axis of shares that holds both and has three equal parts."""
    step = next(step for step in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if 3 * step >= high - low)
    first = math.floor(low / step + 1e-9) * step
    if first + 3 * step < high - 1e-9:  # rounding down the low end has pushed the high one out
        return round_ends(first, max(high, first + 3.001 * step)) if step < 0.5 else (0.0, 1.5)
    return first, first + 3 * step


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name_of(framework)} {value}" for framework, value in values.items())


def _score_panel(report: Mapping[str, Any], rung: str, title: str, *, named: bool = True) -> Panel:
    rows, field = shown_rows(report, rung), score_name(rung).lower()
    low, high = domain(report, rung)
    said = {
        f: f"{r[field]:.1%} ({100 * r[f'{field}_interval'][0]:.1f} to {100 * r[f'{field}_interval'][1]:.1f})"
        for f, r in rows.items()
    }
    alt = f"{rung}, {title}: {_listed(said)}."
    return intervals(rows, field, title=title, alt=alt, low=low, high=high, named=named)


def _step_panel(report: Mapping[str, Any], rung: str, width: float, value_width: float = 56) -> Panel:
    values = {f: row["step_relative"] for f, row in shown_rows(report, rung).items()}
    every = [r["step_relative"] or 0 for other in report["rungs"] for r in shown_rows(report, other).values()]
    title = "Time of a step, PyTorch = 1"
    said = {f: ratio(value) for f, value in values.items()}
    return bars(
        values,
        ratio,
        title=title,
        alt=f"{rung}, {title}: {_listed(said)}.",
        most=max(every, default=1),
        reference=1,
        width=width,
        value_width=value_width,
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def ratio(value: float | None) -> str:
    """A multiple of PyTorch's time."""
    return "–" if value is None else f"{value:.2f} ×"


def seconds(value: float | None) -> str:
    """Seconds of training."""
    return "not reached" if value is None else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def megabytes(value: float | None) -> str:
    """Megabytes, 10^6 bytes."""
    return "–" if value is None else f"{value:,.0f} MB"


def panels(report: Mapping[str, Any], rung: str) -> list[Panel]:
    """The four figures of a rung: score, time of a step, time to the target, peak memory."""
    found, rows = report["rungs"][rung], shown_rows(report, rung)
    goal = f"Time to {found['budget']['target']:.0%} {score_name(rung)}"
    reached = {f: row["seconds_to_target"] for f, row in rows.items()}
    memory = {f: row["peak_memory_mb"] for f, row in rows.items()}
    better = "lower is better" if reads_lines(rung) else "higher is better"
    score = f"{_capital(score_name(rung))} with 95% interval, {better}"
    told = {f: seconds(value) for f, value in reached.items()}
    held = {f: megabytes(value) for f, value in memory.items()}
    return [
        _score_panel(report, rung, score),
        _step_panel(report, rung, 360, 62),
        bars(reached, seconds, title=goal, alt=f"{rung}, {goal}: {_listed(told)}.", value_width=78),
        bars(memory, megabytes, title="Peak memory", alt=f"{rung}, peak memory: {_listed(held)}.", value_width=72),
    ]


def figure(panel: Panel) -> str:
    """A panel as a picture of its own."""
    return svg.picture(panel.width, panel.height, panel.alt, panel.shapes, class_="chart")


# --- the overview: steps and score of every rung
def overview(report: Mapping[str, Any]) -> dict[str, Panel]:
    """For each rung, a panel with the time of a step on the left and the score on the right."""
    made = {}
    for rung, found in report["rungs"].items():
        what = longest_line(found, rung) or "one character"
        step = _step_panel(report, rung, 210)
        score = _score_panel(report, rung, f"{_capital(score_name(rung))}, 95% interval", named=False)
        head = svg.text(0, 15, rung, "rung") + svg.text(12 + 8.4 * len(rung), 15, what, "tick")
        shapes = head + svg.group(0, 20, step.shapes) + svg.group(_OVERVIEW - score.width, 20, score.shapes)
        alt = f"{step.alt} {score.alt}".replace(f"{rung}, ", f"{rung}, {what}: ", 1)
        made[rung] = Panel(rung, alt, shapes, _OVERVIEW, step.height + 24)
    return made


_LIGHT = {
    "ground": "#ffffff",
    "text": "#1f2328",
    "soft": "#59636e",
    "grid": "#d9dee3",
    "numpy": "#0072b2",
    "pytorch": "#c14f00",
    "keras": "#9c4f83",
    "jax": "#007a5a",
    "other": "#6b6b00",
}
_DARK = {
    "ground": "#0d1117",
    "text": "#f0f6fc",
    "soft": "#9198a1",
    "grid": "#30363d",
    "numpy": "#56b4e9",
    "pytorch": "#f28a3c",
    "keras": "#d98fc0",
    "jax": "#2fc296",
    "other": "#d8cf45",
}


def _style(colours: Mapping[str, str]) -> str:
    series = "".join(
        f".bar.{name},.mark.{name}{{fill:{colours[name]}}}.whisker.{name}{{stroke:{colours[name]}}}"
        for name in (*NAMES, "other")
    )
    return (
        f".ground{{fill:{colours['ground']};stroke:{colours['grid']}}}text{{fill:{colours['text']}}}"
        f"text.tick{{fill:{colours['soft']}}}.grid{{stroke:{colours['grid']}}}"
        f".reference{{stroke:{colours['soft']}}}{series}"
    )


def committed(report: Mapping[str, Any]) -> str:
    """The file that README shows: all rungs on a ground of its own, light or dark as the reader's system is."""
    made = overview(report)
    columns, apart, edge, head = 2, 36.0, 20.0, 34.0
    width = 2 * edge + columns * _OVERVIEW + apart
    high = max(panel.height for panel in made.values())
    rows = -(-len(made) // columns)
    height = edge + head + rows * (high + 14) + 4
    style = (
        "text{font-family:-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px}"
        "text.rung{font-size:14px;font-weight:700}text.title,text.value{font-weight:600}text.tick{font-size:11px}"
        ".grid{stroke-width:1}.reference{stroke-width:1.2;stroke-dasharray:3 3}.whisker{stroke-width:2}"
        f"{_style(_LIGHT)}@media(prefers-color-scheme:dark){{{_style(_DARK)}}}"
    )
    shapes = [
        svg.rect(0.5, 0.5, width - 1, height - 1, "ground", 8),
        svg.text(edge, edge + 8, caption(report), "tick"),
    ]
    for i, panel in enumerate(made.values()):
        x, y = edge + (i % columns) * (_OVERVIEW + apart), edge + head + (i // columns) * (high + 14)
        shapes.append(svg.group(x, y, panel.shapes))
    alt = " ".join(panel.alt for panel in made.values())
    return svg.picture(width, height, alt, *shapes, head=svg.tag("style", style)) + "\n"


def on_gpu(report: Mapping[str, Any]) -> bool:
    """Whether the report's trainings ran on a GPU."""
    return any("--device gpu" in command for command in report["commands"])


def caption(report: Mapping[str, Any]) -> str:
    """Tier, day and machine of the report, in a line."""
    machine = report["machine"]
    gpu = "" if on_gpu(report) else ", no GPU"
    keras = " Keras runs on TensorFlow." if "tensorflow" in report["versions"] else ""
    return (
        f"fourhands compare, {report['settings']['tier']} tier, {report['written'][:10]}, {machine['processor']}, "
        f"{machine['cores']} cores{gpu}.{keras} Bars: shorter is faster. Accuracy: higher is better. "
        "CER: lower is better."
    )
