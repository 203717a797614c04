"""Charts of drift as SVG, without style attributes: the content security policy of the service refuses those.

Colours come from the style sheet, by classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 8, 10, 30


def histogram(row: Mapping[str, Any]) -> str:
    """Two bars for each bin of a sign: its share in the profile, and in the window."""
    edges, before, now = (row["histogram"][name] for name in ("edges", "before", "now"))
    most = max(*before, *now, 0.1)
    step = (WIDTH - _LEFT - _RIGHT) / len(before)
    parts = [_axis(most, percent=True)]
    for i, shares in enumerate(zip(before, now, strict=True)):
        for k, (share, kind) in enumerate(zip(shares, ("before", "now"), strict=True)):
            height = (HEIGHT - _TOP - _BOTTOM) * share / most
            x, y = _LEFT + step * (i + 0.1 + 0.4 * k), HEIGHT - _BOTTOM - height
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{0.4 * step:.1f}" height="{height:.1f}"/>'
            )
    every = max(1, round(len(edges) / 4))
    for i in range(0, len(edges), every):
        parts.append(_text(_LEFT + step * (i + 1), HEIGHT - _BOTTOM + 13, f"{edges[i]:.3g}", "middle"))
    unit = row["unit"]
    parts.append(_text((_LEFT + WIDTH) / 2, HEIGHT - 3, f"{row['title']}{f', {unit}' if unit else ''}", "middle"))
    label = f"{row['title']}: shares in ten bins, in the profile and now; mean {row['before']:.3g} and {row['now']:.3g}"
    return _svg(label, parts)


def reliability_chart(calibration: Mapping[str, Any]) -> str:
    """Accuracy by confidence on held-out writers, as the reader gives it and calibrated; the diagonal is perfect."""
    bins = calibration["reliability"]
    low = min(0.9, *(min(each["confidence"], each["accuracy"], each["calibrated"]) for each in bins))
    low = int(low * 10) / 10

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (WIDTH - _LEFT - _RIGHT) * (x - low) / (1 - low),
            HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (y - low) / (1 - low),
        )

    parts = []
    for tick in _ticks(low):
        x, y = at(tick, tick)
        parts.append(_text(_LEFT - 4, y + 3, f"{tick:.0%}", "end"))
        parts.append(_text(x, HEIGHT - _BOTTOM + 13, f"{tick:.0%}", "middle"))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    (x1, y1), (x2, y2) = at(low, low), at(1, 1)
    parts.append(f'<line class="diagonal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for name, kind in (("confidence", "before"), ("calibrated", "now")):
        points = [at(each[name], each["accuracy"]) for each in bins]
        parts.append(_line(points, kind))
        parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    parts.append(_text((_LEFT + WIDTH) / 2, HEIGHT - 3, "confidence", "middle"))
    return _svg("Accuracy by confidence on held-out writers, before and after calibration", parts)


def history_chart(values: Sequence[tuple[float, float, float]]) -> str:
    """The estimated CER of the last looks, with its interval: (estimate, low, high) each."""
    most = max([0.05, *(high for _, _, high in values)])
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(values) - 1)

    def points(k: int) -> list[tuple[float, float]]:
        return [
            (_LEFT + step * i, HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * each[k] / most)
            for i, each in enumerate(values)
        ]

    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*points(1), *reversed(points(2))])
    parts = [_axis(most, percent=True), f'<polygon class="band" points="{band}"/>', _line(points(0), "now")]
    parts.append(_text((_LEFT + WIDTH) / 2, HEIGHT - 3, f"last {len(values)} looks", "middle"))
    return _svg("Estimated CER of the last looks with its interval", parts)


def _axis(most: float, *, percent: bool) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        value = most * share
        parts.append(_text(_LEFT - 4, y + 3, f"{value:.0%}" if percent else f"{value:.3g}", "end"))
    return "".join(parts)


def _ticks(low: float) -> list[float]:
    step = 0.02 if low >= 0.9 else 0.05 if low >= 0.75 else 0.1 if low >= 0.5 else 0.2
    return [1 - step * i for i in range(int((1 - low) / step + 1e-9) + 1)]


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" fill="none" points="{joined}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(label: str, parts: Sequence[str]) -> str:
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
