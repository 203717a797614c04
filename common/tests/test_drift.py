"""Drift: the statistics against closed forms and SciPy, and planted drifts against the alarms that they must raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from common.evaluation.alarms import CAUSES, alarms_of, names_of
from common.evaluation.drift import ALPHA, LOOKS, distance, draw_window, holm, index, judge, psi, variety, with_nulls
from common.evaluation.profile import Measured, Profile, make_profile, sign_profile
from common.evaluation.signs import SHARES, SIGNS, LineSigns, PageSigns

LINES, PAGES = 15, 3
"""Lines of a page, and pages of a writer."""


# --- statistics
def test_population_stability_index_of_two_histograms() -> None:
    # half a value is added to each bin: (10 + 0.5) ÷ 21, and so on
    before, now = np.array([10.5, 10.5]) / 21, np.array([15.5, 5.5]) / 21
    expected = ((now - before) * np.log(now / before)).sum()
    assert index(np.array([10, 10]), np.array([15, 5])) == pytest.approx(expected)
    assert index(np.array([10, 10]), np.array([100, 100])) == pytest.approx(0)
    assert np.isfinite(index(np.array([10, 0]), np.array([0, 10])))


def test_population_stability_index_is_zero_for_the_values_of_the_profile() -> None:
    values_N = np.random.default_rng(0).normal(size=1000)
    assert psi(sign_profile(values_N), values_N) == pytest.approx(0, abs=1e-6)
    assert psi(sign_profile(values_N), values_N + 1) > 0.25


def test_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first_N, second_N = rng.integers(0, 12, 40) / 3, rng.normal(2, 1, 25).round(1)  # with ties
        assert distance(first_N, second_N) == pytest.approx(ks_2samp(first_N, second_N).statistic)


def test_holm_corrects_by_rank() -> None:
    # 4 × 0.01, 3 × 0.02 (not below the one before), 2 × 0.03 (so 0.06), 1 × 0.9
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_variety_is_the_share_of_the_variance_between_pages() -> None:
    """Pages around means of deviation 3 with lines of deviation 1: 9 ÷ (9 + 1), and 0 for equal means."""
    rng = np.random.default_rng(0)

    def pages(between: float) -> Measured:
        means = rng.normal(0, between, 400)
        values = [[float(v) for v in rng.normal(mean, 1, 12)] for mean in means]
        return Measured.of([page_of(each) for each in values])

    def page_of(values: list[float]) -> PageSigns:
        one = {"confidence": 0, "characters": 0, "columns": 0, "ink": 0, "sharpness": 0, "twins": 0, "height": 0}
        lines = tuple(LineSigns(**dict.fromkeys(one, value)) for value in values)  # type: ignore[arg-type]
        return PageSigns(brightness=1, contrast=1, lines=lines, characters={})

    nothing: Any = None
    assert variety(nothing, pages(3)) == pytest.approx(0.9, abs=0.01)
    assert variety(nothing, pages(0)) == pytest.approx(0, abs=0.01)
    assert variety(nothing, Measured.of(split_of(1, 0)[0])) is None, "too few pages"


# --- a split whose writers differ, as real ones do
def split_of(
    writers: int, seed: int, change: Callable[[PageSigns, np.random.Generator], PageSigns] | None = None
) -> list[list[PageSigns]]:
    """Pages of writers. Lines of one writer resemble each other."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(writers):
        ink, height, columns = rng.normal(0.1, 0.015), rng.normal(55, 10), rng.normal(23, 3)
        sharp, even, sure = rng.normal(0.7, 0.03), rng.uniform(0, 0.05), rng.normal(0.93, 0.03)
        brightness, many = rng.normal(0.85, 0.05), int(rng.integers(12, 20))
        pages = []
        for _ in range(PAGES):
            lines = tuple(
                LineSigns(
                    confidence=float(np.clip(rng.normal(sure, 0.03), 0, 1)),
                    characters=int(rng.integers(25, 55)),
                    columns=float(rng.normal(columns, 2)),
                    ink=float(rng.normal(ink, 0.008)),
                    sharpness=float(rng.normal(sharp, 0.02)),
                    twins=float(np.clip(rng.normal(even, 0.02), 0, 1)),
                    height=float(rng.normal(height, 4)),
                )
                for _ in range(many)
            )
            counts = rng.multinomial(40 * many, rng.dirichlet(np.arange(12, 0, -1) * 60))
            text = dict(zip("etaoinshrdlu", counts.tolist(), strict=True))
            page = PageSigns(brightness=brightness, contrast=0.5, lines=lines, characters=text)
            pages.append(change(page, rng) if change else page)
        found.append(pages)
    return found


