"""What a finder of lines learns to show: maps drawn from the true lines of a page.

Map 0, the **core**: the band that the small letters fill. Per line, it is a band along the baseline, moved up by
`RISE` of the line's distance to its neighbours, and `THICKNESS` of that distance thick. The bands of neighbouring lines
are thus always apart. The lower edge of the band is the baseline, less 0.02 of the distance.

Map 1, the **ends**: a bar at either end of each line, just outside the band, `END_WIDTH` of the distance wide and
`END_HEIGHT` of it high. It separates lines of one height in neighbouring columns, and shows where a line stops.

The distance is a line's own: that to the nearest line above or below it. A page may have parts of different size.
"""

# N lines, H height, W width, h and w half of them, M maps; a point is (x, y) in pixels, from the upper left corner

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from common.data.xml_pages import Points

CORE, ENDS = 0, 1
"""Indices of the maps."""
NUM_MAPS = 2
RISE, THICKNESS = 0.17, 0.3
"""Middle of the core above the baseline, and its thickness, in distances between lines."""
END_WIDTH, END_HEIGHT = 0.3, 0.6
"""Size of the bar at an end, in distances between lines."""
_LEAST, _MOST = 0.6, 1.3  # a line's distance in medians of the page: a heading far from the text is not a large one
_OVERLAP = 0.3  # two lines are neighbours if they overlap in this share of the shorter one
_LEAST_THICKNESS = 3.0  # pixels: a thinner band could have gaps at half the resolution
# greatest distance in heights of an outline, which is usually 1.3: on a page of few lines they may lie far apart
_MOST_HEIGHTS = 1.5


def rightwards(baseline: Points) -> Points:
    """The baseline, from left to right."""
    return baseline[::-1] if baseline[-1, 0] < baseline[0, 0] else baseline


def line_distances(baselines: Sequence[Points], outlines: Sequence[Points]) -> Float[np.ndarray, "N"]:
    """Distance of each line to the nearest line above or below it, in pixels.

    It is at most 1.5 times the height of the line's outline, and has this value for a line without a neighbour. No line
    has less than 0.6 or more than 1.3 times the median of its page.

    Args:
        baselines: two or more points each.
        outlines: the lines' polygons.
    """
    number = len(baselines)
    if not number:
        return np.zeros(0)
    lines = [rightwards(np.asarray(line, dtype=np.float64)) for line in baselines]
    left_N, right_N = (np.array([line[end, 0] for line in lines]) for end in (0, -1))
    distance_N = np.full(number, np.nan)
    for i in range(number):
        start_N, end_N = np.maximum(left_N[i], left_N), np.minimum(right_N[i], right_N)
        shorter_N = np.minimum(right_N[i] - left_N[i], right_N - left_N)
        near = [j for j in np.flatnonzero(end_N - start_N > _OVERLAP * shorter_N) if j != i]
        gaps = [
            abs(_height_at(lines[i], x) - _height_at(lines[j], x)) for j in near for x in [(start_N[j] + end_N[j]) / 2]
        ]
        gaps = [gap for gap in gaps if gap > 1]
        if gaps:
            distance_N[i] = min(gaps)
    most_N = _MOST_HEIGHTS * np.array([_outline_height(outline) for outline in outlines])
    distance_N = np.fmin(distance_N, most_N)  # fmin: the other one where there is no neighbour
    median = float(np.median(distance_N))
    clipped_N: Float[np.ndarray, "N"] = np.clip(distance_N, _LEAST * median, _MOST * median)
    return clipped_N


def _height_at(baseline: Points, x: float) -> float:
    return float(np.interp(x, baseline[:, 0], baseline[:, 1]))


def _outline_height(outline: Points) -> float:
    """Mean height of an outline across its length, which is its area by its longer side; robust to a slope."""
    x, y = outline.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return max(2.0, area / max(float(np.ptp(outline, axis=0).max()), 1.0))


def draw_targets(
    size: tuple[int, int], baselines: Sequence[Points], distances_N: Float[np.ndarray, "N"]
) -> UInt8[np.ndarray, "h w M"]:
    """Draw the maps of a page, 1 or 0, at half its resolution.

    Args:
        size: rows and columns of the page image, pixels.
        baselines: the lines' baselines, in pixels of the page image.
        distances_N: distance of each line to its neighbours, pixels.
    """
    # drawn at full resolution: at half of it, the rounding of corners would change the thickness by a third
    rows, columns = size[0] + size[0] % 2, size[1] + size[1] % 2
    drawn = [Image.new("L", (columns, rows)) for _ in range(NUM_MAPS)]
    core, ends = (ImageDraw.Draw(image) for image in drawn)
    for baseline, distance in zip(baselines, distances_N.tolist(), strict=True):
        line = rightwards(baseline)
        along = line[-1] - line[0]
        along = along / max(float(np.linalg.norm(along)), 1e-9)
        up = np.array([along[1], -along[0]])
        middle = line + RISE * distance * up
        half = max(THICKNESS * distance, _LEAST_THICKNESS) / 2 * up
        _fill(core, np.concatenate([middle + half, (middle - half)[::-1]]))
        reach, tall = END_WIDTH * distance * along, END_HEIGHT * distance / 2 * up
        for point, outwards in ((middle[0], -reach), (middle[-1], reach)):
            _fill(ends, np.array([point + tall, point + tall + outwards, point - tall + outwards, point - tall]))
    maps = [
        np.asarray(image).reshape(rows // 2, 2, columns // 2, 2).sum(axis=(1, 3), dtype=np.uint8) for image in drawn
    ]
    return (np.stack(maps, axis=-1) >= 2).astype(np.uint8)


def draw_known(size: tuple[int, int], unknown: Sequence[Points]) -> UInt8[np.ndarray, "h w"]:
    """1 where the truth is known, 0 within the polygons, at half the resolution.

    Args:
        size: rows and columns of the page image, pixels.
        unknown: polygons, in pixels of the page image.
    """
    known = Image.new("L", (-(-size[1] // 2), -(-size[0] // 2)), 1)
    draw = ImageDraw.Draw(known)
    for polygon in unknown:
        draw.polygon([(x / 2, y / 2) for x, y in polygon.tolist()], fill=0)
    return np.array(known)


def _fill(draw: ImageDraw.ImageDraw, polygon: Points) -> None:
    # pixel i covers [i, i + 1), and Pillow draws pixel i for corners near i
    draw.polygon([(x - 0.5, y - 0.5) for x, y in polygon.tolist()], fill=1)
