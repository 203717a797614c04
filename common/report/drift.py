"""The figures of a window of pictures that is compared with a profile, for JSON, text and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.evaluation.alarms import alarms_of
from common.evaluation.calibration import SHARE, Calibration, estimate
from common.evaluation.drift import ALPHA, LARGE, LOOKS, judge
from common.evaluation.profile import Measured, Profile, counts_in
from common.evaluation.signs import SIGNS, PageSigns
from common.formatting import percent
from common.report.drift_charts import histogram, reliability_chart


def drift_figures(profile: Profile, pages: Sequence[PageSigns], *, alpha: float = ALPHA / LOOKS) -> dict[str, Any]:
    """Compare pictures with a profile.

    Args:
        profile: of the reader's validation split.
        pages: the signs of the pictures.
        alpha: probability of any false alarm.

    Returns:
        `profile`, what it was made of; `pictures` and `lines`; `enough`, whether there are enough lines; `signs`, a row
        for each sign; `alarms`; `cer`, the estimate with its interval, or None; and `calibration`, or None.
    """
    now = Measured.of(pages)
    judgement = judge(profile, now, alpha=alpha)
    calibration = Calibration.from_json(profile.calibration)
    found = estimate(calibration, pages) if calibration else None
    return {
        "profile": {name: getattr(profile, name) for name in ("reader", "data", "pages", "lines", "writers", "window")},
        "pictures": judgement.pictures,
        "lines": judgement.lines,
        "enough": judgement.enough,
        "alpha": alpha,
        "signs": [_row(profile, now, asdict(finding)) for finding in judgement.findings],
        "alarms": [asdict(alarm) for alarm in alarms_of(judgement)],
        "cer": None if found is None else asdict(found) | {"share": SHARE},
        "calibration": None if calibration is None else calibration.as_json(),
    }


def _row(profile: Profile, measured: Measured, finding: dict[str, Any]) -> dict[str, Any]:
    name = finding["sign"]
    if name not in profile.signs:
        return finding | {"unit": "", "histogram": None}
    sign, values_N = profile.signs[name], measured.values[name]
    counts = counts_in(values_N, sign.edges)
    now = (counts / max(1, len(values_N))).tolist()
    histogram_ = {"edges": list(sign.edges), "before": list(sign.shares), "now": now}
    return finding | {"unit": SIGNS[name].unit, "histogram": histogram_}


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """The figures in words, a sentence each."""
    profile = figures["profile"]
    said = [
        f"{figures['pictures']:,} pictures with {figures['lines']:,} lines, compared with {profile['lines']:,} lines "
        f"of {profile['pages']:,} pictures by {profile['writers']:,} writers ({profile['data'] or 'unknown data'})"
    ]
    if not figures["enough"]:
        said.append("too few lines were read to compare their signs; read more pictures")
    if figures["cer"]:
        cer = figures["cer"]
        said.append(
            f"estimated CER {percent(cer['cer'])} ({percent(cer['share'], 0)} interval {percent(cer['low'])} to "
            f"{percent(cer['high'])}), from the calibrated confidences alone"
        )
        if figures["alarms"]:
            said.append("the estimate assumes that nothing has drifted; the alarms below say that something has")
    if figures["alarms"]:
        said += [f"alarm {alarm['name']}: {alarm['sentence']}" for alarm in figures["alarms"]]
    elif figures["enough"]:
        said.append("no drift")
    return said


def charts(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The title and the SVG of each chart: the reliability diagram, then the signs with an alarm, then the others."""
    found = []
    if figures["calibration"] and figures["calibration"]["reliability"]:
        found.append(("Reliability on held-out writers", reliability_chart(figures["calibration"])))
    rows = sorted((row for row in figures["signs"] if row["histogram"]), key=lambda row: not row["alarm"])
    return found + [(row["title"], histogram(row)) for row in rows]


def render(figures: Mapping[str, Any], *, title: str, subject: str) -> str:
    """The report as one HTML file that needs no other."""
    return _filled("drift.html", figures, title=title, subject=subject, style=style())


def body(figures: Mapping[str, Any]) -> str:
    """The part of the report that the page of the service shows as well."""
    return _filled("drift_body.html", figures)


def style() -> str:
    """The style sheet."""
    return (Path(__file__).parent / "drift.css").read_text(encoding="utf-8")


def _filled(template: str, figures: Mapping[str, Any], **more: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": percent, "figure": figure, "p_value": p_value}
    drawn = [(name, Markup(svg)) for name, svg in charts(figures)]  # made here, from escaped texts
    if "style" in more:
        more["style"] = Markup(more["style"])
    return environment.get_template(template).render(figures=figures, charts=drawn, large=LARGE, **more)


def figure(value: float | None) -> str:
    """A number with three digits; a dash if there is none."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value; very small ones as a bound."""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