def lines_changed(page: PageSigns, **by: float) -> PageSigns:
    """The page with amounts added to signs of its lines."""
    lines = (
        replace(line, **{name: getattr(line, name) + amount for name, amount in by.items()}) for line in page.lines
    )
    return replace(page, lines=tuple(lines))


def darker(page: PageSigns, _: np.random.Generator) -> PageSigns:
    assert page.brightness is not None
    return replace(page, brightness=0.55 * page.brightness)


def blurred(page: PageSigns, _: np.random.Generator) -> PageSigns:
    return lines_changed(page, sharpness=-0.25)


def printed(page: PageSigns, _: np.random.Generator) -> PageSigns:
    return lines_changed(page, twins=0.75, confidence=-0.2)


def other_alphabet(page: PageSigns, rng: np.random.Generator) -> PageSigns:
    counts = rng.multinomial(500, rng.dirichlet(np.arange(1, 13) * 60))
    return replace(
        lines_changed(page, confidence=-0.25), characters=dict(zip("etaoinshrdlu", counts.tolist(), strict=True))
    )


def upside_down(page: PageSigns, _: np.random.Generator) -> PageSigns:
    return replace(page, upside_down=True)


def empty(page: PageSigns, rng: np.random.Generator) -> PageSigns:
    return replace(page, lines=(), characters={}, empty=True) if rng.random() < 0.5 else page


def other_collection(page: PageSigns, _: np.random.Generator) -> PageSigns:
    return lines_changed(page, height=45.0, ink=0.05, columns=9.0)


@pytest.fixture(scope="module")
def profile() -> Profile:
    writers = split_of(36, 0)
    pages = [page for pages in writers for page in pages]
    return with_nulls(make_profile(Measured.of(pages)), pages, [i // PAGES for i in range(len(pages))])


def window_of(writers: list[list[PageSigns]], seed: int) -> Measured:
    groups = [[Measured.of([page]) for page in pages] for pages in writers]
    return Measured.joined(draw_window(groups, 300, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("change", "alarm"),
    [
        (darker, "darker"),
        (blurred, "blurred"),
        (printed, "printed"),
        (other_alphabet, "other_characters"),
        (upside_down, "upside_down"),
        (empty, "empty"),
        (other_collection, "other_pages"),
    ],
)
def test_a_planted_drift_raises_its_alarm_within_a_window(
    change: Callable[[PageSigns, np.random.Generator], PageSigns], alarm: str, profile: Profile
) -> None:
    for seed in range(5):
        alarms = alarms_of(judge(profile, window_of(split_of(20, 100 + seed, change), seed)))
        assert names_of(alarms)[:1] == [alarm], alarms
        assert alarms[0].sentence


def test_one_writer_alone_raises_its_alarm(profile: Profile) -> None:
    for seed in range(5):
        window = window_of(split_of(1, 200 + seed), seed)
        assert "one_writer" in names_of(alarms_of(judge(profile, window)))


def test_200_windows_without_drift_raise_no_alarm(profile: Profile) -> None:
    writers = split_of(40, 7)
    assert [alarms for seed in range(200) if (alarms := alarms_of(judge(profile, window_of(writers, seed))))] == []


def test_resemblance_of_lines_by_one_writer_is_measured(profile: Profile) -> None:
    """As if they were independent, the same windows would raise alarms."""
    assert profile.signs["ink"].effective < 0.2
    assert profile.signs["characters"].effective > 0.5
    naive = replace(
        profile, signs={name: replace(sign, effective=1.0) for name, sign in profile.signs.items()}, nulls={}
    )
    writers = split_of(40, 7)
    ps = [min(f.corrected for f in judge(naive, window_of(writers, seed)).findings) for seed in range(40)]
    assert sum(p < ALPHA / LOOKS for p in ps) > 20


def test_few_lines_are_not_compared_but_pictures_are(profile: Profile) -> None:
    judged = judge(profile, Measured.of(split_of(1, 1)[0][:1]))
    assert (judged.enough, judged.findings) == (False, ())
    page = PageSigns(brightness=0.8, contrast=0.5, lines=(), characters={}, empty=True)
    assert names_of(alarms_of(judge(profile, Measured.of([page] * 6)))) == ["empty"]


def test_every_sign_can_raise_an_alarm() -> None:
    """A sign that belongs to no cause would be compared in vain."""
    known = {sign for cause in CAUSES for sign in cause.signs}
    assert {*SIGNS, *SHARES, "characters_read", "variety", "together"} == known
