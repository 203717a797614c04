"""Find the lines of a page: scores to baselines and outlines, in reading order."""

# h, w rows and columns of the maps, half of H, W of the page image; M maps; X columns of a line

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Float, UInt8

from common.data.page_targets import CORE, ENDS, RISE, THICKNESS
from common.data.xml_pages import Points
from common.reading.order import reading_order
from common.reading.outlines import outlines
from common.reading.tracks import Track, tracks_of
from common.recognizer import Recognizer
from common.spec import UNetSpec

# parts of the line distance: two tracks on one height are one line if the gap between them is smaller, and if both,
# prolonged to the middle of the gap, meet within the second number
_LEAST_GAP, _MOST_GAP, _MOST_STEP = -0.3, 1.5, 0.3
# parts of the line distance: the least length of a line
_LEAST_LENGTH = 0.7
_LEAST_PIECE = 0.25  # of a track that is joined with others
_LEAST_SCORE = 0.4  # least mean score of a line
# of the mean score of the lines of the page. F1 over validation pages of copiste, wills, stanford: 0.989, 0.926
# and 0.841 with 0.7; 0.992, 0.932 and 0.841 with 0.8; 0.986, 0.930 and 0.818 with 0.9
_LEAST_PART = 0.8
# Least mean score of a page with writing. Measured with the finder that ships: 0.80 and more on 43 validation pages. Of
# 22 drawn textures, charts and photos, 18 have no line at all, and the others 0.76, 0.76, 0.80 and 0.81. A recognizer
# tells the last two, see `common.reading.upright`.
_LEAST_MEAN = 0.78
# least squares of a baseline are weighted anew this many times; columns further off than this count less
_REWEIGHTED, _BLOT = 3, 0.1
# tracks are not joined across a higher score of the map of ends
_MOST_END = 0.5


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
    if mean_score(lines) < _LEAST_MEAN:
        return []
    lines = [replace(line, baseline=line.baseline / scale, outline=line.outline / scale) for line in lines]
    return [lines[i] for i in reading_order(lines)]


def mean_score(lines: Sequence[FoundLine]) -> float:
    """The mean score of the lines of a page, weighted by their lengths; 0 without lines."""
    lengths = np.array([float(np.ptp(line.baseline[:, 0])) for line in lines])
    scores = np.array([line.score for line in lines])
    return float((lengths * scores).sum() / max(float(lengths.sum()), 1e-9))


