"""Find the lines of a page: scores to baselines and outlines, in reading order."""

# h, w rows and columns of the maps, half of H, W of the page image; M maps; X columns of a line

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Float, UInt8

from common.data.xml_pages import Points
from common.reading.order import reading_order
from common.reading.tracks import Track, tracks_of
from common.recognizer import Recognizer
from common.spec import UNetSpec

CORE_LIFT, CORE_THICKNESS = 0.17, 0.3
"""The first map shows the core of a line: its baseline moved up, and a thickness; parts of the line distance."""
# parts of the line distance: two tracks on one height are one line if the gap between them is smaller, and if both,
# prolonged to the middle of the gap, meet within the second number
_MOST_GAP, _MOST_STEP = 1.5, 0.3
# parts of the line distance: the least length of a line
_LEAST_LENGTH = 0.7


@dataclass(frozen=True, kw_only=True)
class FoundLine:
    """A line that was found on a page."""

    baseline: Points
    """Polyline under its letters, from left to right."""
    outline: Points
    """Polygon around its ink, between the neighbouring lines."""
    score: float
    """Mean score of its core, 0 to 1."""


def find_lines(finder: Recognizer, picture_HW: UInt8[np.ndarray, "H W"]) -> list[FoundLine]:
    """The lines of a page in reading order; empty if there is no writing.

    Args:
        finder: a trained `unet`.
        picture_HW: the page as it was loaded, dark ink on light paper.

    Returns:
        Lines in pixels of the picture.
    """
    from common.data.page_image import page_image

    spec = cast(UNetSpec, finder.spec)
    image_HW, scale = page_image(picture_HW, spec.side)
    lines = lines_of_scores(page_scores(finder, image_HW), image_HW)
    lines = [replace(line, baseline=line.baseline / scale, outline=line.outline / scale) for line in lines]
    return [lines[i] for i in reading_order(lines)]


def page_scores(finder: Recognizer, image_HW: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "h w M"]:
    """The finder's scores of a page image, 0 to 1, at half its resolution."""
    multiple = cast(UNetSpec, finder.spec).multiple
    rows, columns = image_HW.shape
    padded_HW = np.pad(image_HW, ((0, -rows % multiple), (0, -columns % multiple)))
    images_BHW1 = (padded_HW.astype(np.float32) / np.float32(255))[None, ..., None]
    logits_BhwM = finder.logits(images_BHW1, np.array([[rows, columns]], np.int32))
    logits_hwM = logits_BhwM[0, : -(-rows // 2), : -(-columns // 2)]
    return 1 / (1 + np.exp(-np.clip(logits_hwM, -30, 30)))


def lines_of_scores(scores_hwM: Float[np.ndarray, "h w M"], image_HW: UInt8[np.ndarray, "H W"]) -> list[FoundLine]:
    """The lines of a page from the finder's scores, in no particular order.

    Args:
        scores_hwM: 0 to 1, at half the resolution of the page image. The first map shows the cores of the lines.
        image_HW: the page image, ink 255 on paper 0.

    Returns:
        Lines in pixels of the page image.
    """
    tracks = tracks_of(scores_hwM[..., 0])
    distance = track_distance(tracks)
    if distance == 0:
        return []
    pieces = [track for track in tracks if len(track.rows_X) >= 0.25 * distance]
    lines = []
    for line in joined(pieces, distance):
        if sum(len(track.rows_X) for track in line) < _LEAST_LENGTH * distance:
            continue
        columns_X = np.concatenate([track.columns_X for track in line])
        rows_X = np.concatenate([track.rows_X for track in line])
        scores_X = np.concatenate([track.scores_X for track in line])
        lines.append((columns_X, rows_X, float(scores_X.mean())))
    return [
        FoundLine(
            baseline=(baseline := _baseline(columns_X, rows_X, distance)),
            outline=np.concatenate([baseline - (0, 1.4 * distance), (baseline + (0, 0.6 * distance))[::-1]]),
            score=score,
        )
        for columns_X, rows_X, score in lines
    ]


def track_distance(tracks: Sequence[Track]) -> float:
    """The median distance between lines, in rows of the map; 0 if there are no tracks.

    It is the median distance from a core to the next core below it, over all columns. A page with few lines has little
    to measure. The distance then follows from the thickness of the cores.
    """
    if not tracks:
        return 0.0
    thickness = float(np.median(np.concatenate([track.thickness_X for track in tracks])))
    by_thickness = max(thickness / CORE_THICKNESS, 4.0)
    long = [track for track in tracks if len(track.rows_X) >= by_thickness]
    if not long:
        return by_thickness
    columns = np.concatenate([track.columns_X for track in long])
    rows = np.concatenate([track.rows_X for track in long])
    order = np.lexsort((rows, columns))
    steps = np.diff(rows[order])[np.diff(columns[order]) == 0]
    if len(steps) < 0.5 * max(len(track.rows_X) for track in long):
        return by_thickness
    return float(np.clip(np.median(steps), by_thickness / 2, 2 * by_thickness))


def joined(tracks: Sequence[Track], distance: float) -> list[list[Track]]:
    """Join tracks that continue each other across a gap. Each line is a list of tracks from left to right.

    Of all pairs, those with the smallest gap and step are joined first. A track is joined at most once at each end.
    """
    ends = [_ends(track, distance) for track in tracks]
    pairs = []
    for i, a in enumerate(tracks):
        for j, b in enumerate(tracks):
            gap = b.first - a.end
            if i == j or not -0.3 * distance < gap < _MOST_GAP * distance or b.end <= a.end or b.first <= a.first:
                continue
            (row_a, slope_a), (row_b, slope_b) = ends[i][1], ends[j][0]
            step = abs(row_a + slope_a * gap / 2 - row_b + slope_b * gap / 2)
            if step < _MOST_STEP * distance:
                pairs.append((step / distance + 0.3 * max(gap, 0) / distance, i, j))
    after: dict[int, int] = {}
    before: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in after and j not in before:
            after[i], before[j] = j, i
    lines = []
    for i in range(len(tracks)):
        if i not in before:
            line = [i]
            while line[-1] in after:
                line.append(after[line[-1]])
            lines.append([tracks[k] for k in line])
    return lines


def _ends(track: Track, distance: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Row and slope at the left end and at the right end, from the columns within two line distances of the end."""
    reach = max(2, round(2 * distance))
    result = []
    for rows, at in ((track.rows_X[:reach], 0), (track.rows_X[-reach:], -1)):
        x = np.arange(len(rows)) - (len(rows) - 1) / 2
        # a short piece has no reliable direction
        slope = float(x @ rows / (x @ x)) if len(rows) >= distance else 0.0
        result.append((float(rows.mean() + slope * x[at]), slope))
    return result[0], result[1]


def _baseline(columns_X: np.ndarray, rows_X: np.ndarray, distance: float) -> Points:
    """The baseline in pixels of the page image: a polyline with a corner per line distance."""
    knots = max(2, round(float(np.ptp(columns_X)) / (1.5 * distance)) + 1)
    x = np.linspace(columns_X.min(), columns_X.max() + 1, knots)
    reach = 0.75 * distance
    y = np.array([np.median(rows_X[np.argsort(np.abs(columns_X - at))[: max(3, round(2 * reach))]]) for at in x])
    return np.stack([2 * x, 2 * (y + CORE_LIFT * distance) + 0.5], axis=1)
