"""Calibration: fits against closed forms, the calibration error, and the interval of an estimate of CER."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.xml_pages import TextLine
from common.evaluation.calibration import (
    SHARE,
    Calibration,
    calibrate,
    calibration_error,
    estimate,
    halves,
    isotonic,
    judged,
    log_odds,
    platt,
    raw,
    reliability,
)
from common.evaluation.known import KnownLine, known_line, known_lines
from common.evaluation.signs import LineSigns, PageSigns
from common.reading.page import PageReading, page_line


def line(confidence: float, edits: int, writer: int = 0, characters: int = 40) -> KnownLine:
    return KnownLine(
        confidences=(confidence,) * characters,
        right=(True,) * characters,
        edits=edits,
        length=characters,
        writer=writer,
    )


def lines_of(writers: int, seed: int = 0, apart: float = 0.0) -> list[KnownLine]:
    """Lines of a reader that is too sure: a confidence of c means an error rate of 2 (1 − c), varied by writer."""
    rng = np.random.default_rng(seed)
    found = []
    for writer in range(writers):
        level, factor = rng.uniform(0.8, 0.97), np.exp(rng.normal(0, apart))
        for _ in range(20):
            confidence = float(np.clip(rng.normal(level, 0.03), 0.5, 0.999))
            found.append(line(confidence, int(rng.binomial(40, min(1, 2 * factor * (1 - confidence)))), writer))
    return found


# --- lines with truth
def test_a_known_line_has_its_edits_and_its_wrong_characters() -> None:
    found = known_line("abcd", "axcde", [0.9, 0.2, 0.9, 0.9, 0.4], 3)
    assert (found.edits, found.length, found.characters, found.writer) == (2, 4, 5, 3)
    assert found.right == (True, False, True, True, False)
    assert found.confidence == pytest.approx(0.66)
    assert known_line("abcd", "acd", [0.9] * 3, 0).right == (True, True, True), (
        "what is missing is not there to be wrong"
    )


def test_lines_of_a_page_are_matched_by_their_baselines() -> None:
    boxes = [np.array([(10, y), (210, y), (210, y + 20), (10, y + 20)], float) for y in (10, 60, 110)]
    truth = [
        TextLine(number=i, text=text, outline=box, baseline=box[[3, 2]])
        for i, (text, box) in enumerate(zip(("one", "tow", "a >< b"), boxes, strict=True))
    ]
    read = [
        page_line(text, [0.9] * len(text), boxes[i], boxes[i][[3, 2]])
        for i, text in ((1, "two"), (0, "one"), (2, "a b"))
    ]
    found = known_lines(PageReading(size=(300, 200), lines=tuple(read), confidence=0.9), truth, 7)
    assert sorted((each.length, each.edits, each.writer) for each in found) == [(3, 0, 7), (3, 2, 7)], (
        "no unreadable line"
    )


# --- fits
def test_isotonic_regression_pools_what_is_in_the_wrong_order() -> None:
    lines = [line(0.6, 10), line(0.7, 20), line(0.8, 4), line(0.9, 0)]
    expected = isotonic(lines)
    # 10 and 20 of 40 characters become 15 of 40, at their middle
    assert expected(np.array([0.65, 0.8, 0.9])) == pytest.approx([0.375, 0.1, 0.0])


def test_platt_finds_the_curve_that_made_the_errors() -> None:
    confidences = np.linspace(0.6, 0.98, 60)
    wrong = 1 / (1 + np.exp(-(0.5 - 1.5 * log_odds(confidences))))
    lines = [
        KnownLine(confidences=(float(c),) * 1000, right=(True,) * 1000, edits=round(1000 * p), length=1000, writer=0)
        for c, p in zip(confidences, wrong, strict=True)
    ]
    np.testing.assert_allclose(platt(lines)(confidences), wrong, atol=2e-3)


def test_calibration_error_is_the_mean_gap() -> None:
    lines = [line(0.9, 8), line(0.6, 8)]  # both are right in 0.8 of their characters
    bins = reliability(lines, raw(lines), bins=2)
    assert [(each.confidence, each.accuracy) for each in bins] == [pytest.approx((0.6, 0.8)), pytest.approx((0.9, 0.8))]
    assert calibration_error(bins, calibrated=False) == pytest.approx(0.15)
    assert calibration_error(
        reliability(lines, lambda c: np.full(len(c), 0.2), bins=2), calibrated=True
    ) == pytest.approx(0)


def test_halves_share_no_writer() -> None:
    first, second = halves(lines_of(11), np.random.default_rng(0))
    assert {each.writer for each in first} | {each.writer for each in second} == set(range(11))
    assert {each.writer for each in first} & {each.writer for each in second} == set()


def test_fits_are_better_than_none_on_unseen_writers() -> None:
    lines = lines_of(30)
    assert judged(lines, raw) > 0.08
    assert judged(lines, isotonic) < 0.03
    assert judged(lines, platt) < 0.03


# --- estimates
def page_of(lines: list[KnownLine]) -> PageSigns:
    signs = tuple(
        LineSigns(confidence=each.confidence, characters=each.characters, columns=20, ink=0.1, sharpness=0.7, twins=0)
        for each in lines
    )
    return PageSigns(brightness=0.8, contrast=0.5, lines=signs, characters={})


def test_the_interval_contains_the_cer_of_unseen_writers() -> None:
    calibration = calibrate(lines_of(40, seed=1, apart=0.3))
    assert calibration is not None
    assert calibration.after < calibration.before
    unseen = lines_of(200, seed=2, apart=0.3)
    inside = []
    for writer in range(200):  # windows of one writer are the hardest
        own = [each for each in unseen if each.writer == writer]
        found = estimate(calibration, [page_of(own)])
        assert found is not None
        inside.append(found.low <= sum(each.edits for each in own) / sum(each.length for each in own) <= found.high)
    assert np.mean(inside) > SHARE - 0.06
    several = estimate(calibration, [page_of(unseen)])
    assert several is not None
    assert several.cer == pytest.approx(
        sum(each.edits for each in unseen) / sum(each.length for each in unseen), rel=0.15
    )


def test_calibration_survives_json_and_needs_lines() -> None:
    calibration = calibrate(lines_of(10))
    assert calibration is not None
    assert Calibration.from_json(calibration.as_json()) == calibration
    assert Calibration.from_json(None) is None
    assert calibrate(lines_of(2)) is None
    assert calibrate(lines_of(10)[:30]) is None
    assert estimate(calibration, []) is None
    assert calibration.calibrated(1.0) > calibration.calibrated(0.6) >= 0
