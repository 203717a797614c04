"""From scores to lines: tracks, joining, baselines and outlines. The scores are drawn from lines that are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from common.data.page_targets import CORE, ENDS, draw_targets
from common.data.xml_pages import Points
from common.reading.finding import (
    FoundLine,
    baselines_of_scores,
    find_lines,
    joined,
    lines_of_scores,
    mean_score,
    track_distance,
)
from common.reading.outlines import outlines, simplified
from common.reading.tracks import Track, tracks_of
from common.spec import UNetSpec

DISTANCE = 30.0  # pixels of the page image between two lines


def line(left: float, right: float, y: float, slope: float = 0.0) -> Points:
    x = np.linspace(left, right, 5)
    return np.stack([x, y + slope * (x - left)], axis=1)


def scores(baselines: list[Points], size: tuple[int, int] = (300, 400)) -> np.ndarray:
    return draw_targets(size, baselines, np.full(len(baselines), DISTANCE)).astype(np.float32)


def paper(size: tuple[int, int] = (300, 400)) -> np.ndarray:
    return np.zeros(size, np.uint8)


def within(polygon: Points, size: tuple[int, int]) -> np.ndarray:
    mask = Image.new("1", size[::-1])
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in polygon], fill=1)
    return np.asarray(mask)


# --- tracks
def test_tracks_lie_in_the_middle_of_bands_weighted_by_score() -> None:
    map_hw = np.zeros((20, 30))
    map_hw[4:7, 5:25] = 1.0
    map_hw[7, 5:25] = 0.5  # moves the middle: (4 + 5 + 6 + 7 / 2) / 3.5
    (track,) = tracks_of(map_hw)
    assert (track.first, track.end) == (5, 25)
    np.testing.assert_allclose(track.rows_X, 18.5 / 3.5)
    np.testing.assert_allclose(track.thickness_X, 3.5)
    np.testing.assert_allclose(track.scores_X, 3.5 / 4)


def test_bands_that_touch_in_a_few_columns_stay_two_tracks() -> None:
    map_hw = np.zeros((20, 60))
    map_hw[4:7, :] = map_hw[12:15, :] = 1.0
    map_hw[4:15, 30:32] = 1.0
    found = tracks_of(map_hw)
    # two columns are too thick for a run, so each band is in two pieces
    assert sorted((track.first, track.end, float(track.rows_X.mean())) for track in found) == [
        (0, 30, 5.0),
        (0, 30, 13.0),
        (32, 60, 5.0),
        (32, 60, 13.0),
    ]


def test_a_fork_follows_the_larger_overlap() -> None:
    map_hw = np.zeros((20, 20))
    map_hw[5:9, :10] = 1.0
    map_hw[6:10, 10:] = 1.0  # three rows in common
    map_hw[2:6, 10:] = 1.0  # one row in common, but the two bands must not be one run
    map_hw[6, 10:] = 0.0
    found = sorted((track.first, track.end) for track in tracks_of(map_hw))
    assert found == [(0, 20), (10, 20)]


def test_an_empty_map_has_no_tracks_and_no_lines() -> None:
    assert tracks_of(np.zeros((10, 10))) == []
    assert track_distance([]) == 0
    assert lines_of_scores(np.zeros((150, 200, 2), np.float32), paper()) == []


# --- joining
def track(first: int, end: int, row: float) -> Track:
    full = np.ones(end - first)
    return Track(first=first, rows_X=row * full, scores_X=full, thickness_X=4 * full)


@pytest.mark.parametrize(
    ("left", "right", "lines"),
    [
        (track(0, 40, 10.0), track(46, 90, 11.0), 1),
        (track(0, 40, 10.0), track(46, 90, 16.0), 2),
        (track(0, 40, 10.0), track(80, 120, 10.0), 2),
    ],
    ids=["a small gap", "a step", "a wide gap"],
)
def test_tracks_are_joined_across_a_small_gap_on_one_height(left: Track, right: Track, lines: int) -> None:
    assert len(joined([right, left], np.zeros((30, 130)), 15.0)) == lines


def test_tracks_are_not_joined_across_an_end() -> None:
    ends_hw = np.zeros((30, 130))
    ends_hw[8:12, 42:44] = 1.0
    pair = [track(0, 40, 10.0), track(46, 90, 10.0)]
    assert [len(line) for line in joined(pair, 0 * ends_hw, 15.0)] == [2]
    assert [len(line) for line in joined(pair, ends_hw, 15.0)] == [1, 1]


# --- baselines
@pytest.mark.parametrize("slope", [0.0, 0.08, -0.08], ids=["level", "falling", "rising"])
def test_baselines_of_drawn_maps_are_those_that_were_drawn(slope: float) -> None:
    true = [line(40, 360, y, slope) for y in (60 - min(0, 320 * slope) + DISTANCE * np.arange(5))]
    found, means, distance = baselines_of_scores(scores(true))
    assert distance == pytest.approx(DISTANCE, abs=1)
    assert len(found) == len(true)
    for baseline, own in zip(sorted(found, key=lambda b: b[0, 1]), true, strict=True):
        x = np.linspace(50, 350, 30)
        np.testing.assert_allclose(np.interp(x, *baseline.T), np.interp(x, *own.T), atol=1.5)
        np.testing.assert_allclose(baseline[[0, -1], 0], own[[0, -1], 0], atol=3)
        assert (np.diff(baseline[:, 0]) > 0).all()
    np.testing.assert_allclose(means, 1, atol=1e-6)


def test_columns_that_nearly_touch_stay_apart() -> None:
    true = [line(x, x + 150, y) for x in (30, 198) for y in 60 + DISTANCE * np.arange(6)]
    map_hwM = scores(true)
    assert len(baselines_of_scores(map_hwM)[0]) == 12
    map_hwM[..., ENDS] = 0  # it is the map of ends that keeps them apart
    assert len(baselines_of_scores(map_hwM)[0]) == 6


def test_a_line_with_low_scores_is_left_out() -> None:
    map_hwM = scores([line(40, 360, 100), line(40, 360, 130)])
    map_hwM[:58, :, CORE] *= 0.45
    assert len(baselines_of_scores(map_hwM)[0]) == 1


# --- outlines
def test_an_outline_goes_around_ascenders_and_cuts_off_descenders_of_the_line_above() -> None:
    image_HW = paper()
    baselines = [line(40, 360, 100), line(40, 360, 130)]
    for y in (100, 130):
        image_HW[y - 8 : y + 1, 45:355] = 255  # small letters
    own, other = (slice(110, 122), slice(150, 153)), (slice(101, 112), slice(250, 253))
    image_HW[own] = image_HW[other] = 255  # an ascender of the lower line, a descender of the upper one
    upper, lower = (within(polygon, image_HW.shape) for polygon in outlines(baselines, image_HW, DISTANCE))
    assert lower[own].mean() > 0.9
    assert lower[other].mean() < 0.1
    assert upper[other].mean() > 0.9
    assert upper[own].mean() < 0.1
    for mask, y in ((upper, 100), (lower, 130)):
        assert mask[y - 8 : y + 1, 45:355].mean() > 0.99


def test_outlines_stay_on_the_page() -> None:
    baselines = [line(0, 399, 4), line(0, 399, 298)]
    for polygon in outlines(baselines, paper(), DISTANCE):
        assert polygon.min() >= 0
        assert (polygon <= (399, 299)).all()
    assert outlines([], paper(), DISTANCE) == []


def test_simplified_keeps_corners_and_drops_points_on_a_straight_line() -> None:
    x = np.arange(41.0)
    corner = np.stack([x, np.abs(x - 20)], axis=1)
    np.testing.assert_array_equal(simplified(corner), [(0, 20), (20, 0), (40, 20)])
    np.testing.assert_array_equal(simplified(corner[:1]), corner[:1])


# --- a whole page
class Seen:
    """A finder that shows the maps of known lines, for a picture that is scaled by a half."""

    packages = ()

    def __init__(self, baselines: list[Points], logit: float = 10.0) -> None:
        self.logit = logit
        self.spec = UNetSpec(side=int(np.sqrt(300 * 400)), channels=(1, 1))
        self.baselines = baselines

    def logits(self, images_BHW1: np.ndarray, sizes_B2: np.ndarray, labels_BL: np.ndarray | None = None) -> np.ndarray:
        _, height, width, _ = images_BHW1.shape
        assert (height % self.spec.multiple, width % self.spec.multiple) == (0, 0)
        return (self.logit + 10) * scores(self.baselines, (height, width))[None] - 10


def test_lines_are_found_in_pixels_of_the_picture_and_in_reading_order() -> None:
    true = [line(30, 180, 60), line(30, 180, 90), line(30, 180, 120), line(210, 380, 65), line(210, 380, 95)]
    true.append(line(210, 380, 125))
    picture_HW = np.full((600, 800), 255, np.uint8)
    found = find_lines(Seen(true[::-1]), picture_HW)  # type: ignore[arg-type]
    scale = Seen(true).spec.side / np.sqrt(600 * 800)
    assert len(found) == 6
    for own, got in zip(true, found, strict=True):
        np.testing.assert_allclose(got.baseline[[0, -1]] * scale, own[[0, -1]], atol=3)
        assert 0.9 < got.score <= 1


@pytest.mark.parametrize(("score", "lines"), [(0.9, 3), (0.6, 0)], ids=["sure", "unsure"])
def test_a_picture_whose_lines_are_unsure_has_no_writing(score: float, lines: int) -> None:
    finder = Seen([line(30, 180, y) for y in (60, 90, 120)], float(np.log(score / (1 - score))))
    found = find_lines(finder, np.full((600, 800), 255, np.uint8))  # type: ignore[arg-type]
    assert len(found) == lines


def test_the_mean_score_is_weighted_by_length() -> None:
    found = [FoundLine(baseline=line(0, x, 9), outline=np.zeros((0, 2)), score=s) for x, s in ((30, 1.0), (10, 0.6))]
    assert mean_score(found) == pytest.approx(0.9)
    assert mean_score([]) == 0