def page_scores(finder: Recognizer, image_HW: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "h w M"]:
    """The finder's scores of a page image, 0 to 1, at half its resolution."""
    multiple = cast(UNetSpec, finder.spec).multiple
    rows, columns = image_HW.shape
    padded_HW = np.pad(image_HW, ((0, -rows % multiple), (0, -columns % multiple)))
    images_BHW1 = (padded_HW.astype(np.float32) / np.float32(255))[None, ..., None]
    logits_BhwM = finder.logits(images_BHW1, np.array([[rows, columns]], np.int32))
    logits_hwM = logits_BhwM[0, : -(-rows // 2), : -(-columns // 2)]
    return sigmoid(logits_hwM)


def sigmoid(logits_hwM: Float[np.ndarray, "h w M"]) -> Float[np.ndarray, "h w M"]:
    """Logits as scores from 0 to 1."""
    return 1 / (1 + np.exp(-np.clip(logits_hwM, -30, 30)))


def lines_of_scores(scores_hwM: Float[np.ndarray, "h w M"], image_HW: UInt8[np.ndarray, "H W"]) -> list[FoundLine]:
    """The lines of a page from the finder's scores, in no particular order.

    Args:
        scores_hwM: 0 to 1, at half the resolution of the page image. The first map shows the cores of the lines.
        image_HW: the page image, ink 255 on paper 0.

    Returns:
        Lines in pixels of the page image.
    """
    baselines, scores, distance = baselines_of_scores(scores_hwM)
    return [
        FoundLine(baseline=baseline, outline=outline, score=score)
        for baseline, outline, score in zip(baselines, outlines(baselines, image_HW, distance), scores, strict=True)
    ]


def baselines_of_scores(scores_hwM: Float[np.ndarray, "h w M"]) -> tuple[list[Points], list[float], float]:
    """The baselines of a page from the finder's scores, without the outlines.

    Returns:
        The baselines, the mean score of each, and the line distance, in pixels of the page image.
    """
    ends_hw = scores_hwM[..., ENDS]
    tracks = tracks_of(scores_hwM[..., CORE] * (1 - ends_hw))
    distance = track_distance(tracks)
    pieces = [track for track in tracks if len(track.rows_X) >= _LEAST_PIECE * distance]
    lines, scores, lengths = [], [], []
    for line in joined(pieces, ends_hw, distance):
        score, length = float(np.concatenate([track.scores_X for track in line]).mean()), line[-1].end - line[0].first
        if length >= _LEAST_LENGTH * distance and score >= _LEAST_SCORE:
            lines.append(line)
            scores.append(score)
            lengths.append(length)
    # relative to the page: a finder that has learnt little is unsure of everything
    least = _LEAST_PART * float(np.average(scores, weights=lengths)) if lines else 0.0
    baselines = []
    for line, score in zip(lines, scores, strict=True):
        if score >= least:
            columns_X, rows_X = (
                np.concatenate([getattr(track, what) for track in line]) for what in ("columns_X", "rows_X")
            )
            baselines.append(_baseline(columns_X, rows_X, distance))
    return baselines, [score for score in scores if score >= least], 2 * distance


def track_distance(tracks: Sequence[Track]) -> float:
    """The median distance between lines, in rows of the map; 0 if there are no tracks.

    It is the median distance from a core to the next core below it, over all columns. A page with few lines has little
    to measure. The distance then follows from the thickness of the cores.
    """
    if not tracks:
        return 0.0
    thickness = float(np.median(np.concatenate([track.thickness_X for track in tracks])))
    by_thickness = max(thickness / THICKNESS, 4.0)
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


def joined(tracks: Sequence[Track], ends_hw: Float[np.ndarray, "h w"], distance: float) -> list[list[Track]]:
    """Join tracks that continue each other across a gap. Each line is a list of tracks from left to right.

    Of all pairs, those with the smallest gap and step are joined first. A track is joined at most once at each end.

    Args:
        tracks: pieces of lines.
        ends_hw: the map of ends, 0 to 1. A gap with an end in it stays open.
        distance: between lines, rows of the map.
    """
    if not tracks:
        return []
    first_N, end_N = np.array([(track.first, track.end) for track in tracks]).T
    left_N2, right_N2 = np.array([_ends(track, distance) for track in tracks]).swapaxes(0, 1)  # row and slope
    gap_NN = first_N - end_N[:, None]
    step_NN = np.abs(
        right_N2[:, None, 0] + right_N2[:, None, 1] * gap_NN / 2 - left_N2[:, 0] + left_N2[:, 1] * gap_NN / 2
    )
    can_NN = (gap_NN > _LEAST_GAP * distance) & (gap_NN < _MOST_GAP * distance) & (step_NN < _MOST_STEP * distance)
    can_NN &= (end_N > end_N[:, None]) & (first_N > first_N[:, None])
    cost_NN = step_NN + 0.3 * np.maximum(gap_NN, 0)
    pairs = [
        (cost_NN[i, j], i, j)
        for i, j in np.argwhere(can_NN).tolist()
        if not _ends_between(ends_hw, tracks[i], tracks[j])
    ]
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


def _ends_between(ends_hw: Float[np.ndarray, "h w"], left: Track, right: Track) -> bool:
    if right.first <= left.end:
        return False
    rows = np.rint(np.linspace(left.rows_X[-1], right.rows_X[0], right.first - left.end)).astype(int)
    between = ends_hw[np.clip(rows, 0, len(ends_hw) - 1), np.arange(left.end, right.first)]
    return bool(between.max() > _MOST_END)


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
    """The baseline in pixels of the page image: the polyline nearest to the rows, with a corner per 1.5 distances.

    The squares of the residuals count less for columns far from the polyline, such as those of a blot.
    """
    left, right = columns_X.min(), columns_X.max() + 1
    knots = np.linspace(left, right, max(2, round((right - left) / (1.5 * distance)) + 1))
    place_X = (columns_X + 0.5 - left) / (knots[1] - knots[0])
    hats_XK = np.maximum(0, 1 - np.abs(place_X[:, None] - np.arange(len(knots))))
    # a bend at a corner costs as much as one column that is off by it: corners without columns continue straight on
    bends_KK = np.diff(np.eye(len(knots)), n=2, axis=0)
    weights_X = np.ones(len(rows_X))
    for _ in range(_REWEIGHTED):
        y_K = np.linalg.lstsq(
            np.concatenate([hats_XK * weights_X[:, None], bends_KK]),
            np.concatenate([rows_X * weights_X, np.zeros(len(bends_KK))]),
            rcond=None,
        )[0]
        weights_X = 1 / np.sqrt(1 + ((rows_X - hats_XK @ y_K) / (_BLOT * distance)) ** 2)
    # row r of the map covers the pixels from 2 r to 2 r + 2
    return np.stack([2 * knots, 2 * (y_K + 0.5 + RISE * distance)], axis=1)
