"""Outlines of lines: polygons that follow the ink of a line and keep out the ink of its neighbours.

A polygon has an upper and a lower seam. A seam is the cheapest path along the line. Ink under the path costs, and so
does every row between the path and the baseline. A seam therefore goes around an ascender of its own line. It cuts off
a descender of the line above, because the way around it is long.

Source: after Surinta et al. 2014, "A* path planning for line segmentation of handwritten documents", with dynamic
programming instead of A*.
"""

# H, W page image; L lines; X samples along a line; V rows above or below a baseline

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from common.data.xml_pages import Points

# all in parts of the line distance
_UP, _UP_LEAST = 0.9, 0.2  # the upper seam is this far above the baseline, at most and at least
_DOWN, _DOWN_LEAST = 0.5, 0.04
_NEIGHBOUR_ABOVE, _NEIGHBOUR_BELOW = 0.0, 0.25  # no seam comes closer to the baseline of a neighbour
_PAST_ENDS = 0.06
_DARK = 2.0  # ink counts as black if it is darker than this part of black
_STEP = 2  # pixels between samples along a line
# cost of one sample of a seam, where black ink costs 1
_FAR = 0.01  # per line distance between the seam and the baseline
_BEND = 0.02  # per row that the seam rises or falls


def outlines(baselines: Sequence[Points], image_HW: UInt8[np.ndarray, "H W"], distance: float) -> list[Points]:
    """The outline of each line.

    Args:
        baselines: from left to right, in pixels of the page image.
        image_HW: ink 255 on paper 0.
        distance: the distance between lines, pixels of the page image.
    """
    if not baselines:
        return []
    x_LX, y_LX, counts = _samples(baselines, distance, image_HW.shape[1])
    above_LX, below_LX = _neighbours(baselines, x_LX, y_LX)
    up = np.arange(round(_UP_LEAST * distance), max(2, round(_UP * distance)) + 1)
    down = np.arange(round(_DOWN_LEAST * distance), max(2, round(_DOWN * distance)) + 1)
    upper_LX = y_LX - _seams(image_HW, x_LX, y_LX, -up, above_LX - _NEIGHBOUR_ABOVE * distance, distance)
    lower_LX = y_LX + _seams(image_HW, x_LX, y_LX, down, below_LX - _NEIGHBOUR_BELOW * distance, distance)
    limit = np.array(image_HW.shape[::-1]) - 1
    found = []
    for x, upper, lower, count in zip(x_LX, upper_LX, lower_LX, counts, strict=True):
        top = simplified(np.stack([x, upper], axis=1)[:count])
        bottom = simplified(np.stack([x, lower], axis=1)[:count])
        found.append(np.clip(np.concatenate([top, bottom[::-1]]), 0, limit))
    return found


def _samples(baselines: Sequence[Points], distance: float, width: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Points of each line at equal steps, and their number; a shorter line repeats its last point."""
    ranges = []
    for baseline in baselines:
        left, right = baseline[0, 0] - _PAST_ENDS * distance, baseline[-1, 0] + _PAST_ENDS * distance
        left, right = np.clip((left, right), 0, width - 1)
        ranges.append(np.linspace(left, right, max(2, round((right - left) / _STEP) + 1)))
    counts = [len(x) for x in ranges]
    x_LX = np.array([np.pad(x, (0, max(counts) - len(x)), mode="edge") for x in ranges])
    y_LX = np.array([np.interp(x, *baseline.T) for x, baseline in zip(x_LX, baselines, strict=True)])
    return x_LX, y_LX, counts


def _neighbours(baselines: Sequence[Points], x_LX: np.ndarray, y_LX: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows from each point up to the next baseline above it, and down to the next one below; infinite without one."""
    above_LX, below_LX = np.full_like(y_LX, np.inf), np.full_like(y_LX, np.inf)
    for i, baseline in enumerate(baselines):
        x, y = baseline.T
        y = np.interp(x_LX, x, y, left=np.nan, right=np.nan)
        y[i] = np.nan
        below = y - y_LX
        below_LX = np.fmin(below_LX, np.where(below > 0, below, np.nan))
        above_LX = np.fmin(above_LX, np.where(below < 0, -below, np.nan))
    return above_LX, below_LX


def _seams(
    image_HW: UInt8[np.ndarray, "H W"],
    x_LX: Float[np.ndarray, "L X"],
    y_LX: Float[np.ndarray, "L X"],
    offsets_V: np.ndarray,
    most_LX: Float[np.ndarray, "L X"],
    distance: float,
) -> Float[np.ndarray, "L X"]:
    """Rows between the baseline and the cheapest seam, at each point of each line."""
    height, width = image_HW.shape
    rows = np.rint(y_LX)[..., None].astype(np.int64) + offsets_V
    columns = np.clip(np.rint(x_LX).astype(np.int64), 0, width - 1)[..., None]
    cost_LXV = np.minimum(image_HW[np.clip(rows, 0, height - 1), columns] * np.float32(_DARK / 255), 1)
    away_V = np.abs(offsets_V).astype(np.float32)
    cost_LXV += _FAR / distance * away_V
    cost_LXV += 4 * (away_V > most_LX[..., None])
    bend_V = np.float32(_BEND) * np.arange(len(away_V), dtype=np.float32)
    total = np.zeros((len(x_LX), len(away_V)), np.float32)
    totals = []
    for x in range(x_LX.shape[1]):
        # the least of total[u] + bend · |u - v| over all u, for each v
        totals.append(total)
        rising = np.minimum.accumulate(total - bend_V, axis=1) + bend_V
        falling = np.minimum.accumulate((total + bend_V)[:, ::-1], axis=1)[:, ::-1] - bend_V
        total = np.minimum(rising, falling) + cost_LXV[:, x]
    v_L = total.argmin(axis=1)
    seam_LX = np.empty(x_LX.shape)
    steps_VV = np.abs(bend_V[:, None] - bend_V)
    for x in reversed(range(x_LX.shape[1])):
        seam_LX[:, x] = away_V[v_L]
        v_L = (totals[x] + steps_VV[v_L]).argmin(axis=1)
    return seam_LX


def simplified(points: Points, tolerance: float = 0.75) -> Points:
    """The polyline with fewer corners, nowhere further from the original than `tolerance`.

    Source: Douglas & Peucker 1973.
    """
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    waiting = [(0, len(points) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        along = points[last] - points[first]
        aside = points[first + 1 : last] - points[first]
        far = np.abs(along[0] * aside[:, 1] - along[1] * aside[:, 0]) / max(float(np.hypot(*along)), 1e-9)
        k = int(far.argmax())
        if far[k] > tolerance:
            middle = first + 1 + k
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    return points[kept]
