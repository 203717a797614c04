"""Find lines without learning: projection profiles and paths of least ink. A yardstick for the finder.

1. The page is turned level: of a few angles, the one whose profile of the rows varies most.
2. Each peak of the smoothed profile is a line.
3. Between two neighbouring peaks, A* looks for the cheapest path from the left edge to the right edge.
4. The ink between two paths is a line. Its baseline is the height at which the ink ends, window by window.

Source: Surinta et al. 2014, "A* path planning for line segmentation of handwritten documents". The angle and the
baselines are additions: the paper does without them.
"""

# H, W rows and columns of the page image

from __future__ import annotations

import heapq
import itertools

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from common.data.page_image import page_image
from common.data.threshold import otsu
from common.data.xml_pages import Points
from common.reading.finding import FoundLine
from common.reading.outlines import simplified

_SIDE = 480  # the page is scaled to this number squared of pixels: A* takes time for each of them
_ANGLES = np.arange(-5, 5.01, 0.5)  # degrees
_LEAST_ROWS, _MOST_ROWS = 8, 80  # line distances that are looked for
_LEAST_PEAK = 0.15  # of the highest peak
_LEAST_LINE = 1.0  # length of a line, in line distances
_INK, _AWAY, _TURN = 40.0, 0.3, 0.4  # cost of a pixel of ink, of a row away from the middle, of a step to the side


def find_lines_by_projection(picture_HW: UInt8[np.ndarray, "H W"]) -> list[FoundLine]:
    """The lines of a page from top to bottom; empty if it has no ink.

    Args:
        picture_HW: the page as it was loaded.

    Returns:
        Lines in pixels of the picture. Columns are not told apart: a line reaches across all of them.
    """
    image_HW, scale = page_image(picture_HW, _SIDE)
    if int(image_HW.max()) < 24:
        return []
    ink_HW = image_HW > otsu(image_HW)
    angle = max(_ANGLES.tolist(), key=lambda angle: float(np.var(np.diff(_turned(ink_HW, angle).sum(axis=1)))))
    level_HW = _turned(ink_HW, angle)
    profile_H = level_HW.sum(axis=1, dtype=np.float64)
    distance = _distance(profile_H)
    peaks = _peaks(_smooth(profile_H, distance / 4), distance)
    seams = [np.zeros(level_HW.shape[1], np.int64)]
    seams += [_path(level_HW, above, below) for above, below in itertools.pairwise(peaks)]
    seams.append(np.full(level_HW.shape[1], len(level_HW)))
    lines = []
    for upper, lower in itertools.pairwise(seams):
        line = _line(level_HW, upper, lower, distance)
        if line is not None:
            baseline, outline = (_turned_back(points, angle, ink_HW.shape) / scale for points in line)
            lines.append(FoundLine(baseline=baseline, outline=outline, score=1.0))
    return lines


def _turned(ink_HW: Bool[np.ndarray, "H W"], angle: float) -> Bool[np.ndarray, "H W"]:
    picture = Image.fromarray(ink_HW.astype(np.uint8)).rotate(angle, Image.Resampling.NEAREST)
    return np.asarray(picture) > 0


