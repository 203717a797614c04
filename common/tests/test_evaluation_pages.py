"""The scores of pages, by hand: pages of level lines, 100 pixels apart, with one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from common.data.xml_pages import Points
from common.evaluation.matching import assign_lines
from common.evaluation.pages import PARTS, PageScore, page_figures, score_page


@dataclass(frozen=True)
class Line:
    """A line of a page."""

    text: str
    baseline: Points
    outline: Points


def line(text: str, y: float, left: float = 0, right: float = 1000) -> Line:
    """A level line with its baseline at height `y`."""
    corners = [(left, y - 60), (right, y - 60), (right, y + 20), (left, y + 20)]
    return Line(text, np.array([(left, y), (right, y)]), np.array(corners, dtype=np.float64))


TRUTH = [line("abc", 100), line("defg", 200), line("hi", 300)]
TEXTS = [one.text for one in TRUTH]


def parts(score: PageScore) -> dict[str, int]:
    return {name: getattr(score, name) for name in PARTS if getattr(score, name)}


def check(score: PageScore, **expected: int) -> None:
    """The parts are these, the others are 0, and they add up to the edits."""
    assert parts(score) == expected
    assert sum(expected.values()) == score.edits


# --- one fault each
def test_a_page_read_right_has_no_edits_and_counts_its_line_breaks() -> None:
    score = score_page(TRUTH, TRUTH, TEXTS)
    check(score)
    assert (score.characters, score.words) == (len("abc\ndefg\nhi"), 3)
    assert (score.edits_matched, score.edits_own_lines, score.lines, score.lines_missed) == (0, 0, 3, 0)


def test_a_missed_line_costs_its_characters_and_its_line_break() -> None:
    score = score_page(TRUTH, [TRUTH[0], TRUTH[2]], TEXTS)
    check(score, missed=5)
    assert (score.lines_missed, score.word_edits, score.word_edits_matched) == (1, 1, 1)
    assert score.edits_own_lines == 0  # own lines are all cut, whatever was found


def test_an_invented_line_costs_its_characters_and_its_line_break() -> None:
    score = score_page(TRUTH, [line("xy z", 0), *TRUTH], TEXTS)
    check(score, invented=5)
    assert (score.lines_invented, score.word_edits_matched) == (1, 2)


def test_what_the_own_outlines_do_not_mend_is_misreading() -> None:
    score = score_page(TRUTH, [line("abx", 100), *TRUTH[1:]], ["abx", *TEXTS[1:]])
    check(score, misreading=1)
    assert score.edits_own_lines == 1


def test_what_the_own_outlines_mend_is_wrong_outlines() -> None:
    # with its own outline, one character of the line is wrong; with the outline that was found, three are
    score = score_page(TRUTH, [TRUTH[0], line("xyzg", 200), TRUTH[2]], ["abc", "dxfg", "hi"])
    check(score, misreading=1, outlines=2)


def test_outlines_that_are_better_than_the_own_ones_count_below_zero() -> None:
    check(score_page(TRUTH, TRUTH, ["axc", "defg", "hi"]), misreading=1, outlines=-1)


def test_lines_in_a_wrong_order_cost_nothing_when_lines_are_matched() -> None:
    # abc|defg|hi read as abc|hi|defg: the shorter line is deleted at one place and inserted at the other
    score = score_page(TRUTH, [TRUTH[0], TRUTH[2], TRUTH[1]], TEXTS)
    check(score, order=6)
    assert (score.edits_matched, score.word_edits, score.word_edits_matched) == (0, 2, 0)


def test_faults_of_all_kinds_add_up() -> None:
    read = [line("hx", 300), line("uvw", 400), line("axx", 100)]
    score = score_page(TRUTH, read, ["abx", "defg", "hi"])
    # own lines: abx. Found: hx and axx, so three edits of which one is misreading. uvw is invented, defg is missed
    expected = {"missed": 5, "invented": 4, "misreading": 1, "outlines": 2}
    order = score.edits - sum(expected.values())
    check(score, **expected, order=order)
    assert score.edits_matched == 12


# --- which lines belong together
def test_a_line_found_in_pieces_is_neither_missed_nor_invented() -> None:
    read = [TRUTH[0], line("de", 200, right=400), line("fg", 200, left=420), TRUTH[2]]
    score = score_page(TRUTH, read, TEXTS)
    check(score, outlines=1)  # the line break between the pieces
    assert (score.lines_missed, score.lines_invented) == (0, 0)


def test_two_columns_found_as_one_line_are_neither_missed_nor_invented() -> None:
    truth = [line("ab", 100, right=480), line("cd", 100, left=520)]
    check(score_page(truth, [line("ab cd", 100)], ["ab", "cd"]), outlines=1)  # a space for the line break


def test_a_second_line_at_the_same_place_is_invented() -> None:
    check(score_page(TRUTH, [*TRUTH[:2], line("defg", 205), TRUTH[2]], TEXTS), invented=5)


def test_lines_are_matched_by_position_and_not_by_text() -> None:
    true, found = [t.baseline for t in TRUTH], [line("", 310).baseline, line("", 130).baseline, line("", 700).baseline]
    matches = assign_lines(true, found, 100)
    assert set(matches.groups) == {((0,), (1,)), ((2,), (0,))}
    assert (matches.missed, matches.invented) == ((1,), (2,))


def test_the_nearest_assignment_of_all_lines_wins() -> None:
    # both found lines are nearest to the first true line, but the second true line can be given one as well
    true, found = [line("", 100).baseline, line("", 145).baseline], [line("", 112).baseline, line("", 102).baseline]
    assert set(assign_lines(true, found, 100).groups) == {((0,), (1,)), ((1,), (0,))}


@pytest.mark.parametrize(("shift", "matched"), [(49, True), (51, False)])
def test_a_baseline_matches_up_to_half_the_distance_of_lines(shift: float, matched: bool) -> None:
    assert bool(assign_lines([line("", 100).baseline], [line("", 100 + shift).baseline], 100).groups) is matched


@pytest.mark.parametrize(("right", "matched"), [(1950, True), (2050, False)])
def test_the_shorter_baseline_must_run_along_the_other_over_half_of_its_length(right: float, matched: bool) -> None:
    found = line("", 100, left=right - 1000, right=right).baseline
    assert bool(assign_lines([line("", 100, right=1500).baseline], [found], 1).groups) is matched


def test_without_a_line_above_another_the_outline_decides_how_near_is_near() -> None:
    # an outline of 80 pixels belongs to lines that are 56 pixels apart, so 27 is near and 29 is not
    alone = [TRUTH[0]]
    assert score_page(alone, [line("abc", 127)], ["abc"]).lines_missed == 0
    assert score_page(alone, [line("abc", 129)], ["abc"]).lines_missed == 1


# --- what is left out
@pytest.mark.parametrize("unknown", ["", "d >< g"])
def test_a_line_with_an_unknown_text_is_left_out_with_its_reading(unknown: str) -> None:
    truth = [TRUTH[0], line(unknown, 200), TRUTH[2]]
    score = score_page(truth, [TRUTH[0], line("de", 200, right=400), line("qq", 200, left=420), TRUTH[2]], TEXTS)
    check(score)
    assert (score.characters, score.lines, score.lines_left_out, score.lines_read) == (len("abc\nhi"), 2, 1, 2)
    assert score_page(truth, [TRUTH[0], TRUTH[2]], TEXTS).lines_missed == 0


def test_texts_are_normalised_as_training_texts_are() -> None:
    truth = [line("caf\N{LATIN SMALL LETTER E WITH ACUTE}  noir", 100)]
    decomposed = " cafe\N{COMBINING ACUTE ACCENT} noir"
    check(score_page(truth, [line(decomposed, 100)], [decomposed]))


def test_a_page_without_readings_and_a_page_without_truth_count_every_character() -> None:
    check(score_page(TRUTH, [], TEXTS), missed=len("abc\ndefg\nhi"))
    check(score_page([], TRUTH, []), invented=len("abc\ndefg\nhi"))
    check(score_page([], [], []))


def test_a_line_that_its_file_does_not_let_be_cut_has_all_its_edits_as_misreading() -> None:
    score = score_page(TRUTH, [line("abx", 100), *TRUTH[1:]], [None, "defg", "hi"])
    check(score, misreading=1)
    assert score.edits_own_lines == 3


def test_a_line_without_baseline_is_placed_by_its_outline() -> None:
    bare = [Line(one.text, np.empty((0, 2)), one.outline) for one in TRUTH]
    check(score_page(bare, TRUTH, TEXTS))


def test_a_line_with_neither_baseline_nor_outline_is_missed() -> None:
    nowhere = Line("abc", np.empty((0, 2)), np.empty((0, 2)))
    check(score_page([nowhere], [], [None]), missed=3)


# --- several pages
def test_rates_of_pages_are_sums_of_edits_over_sums_of_characters() -> None:
    missing = score_page(TRUTH, TRUTH[:2], TEXTS)
    whole = score_page([line("x" * 89, 100)], [line("x" * 89, 100)], ["x" * 89])
    figures = page_figures([missing, whole])
    assert figures["cer"] == figures["cer_missed"] == pytest.approx(3 / 100)
    assert figures["wer"] == pytest.approx(1 / 4)
    assert sum(figures[f"cer_{part}"] for part in PARTS) == pytest.approx(figures["cer"])
    assert (figures["pages"], figures["lines"], figures["lines_missed"], figures["characters"]) == (2, 4, 1, 100)


def test_intervals_resample_whole_writers() -> None:
    bad, good = score_page(TRUTH, [], TEXTS), score_page(TRUTH, TRUTH, TEXTS)
    pages: list[Any] = [bad, good] * 8
    one_writer_each = page_figures(pages, np.arange(16))["cer_interval"]
    assert 0.1 < one_writer_each[0] < 0.5 < one_writer_each[1] < 0.9
    # every writer has a bad and a good page, so every resample has the same rate
    assert page_figures(pages, np.arange(16) // 2)["cer_interval"] == [0.5, 0.5]
