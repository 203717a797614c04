"""Profiles: histograms and samples of signs, and their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.evaluation.profile import Measured, Profile, counts_in, make_profile, sign_profile
from common.evaluation.signs import LineSigns, PageSigns


def pages_of(count: int, lines: int = 10, seed: int = 0) -> list[PageSigns]:
    """Pages whose signs are drawn at random, each page around its own mean."""
    rng = np.random.default_rng(seed)
    pages = []
    for _ in range(count):
        ink, height = rng.uniform(0.08, 0.15), rng.uniform(40, 80)
        each = [
            LineSigns(
                confidence=float(rng.beta(20, 2)),
                characters=int(rng.integers(20, 60)),
                columns=float(rng.normal(22, 3)),
                ink=float(rng.normal(ink, 0.01)),
                sharpness=float(rng.normal(0.7, 0.04)),
                twins=float(np.clip(rng.normal(0.02, 0.02), 0, 1)),
                height=float(rng.normal(height, 5)),
            )
            for _ in range(lines)
        ]
        counts = rng.multinomial(400, [0.2, 0.16, 0.14, 0.1, 0.1, 0.1, 0.2])
        text = dict(zip("etaoin ", counts.tolist(), strict=True))
        pages.append(PageSigns(brightness=rng.uniform(0.7, 0.9), contrast=0.5, lines=tuple(each), characters=text))
    return pages


def test_bins_hold_equal_shares_and_the_sample_follows_the_values() -> None:
    values_N = np.random.default_rng(0).permutation(np.arange(2000)) / 2000
    profile = sign_profile(values_N)
    np.testing.assert_allclose(profile.edges, np.arange(11) / 10, atol=1e-3)
    np.testing.assert_allclose(profile.shares, [0, *[0.1] * 10, 0], atol=1e-3)
    assert len(profile.sample) == 500
    np.testing.assert_allclose(profile.sample, (np.arange(500) + 0.5) / 500, atol=1e-3)


def test_equal_values_share_one_bin() -> None:
    profile = sign_profile(np.array([1.0] * 80 + [0.5] * 20))
    assert profile.edges == pytest.approx((0.5, 1.0, 1.0))
    assert profile.shares == (0, 0.2, 0.8, 0)
    alone = sign_profile(np.ones(50))
    assert alone.shares == (0, 1.0, 0)
    assert counts_in(np.array([0.9, 1.0, 1.1]), alone.edges).tolist() == [1, 1, 1]


def test_profile_counts_what_it_has_seen(tmp_path: Path) -> None:
    pages = pages_of(12)
    pages[3] = replace(pages[3], lines=(), characters={}, empty=True)
    pages[4] = replace(pages[4], upside_down=True)
    pages[5] = replace(pages[5], characters={**pages[5].characters, ",": 3, '"': 2, "\\": 1, "é": 4})
    profile = make_profile(Measured.of(pages), reader="abc", data="pages", writers=5)
    assert (profile.pages, profile.lines, profile.writers) == (12, 110, 5)
    assert profile.shares == {"empty": 1, "upside_down": 1}
    assert next(iter(profile.characters)) in "e "
    assert "brightness" not in profile.signs  # 12 values are too few
    assert profile.signs["ink"].mean == pytest.approx(Measured.of(pages).values["ink"].mean())
    profile.save(tmp_path / "profile.json")
    again = Profile.load(tmp_path / "profile.json")
    assert again.characters == profile.characters
    assert again.signs.keys() == profile.signs.keys()
    np.testing.assert_allclose(again.signs["ink"].sample, profile.signs["ink"].sample, rtol=1e-4)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "profile.json").read_bytes()


def test_parts_join_to_the_whole() -> None:
    pages = pages_of(6)
    whole, joined = Measured.of(pages), Measured.joined([Measured.of([page]) for page in pages])
    assert joined.characters == whole.characters
    assert (joined.pictures, joined.lines, joined.having) == (whole.pictures, whole.lines, whole.having)
    for name in whole.values:
        np.testing.assert_array_equal(joined.values[name], whole.values[name])
    for name in whole.sums:
        np.testing.assert_array_equal(joined.sums[name], whole.sums[name])


def test_lines_without_a_picture_have_no_brightness() -> None:
    pages = [replace(page, brightness=None, contrast=None, kind="line") for page in pages_of(60, lines=1)]
    assert {"brightness", "contrast", "lines"}.isdisjoint(make_profile(Measured.of(pages)).signs)


def test_too_few_lines_and_files_that_are_no_profile_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 20 lines"):
        make_profile(Measured.of(pages_of(1)))
    with pytest.raises(UserError, match="does not exist"):
        Profile.load(tmp_path / "profile.json")
    for content in ("", "[]", "{}", '{"format": "fourhands-profile-1", "signs": 3}'):
        (tmp_path / "profile.json").write_text(content)
        with pytest.raises(UserError, match="no profile"):
            Profile.load(tmp_path / "profile.json")
