"""The evaluation of a finder, on pages whose lines and whose finder are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from common.data.page_dataset import page_split
from common.data.page_targets import draw_targets
from common.data.xml_pages import Points, TextLine
from common.evaluation.finding import (
    TOLERANCE,
    FindingEvaluation,
    distance_of,
    evaluate_finder,
    finding_figures,
    match_lines,
    page_finding,
)
from common.spec import UNetSpec

DISTANCE = 40.0


@dataclass(frozen=True)
class Placed:
    """A line of a page."""

    baseline: Points
    outline: Points


def line(left: float, right: float, y: float) -> Placed:
    box = np.array([(left, y - 20), (right, y - 20), (right, y + 10), (left, y + 10)], np.float64)
    return Placed(np.array([(left, y), (right, y)], np.float64), box)


# --- matching
@pytest.mark.parametrize(
    ("found", "matches"),
    [
        (line(100, 300, 50 + 0.99 * TOLERANCE * DISTANCE), True),
        (line(100, 300, 50 + 1.01 * TOLERANCE * DISTANCE), False),
        (line(100, 204, 50), True),  # 52% of the true line
        (line(100, 196, 50), False),  # 48% of it
        (line(100, 480, 50), True),  # the true line is 53% of it
        (line(100, 520, 50), False),  # the true line is 48% of it
        (line(400, 600, 50), False),
    ],
    ids=["near", "far", "over half", "under half", "long", "too long", "beside"],
)
def test_a_line_matches_within_the_tolerance_over_half_of_each(found: Placed, matches: bool) -> None:
    assert match_lines([line(100, 300, 50)], [found], DISTANCE) == (((0, 0),) if matches else ())


def test_a_sloped_line_is_compared_point_by_point() -> None:
    sloped = Placed(np.array([(100, 50), (300, 50 + 3 * TOLERANCE * DISTANCE)]), np.zeros((0, 2)))
    assert match_lines([line(100, 300, 50)], [sloped], DISTANCE) == ()  # near over a third of it
    turned = Placed(sloped.baseline[::-1], sloped.outline)
    assert match_lines([sloped], [turned], DISTANCE) == ((0, 0),)


def test_lines_are_matched_one_to_one_with_the_most_matches() -> None:
    true = [line(100, 300, 50), line(100, 300, 60)]
    assert match_lines(true[:1], [line(100, 300, 50), line(100, 300, 51)], DISTANCE) == ((0, 0),)
    # the only line that the second can have is also the better one for the first
    found = [line(100, 300, 45), line(100, 300, 52)]
    assert match_lines(true, found, DISTANCE) == ((0, 0), (1, 1))
    assert match_lines(true, [], DISTANCE) == match_lines([], found, DISTANCE) == ()


def test_distance_of_a_page_without_neighbours_follows_from_the_outlines() -> None:
    assert distance_of([line(0, 100, y) for y in (50, 90, 130, 200)]) == pytest.approx(40)
    assert distance_of([line(0, 100, 50)]) == pytest.approx(0.7 * 30)
    assert distance_of([]) == 1


# --- figures
def test_areas_and_unknown_places_of_a_page() -> None:
    true, found = [line(100, 300, 50)], [line(200, 300, 50), line(100, 300, 150)]
    page = page_finding(true, found, [], (200, 400))
    assert (page.true, page.found, page.pairs) == (1, 2, ())
    # outlines of 200 × 30, of 100 × 30 within it, and of 200 × 30 elsewhere
    assert page.common_pixels / page.all_pixels == pytest.approx(1 / 4, abs=0.02)
    page = page_finding(true, found, [line(80, 320, 150).outline], (200, 400))
    assert (page.true, page.found) == (1, 1)
    assert page.common_pixels / page.all_pixels == pytest.approx(1 / 2, abs=0.02)


def test_rates_add_up_over_pages() -> None:
    one = page_finding([line(0, 100, 50)], [line(0, 100, 50), line(0, 100, 150)], [], (200, 200))
    two = page_finding([line(0, 100, 50), line(0, 100, 90)], [line(0, 100, 50)], [], (200, 200))
    figures = finding_figures([one, two], np.array([0, 1]))
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert figures["f1"] == pytest.approx(2 / 3)
    # a writer has precision 1/2 or 1
    assert figures["precision_interval"] == pytest.approx([1 / 2, 1])
    assert (figures["lines_true"], figures["lines_found"]) == (3, 3)


# --- a finder
class Finder:
    """Shows the lines that it was told, on every page, as sharply as it was told."""

    packages = ()

    def __init__(self, lines: list[Placed], sharpness: float = 10.0) -> None:
        self.spec = UNetSpec(side=200, channels=(1, 1))
        self.lines, self.sharpness = lines, sharpness

    def logits(self, images_BHW1: np.ndarray, sizes_B2: np.ndarray, labels_BL: np.ndarray | None = None) -> np.ndarray:
        batch, height, width, _ = images_BHW1.shape
        baselines = [line.baseline for line in self.lines]
        maps_hwM = draw_targets((height, width), baselines, np.full(len(self.lines), DISTANCE))
        return np.repeat(self.sharpness * (2.0 * maps_hwM[None] - 1), batch, axis=0)


def evaluated(found: list[Placed]) -> FindingEvaluation:
    """Of two pages, the first is found as it is if `found` has its three lines; the second has two of them."""
    true = [
        tuple(
            TextLine(number=i, text="a", outline=own.outline, baseline=own.baseline)
            for i, own in enumerate(lines, start=1)
        )
        for lines in (LINES, LINES[:2])
    ]
    pictures = [np.full((200, 200), 255, np.uint8)] * 2
    split = page_split(
        pictures=pictures, side=200, scales=[1.0, 1.0], lines=true, names=["a", "b"], writers_N=np.array([3, 4])
    )
    finder = Finder(found)
    return evaluate_finder(finder, finder.spec, split)  # type: ignore[arg-type]


LINES = [line(20, 180, y) for y in (60.0, 100.0, 140.0)]


def test_evaluation_of_a_finder_counts_lines_and_pixels() -> None:
    evaluation = evaluated(LINES)
    assert evaluation.rates["precision"] == pytest.approx(5 / 6)
    assert evaluation.rates["recall"] == pytest.approx(1)
    assert evaluation.rates["f1"] == evaluation.score == pytest.approx(10 / 11)
    assert evaluation.rates["iou"] == pytest.approx(5 / 6, abs=0.05)  # one of three equal cores is not on page b
    figures = evaluation.figures()
    assert set(evaluation.rates) < set(figures)
    assert figures["f1_interval"] == pytest.approx([4 / 5, 1])
    assert figures["examples"] == 2


def test_evaluation_of_a_finder_of_nothing() -> None:
    evaluation = evaluated([])
    assert evaluation.rates == {"precision": 0, "recall": 0, "f1": 0, "iou": 0}
    assert evaluation.figures()["recall"] == 0


def test_worst_page_comes_first_and_its_lines_are_drawn() -> None:
    evaluation = evaluated(LINES)
    np.testing.assert_allclose(evaluation.f1_N, [1, 4 / 5])
    assert evaluation.sample(1, 1) == [1]
    reading = evaluation.reading(1)
    assert (reading.text, reading.truth, reading.confidence) == ("3 lines", "2 lines", pytest.approx(4 / 5))
    colours = [mark.colour for mark in reading.marks or ()]
    assert colours == ["tab:blue"] * 2 + ["tab:orange"] * 3
    arrays = evaluation.predictions()
    assert arrays["true"].tolist() == [3, 2]
    assert arrays["found"].tolist() == [3, 3]
    assert arrays["matched"].tolist() == [3, 2]
    assert arrays["writers"].tolist() == [3, 4]
