"""The maps of a page show where its lines are: closed forms for level lines, and what a distance between lines is."""

# h and w half of a page's rows and columns, M maps

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import UInt8

from common.data.page_targets import CORE, ENDS, draw_known, draw_targets, line_distances
from common.data.xml_pages import Points

SIZE = (200, 400)
BORDER = 2.0  # pixels: one of a map; Pillow also draws the pixels on the border of a polygon


def points(*values: tuple[float, float]) -> Points:
    return np.array(values, dtype=np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return points((left, top), (right, top), (right, bottom), (left, bottom))


def around(baseline: Points, height: float = 30.0) -> Points:
    return box(baseline[:, 0].min(), baseline[:, 1].min() - height, baseline[:, 0].max(), baseline[:, 1].max())


def extent(map_hw: UInt8[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the ones, in pixels of the page."""
    rows, columns = np.flatnonzero(map_hw.any(axis=1)), np.flatnonzero(map_hw.any(axis=0))
    return 2 * int(columns[0]), 2 * int(rows[0]), 2 * int(columns[-1]) + 2, 2 * int(rows[-1]) + 2


def test_the_core_of_a_level_line_is_a_band_just_above_its_baseline() -> None:
    targets_hwM = draw_targets(SIZE, [points((100, 140), (300, 140))], np.array([40.0]))
    assert targets_hwM.shape == (100, 200, 2)
    # 0.17 ± 0.15 of 40 pixels above 140: from 127.2 to 139.2
    left, top, right, bottom = extent(targets_hwM[..., CORE])
    for found, wanted in ((left, 100), (top, 127.2), (right, 300), (bottom, 139.2)):
        assert abs(found - wanted) <= BORDER
    assert 4 * targets_hwM[..., CORE].sum() >= 0.99 * (right - left) * (bottom - top)  # without gaps


def test_the_ends_are_bars_outside_the_core() -> None:
    targets_hwM = draw_targets(SIZE, [points((100, 140), (300, 140))], np.array([40.0]))
    ends_hw, core_hw = targets_hwM[..., ENDS], targets_hwM[..., CORE]
    assert not (ends_hw[:, 51:149] & core_hw[:, 51:149]).any()
    for half_hw, wanted in ((ends_hw[:, :100], (88, 100)), (ends_hw[:, 100:], (100, 112))):
        left, top, right, bottom = extent(half_hw)  # the right half starts at x = 200
        # 0.17 ± 0.3 of 40 pixels above 140: from 121.2 to 145.2
        for found, expected in ((left, wanted[0]), (top, 121.2), (right, wanted[1]), (bottom, 145.2)):
            assert abs(found - expected) <= BORDER


@pytest.mark.parametrize("direction", [1, -1], ids=["to the right", "to the left"])
def test_a_sloping_line_has_a_core_of_the_same_thickness_on_the_same_side(direction: int) -> None:
    baseline = points((50, 50), (350, 150))[::direction]
    core_hw = draw_targets(SIZE, [baseline], np.array([60.0]))[..., CORE]
    rows, columns = np.nonzero(core_hw)
    x, y = 2 * columns + 1.0, 2 * rows + 1.0
    normal = np.array([100, -300]) / np.hypot(100, 300)  # upwards from the line
    above = (x - 50) * normal[0] + (y - 50) * normal[1]
    assert abs(above.mean() - 0.17 * 60) < 0.5
    assert abs(np.sqrt(12) * above.std() - 0.3 * 60) < 1.0  # of a uniform distribution
    assert abs(4 * core_hw.sum() / np.hypot(300, 100) - 0.3 * 60) <= BORDER


def test_the_cores_of_close_lines_stay_apart() -> None:
    baselines = [points((20, y), (380, y + 20)) for y in range(20, 160, 10)]
    targets_hwM = draw_targets(SIZE, baselines, line_distances(baselines, [around(line, 9) for line in baselines]))
    column = targets_hwM[:, 100, CORE].astype(int)
    assert np.count_nonzero(np.diff(column, prepend=0) == 1) == len(baselines)


def test_a_distance_is_that_to_the_nearest_line_above_or_below() -> None:
    baselines = [points((0, y), (300, y)) for y in (100, 130, 160, 200, 230, 260)]
    baselines.append(points((350, 145), (500, 145)))  # in another column: no neighbour of any
    distances = line_distances(baselines, [around(line) for line in baselines])
    np.testing.assert_allclose(distances[:6], [30, 30, 30, 30, 30, 30])
    # of a line alone: 1.3 medians, less than 1.5 heights of its outline
    assert distances[6] == pytest.approx(39)


def test_a_distance_follows_the_slope_of_two_lines() -> None:
    baselines = [points((0, 100), (200, 140)), points((100, 170), (300, 210))]
    distances = line_distances(baselines, [around(line, 60) for line in baselines])
    # at x = 150, in the middle of the overlap
    np.testing.assert_allclose(distances, [50, 50])


@pytest.mark.parametrize(
    ("rows", "height", "wanted"),
    [
        ((100, 130, 160, 190, 290), 30, [30, 30, 30, 30, 39]),  # 1.3 medians
        ((100, 130, 160, 190, 200), 30, [30, 30, 30, 18, 18]),  # 0.6 medians
        ((100, 400), 30, [45, 45]),  # 1.5 heights
        ((100,), 40, [60]),
    ],
    ids=["far away", "between the lines", "few lines", "one line"],
)
def test_a_distance_has_limits(rows: tuple[int, ...], height: float, wanted: list[float]) -> None:
    baselines = [points((0, y), (300, y)) for y in rows]
    outlines = [box(0, y - height, 300, y) for y in rows]
    np.testing.assert_allclose(line_distances(baselines, outlines), wanted)


def test_a_page_without_lines_has_empty_maps() -> None:
    assert line_distances([], []).shape == (0,)
    assert draw_targets((31, 47), [], np.zeros(0)).shape == (16, 24, 2)
    assert not draw_targets((31, 47), [], np.zeros(0)).any()


def test_polygons_of_unknown_truth_do_not_count() -> None:
    known_hw = draw_known((101, 200), [box(40, 20, 80, 60)])
    assert known_hw.shape == (51, 100)
    assert extent(1 - known_hw) == (40, 20, 82, 62)  # with its last row and column
    assert draw_known((101, 200), []).all()
