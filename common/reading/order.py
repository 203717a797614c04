"""The order in which the lines of a page are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from common.data.xml_pages import Points

# lines that a column needs beside another column: with fewer, a date beside an address would be a column
_LEAST_LINES = 3
# part of the distance between lines: lines of one column that differ by less in height are pieces of one row
_SAME_ROW = 0.5


class HasBaseline(Protocol):
    """A line of a page, such as `FoundLine` and `TextLine`."""

    @property
    def baseline(self) -> Points: ...


def reading_order(lines: Sequence[HasBaseline]) -> list[int]:
    """The indices of the lines in the order in which they are read.

    The rule, for a page that has been turned level by the median direction of its lines:

    1. A *gutter* is a height range and an x that no line in the range crosses, with at least three lines beside each
       other on both sides. The gutter with the most lines divides the page: first the lines above the range, then the
       lines to the left, then those to the right, then the lines below. Each part is divided in the same way.
       So a heading across two columns comes first, and the left page of a spread comes before the right page.
    2. Without a gutter, lines are read from top to bottom. Lines whose heights differ by less than half a line are
       pieces of one row. They are read from left to right.
    """
    if len(lines) < 2:
        return list(range(len(lines)))
    left, right, y = _level(lines)
    distance = line_distance(lines)
    return _ordered(np.arange(len(lines)), left, right, y, distance)


def line_distance(lines: Sequence[HasBaseline]) -> float:
    """The median distance from a line to the next line below it, pixels; 0 if no line is below another."""
    if len(lines) < 2:
        return 0.0
    left, right, y = _level(lines)
    overlap = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    shorter = np.minimum((right - left)[:, None], right - left)
    below = np.where(overlap > 0.3 * shorter, y - y[:, None], -1.0)
    # less than this are two pieces of one row
    nearest = np.where(below > 2.0, below, np.inf).min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.median(nearest)) if len(nearest) else 0.0


def _level(lines: Sequence[HasBaseline]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left end, right end and mean height of each line, on a page that is turned until the median line is level."""
    ends = np.array([(line.baseline[0], line.baseline[-1]) for line in lines])
    along = ends[:, 1] - ends[:, 0]
    along *= np.where(along[:, :1] < 0, -1, 1)  # drawn from right to left
    slopes, lengths = np.arctan2(along[:, 1], along[:, 0]), np.linalg.norm(along, axis=1)
    order = np.argsort(slopes)
    turned = float(slopes[order][np.searchsorted(np.cumsum(lengths[order]), lengths.sum() / 2)])
    cos, sin = np.cos(turned), np.sin(turned)
    x = ends[..., 0] * cos + ends[..., 1] * sin
    y = np.array([(line.baseline[:, 1] * cos - line.baseline[:, 0] * sin).mean() for line in lines])
    return x.min(axis=1), x.max(axis=1), y


def _ordered(chosen: np.ndarray, left: np.ndarray, right: np.ndarray, y: np.ndarray, distance: float) -> list[int]:
    chosen = chosen[np.argsort(y[chosen], kind="stable")]
    gutter = _gutter(left[chosen], right[chosen], y[chosen], distance)
    if gutter is None:
        return _rows(chosen, left, y, distance)
    first, last, x = gutter
    inside = chosen[first:last]
    on_left = right[inside] <= x
    parts = (chosen[:first], inside[on_left], inside[~on_left], chosen[last:])
    return [i for part in parts if len(part) for i in _ordered(part, left, right, y, distance)]


def _gutter(left: np.ndarray, right: np.ndarray, y: np.ndarray, distance: float) -> tuple[int, int, float] | None:
    """The range of lines (ordered by height) that a gutter divides, and the gutter's x."""
    best, most = None, 0
    for x in np.unique(right):
        on_left, on_right = right <= x, left >= x
        crosses = ~(on_left | on_right)
        edges = np.flatnonzero(np.diff(crosses.astype(np.int8), prepend=1, append=1))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            beside = _beside(y[first:last], on_left[first:last], distance)
            # of equal gutters the one with the most room on its right: the columns on the left are then kept whole
            if beside >= _LEAST_LINES and beside > most:
                best, most = (int(first), int(last), float(x)), beside
    return best


def _beside(y: np.ndarray, on_left: np.ndarray, distance: float) -> int:
    """Lines that are beside a line of the other side: the smaller count of the two sides."""
    if on_left.all() or not on_left.any():
        return 0
    top = max(y[on_left].min(), y[~on_left].min())
    bottom = min(y[on_left].max(), y[~on_left].max())
    # rows of two columns are seldom at the same heights
    within = (y >= top - distance / 2) & (y <= bottom + distance / 2)
    return int(min((within & on_left).sum(), (within & ~on_left).sum()))


def _rows(chosen: np.ndarray, left: np.ndarray, y: np.ndarray, distance: float) -> list[int]:
    """Lines of one column, from top to bottom; pieces of one row from left to right."""
    rows: list[list[int]] = []
    for i in chosen:
        if rows and y[i] - np.mean(y[rows[-1]]) < _SAME_ROW * distance:
            rows[-1].append(int(i))
        else:
            rows.append([int(i)])
    return [i for row in rows for i in sorted(row, key=lambda i: left[i])]