def _turned_back(points: Points, angle: float, size: tuple[int, ...]) -> Points:
    middle = np.array([size[1], size[0]]) / 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    # y points down: a turn to the left on the picture is (x, y) → (x cos + y sin, -x sin + y cos)
    return (points - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle


def _smooth(profile_H: Float[np.ndarray, "H"], sigma: float) -> Float[np.ndarray, "H"]:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(profile_H, sigma, mode="constant")


def _distance(profile_H: Float[np.ndarray, "H"]) -> float:
    """The line distance: the first strong peak of the autocorrelation of the profile."""
    centred = _smooth(profile_H, 1.0) - _smooth(profile_H, _MOST_ROWS / 2)
    correlation = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    lags = np.arange(_LEAST_ROWS, min(_MOST_ROWS, len(correlation) - 1))
    if not len(lags):
        return float(_LEAST_ROWS)
    values = correlation[lags]
    is_peak = (values >= correlation[lags - 1]) & (values >= correlation[lags + 1])
    strong = is_peak & (values > 0.5 * values[is_peak].max(initial=0))
    return float(lags[strong][0] if strong.any() else lags[int(values.argmax())])


def _peaks(profile_H: Float[np.ndarray, "H"], distance: float) -> list[int]:
    from scipy.ndimage import maximum_filter1d

    highest = maximum_filter1d(profile_H, max(3, 2 * round(0.6 * distance / 2) + 1))
    return np.flatnonzero((profile_H == highest) & (profile_H > _LEAST_PEAK * profile_H.max())).tolist()


def _path(ink_HW: Bool[np.ndarray, "H W"], above: int, below: int) -> Int[np.ndarray, "W"]:
    """The cheapest path between two peaks, as a row for each column: A* over the pixels between them.

    A step leads to the next column, in the same row or one above or below. The estimate of the remaining cost is 1 for
    each remaining column, which is what a straight path over paper costs.
    """
    band_VW = ink_HW[above : below + 1]
    rows, columns = band_VW.shape
    middle = (rows - 1) / 2
    cost_VW = (1 + _INK * band_VW + _AWAY * np.abs(np.arange(rows) - middle)[:, None] / max(middle, 1)).tolist()
    start = (0.0, 0.0, round(middle), 0)
    best = [[float("inf")] * columns for _ in range(rows)]
    came = [[0] * columns for _ in range(rows)]
    waiting = [start]
    best[start[2]][0] = 0.0
    row = start[2]
    while waiting:
        _, cost, row, column = heapq.heappop(waiting)
        if cost > best[row][column]:
            continue
        if column == columns - 1:
            break
        for other in (row - 1, row, row + 1):
            if 0 <= other < rows:
                total = cost + cost_VW[other][column + 1] + (_TURN if other != row else 0.0)
                if total < best[other][column + 1]:
                    best[other][column + 1], came[other][column + 1] = total, row
                    heapq.heappush(waiting, (total + columns - 2 - column, total, other, column + 1))
    path = np.empty(columns, np.int64)
    for column in reversed(range(columns)):
        path[column] = above + row
        row = came[row][column]
    return path


def _line(
    ink_HW: Bool[np.ndarray, "H W"],
    upper_W: Int[np.ndarray, "W"],
    lower_W: Int[np.ndarray, "W"],
    distance: float,
) -> tuple[Points, Points] | None:
    """Baseline and outline of the ink between two paths; None if there is too little of it."""
    rows = np.arange(len(ink_HW))[:, None]
    own_HW = ink_HW & (rows >= upper_W) & (rows < lower_W)
    # specks far from other ink are no end of a line
    dense_W = _smooth(own_HW.sum(axis=0, dtype=np.float64), distance / 2) > 0.5
    columns = np.flatnonzero(own_HW.any(axis=0) & dense_W)
    if not len(columns) or columns[-1] - columns[0] < _LEAST_LINE * distance:
        return None
    left, right = int(columns[0]), int(columns[-1])
    edges = np.linspace(left, right + 1, max(2, round((right - left) / (3 * distance)) + 1)).astype(int)
    corners = []
    for first, last in itertools.pairwise(edges):
        part = own_HW[:, first:last]
        if part.any():
            # the lower end of the small letters: the ink of the rows falls fastest
            falls = -np.diff(_smooth(part.sum(axis=1, dtype=np.float64), distance / 10))
            corners.append(((first + last) / 2, float(falls.argmax())))
    points = np.array(corners)
    if len(points) > 2:  # one window with a long descender must not bend the line
        slope, start = np.polyfit(points[:, 0], points[:, 1], 1)
        straight = slope * points[:, 0] + start
        near = np.abs(points[:, 1] - straight) < 0.5 * distance
        points = points[near] if near.any() else np.stack([points[:, 0], straight], axis=1)
    x = np.array([left, *points[1:-1, 0], right], np.float64)
    baseline = np.stack([x, np.interp(x, *points.T)], axis=1)
    across = np.arange(left, right + 1)
    # the first and the last line reach to the edge of the page: an outline reaches one line distance at most
    y = np.interp(across, *baseline.T)
    top = np.maximum(upper_W[left : right + 1], y - distance)
    bottom = np.minimum(lower_W[left : right + 1], y + distance / 2)
    outline = np.concatenate(
        [simplified(np.stack([across, top], axis=1)), simplified(np.stack([across, bottom], axis=1))[::-1]]
    )
    return baseline, outline
