"""The reading order of pages whose order is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from common.data.xml_pages import Points
from common.reading.order import line_distance, reading_order


@dataclass(frozen=True)
class Placed:
    """A line of a page."""

    baseline: Points


def line(left: float, right: float, y: float) -> Placed:
    return Placed(np.array([(left, y), ((left + right) / 2, y), (right, y)], np.float64))


def column(left: float, right: float, top: float, lines: int, step: float = 40) -> list[Placed]:
    return [line(left, right, top + step * i) for i in range(lines)]


LAYOUTS = {
    "one column": column(100, 900, 100, 8),
    "a short page": column(100, 900, 100, 2),
    "two columns": [*column(100, 480, 100, 8), *column(520, 900, 110, 7)],
    "a heading over two columns": [line(100, 900, 60), *column(100, 480, 100, 6), *column(520, 900, 105, 6)],
    "two columns and a foot": [*column(100, 480, 100, 6), *column(520, 900, 90, 6), line(90, 910, 400)],
    "three columns": [*column(100, 300, 100, 5), *column(320, 600, 100, 5), *column(620, 900, 100, 5)],
    "a marginal note": [*column(20, 130, 300, 3), *column(160, 900, 100, 12)],
    "a spread": [*column(50, 450, 100, 12), *column(560, 980, 130, 10)],
    "columns within the text": [
        *column(100, 900, 100, 3),
        *column(100, 480, 220, 4),
        *column(520, 900, 220, 4),
        *column(100, 900, 400, 3),
    ],
    "pieces of a row": [line(100, 900, 100), line(100, 400, 145), line(450, 900, 138), line(100, 900, 180)],
    "a date beside an address": [
        line(600, 900, 90),
        line(100, 400, 125),
        line(100, 380, 165),
        *column(100, 900, 240, 5),
    ],
}


@pytest.mark.parametrize("degrees", [0, 4, -4], ids=["level", "turned right", "turned left"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_of_a_known_layout(layout: str, degrees: float) -> None:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    lines = [Placed(line.baseline @ turn) for line in LAYOUTS[layout]]
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(len(lines))
        order = reading_order([lines[i] for i in shuffled])
        assert [int(shuffled[i]) for i in order] == list(range(len(lines)))


def test_order_of_no_line_and_of_one_line() -> None:
    assert reading_order([]) == []
    assert reading_order([line(0, 10, 5)]) == [0]


def test_line_distance_is_the_median_step_within_columns() -> None:
    assert line_distance([*column(0, 100, 0, 6, 30), *column(200, 300, 11, 6, 30)]) == pytest.approx(30)
    assert line_distance([line(0, 100, 0), line(200, 300, 9)]) == 0
    assert line_distance([]) == 0
