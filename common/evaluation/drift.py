"""Drift: whether the pictures that came in are still like those of a profile.

Every sign is compared by two measures. The population stability index (PSI) says how large a change is. The two-sample
test of Kolmogorov and Smirnov says how sure it is. Three things make a naive test raise false alarms, and each is
corrected:

- **Lines of one writer resemble each other.** 300 lines of 10 writers are far fewer than 300 independent values. How
  many they are worth is measured when the profile is made: windows of whole writers from one half of the split are
  compared with the other half, many times. The p-values use that number.
- **There are many signs.** The p-values of one look are corrected together (Holm).
- **The window is looked at again and again.** A stated rate `ALPHA` is for a whole window of new lines. Each of the
  `LOOKS` looks during that time gets an equal part of it.

Sources: Kolmogorov 1933 and Smirnov 1948 for the test; Holm 1979; Kish 1965 for the effective number of values;
Yurdakul 2018 for the PSI.
"""

# N values, B bins

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from common.evaluation.profile import LEAST, Measured, Null, Profile, SignProfile, counts_in, make_profile
from common.evaluation.signs import SHARES, SIGNS, PageSigns

ALPHA = 0.001
"""Probability of any false alarm while one window of new lines comes in."""
LOOKS = 6
"""Looks at the window while its lines are replaced by new ones."""
LARGE = 0.25
"""PSI from which a change is large enough for an alarm. The rule of thumb of credit scoring: below 0.1 none, from 0.1
to 0.25 small, above large."""
LEAST_LINES = 100
"""Lines of a window that is compared, at least; as a share of the window, a third of the default."""
LEAST_PICTURES = 5
"""Pictures from which the share of a sign is compared."""
ROUNDS = 300
"""Windows that are drawn to measure what the statistics are without drift."""
_HANDS = ("confidence", "ink", "sharpness", "height", "columns", "characters")
"""Signs that differ from writer to writer."""
_FEWEST_LINES, _FEWEST_PAGES = 3, 5  # of a page, and of a window, whose variety is measured
_UNSURE = 1.5  # factor of a deviation that was measured on one split: on its halves, 6 of 200 windows raised an alarm
_FREEDOM = 10  # degrees of freedom of the mean, which is that of few writers
_FREQUENT = 40  # characters that are compared one by one; all others are one bin


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The comparison of one sign."""

    sign: str
    title: str
    values: int
    """Values in the window."""
    now: float
    """Mean in the window, or a share."""
    before: float
    """Mean in the profile, or a share."""
    psi: float | None
    """Population stability index; None for a share."""
    distance: float | None
    """Largest difference of the two cumulative distributions; None where that is not the test."""
    p: float
    """Probability of such a difference without drift, of this sign alone."""
    corrected: float
    """The same, corrected for the number of signs."""
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The result of comparing pictures with a profile."""

    pictures: int
    lines: int
    enough: bool
    """Whether there are enough lines to compare their signs."""
    findings: tuple[Finding, ...]

    def finding(self, sign: str) -> Finding | None:
        """The comparison of a sign; None if it was not made."""
        return next((each for each in self.findings if each.sign == sign), None)


# --- statistics
def psi(profile: SignProfile, values_N: Float[np.ndarray, "N"]) -> float:
    """The population stability index of values: Σ (a − b) ln(a ÷ b) over the bins of the profile.

    Half a value is added to each bin, so that an empty bin does not make it infinite.
    """
    return index(np.array(profile.shares) * profile.values, counts_in(values_N, profile.edges))


def index(expected_B: Float[np.ndarray, "B"], observed_B: Any) -> float:
    """The population stability index of two histograms of counts over the same bins."""
    shares = [(counts_B + 0.5) / (counts_B.sum() + 0.5 * len(counts_B)) for counts_B in (expected_B, observed_B)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def distance(first_N: Float[np.ndarray, "_"], second_N: Float[np.ndarray, "_"]) -> float:
    """Largest difference of two empirical distribution functions."""
    first_N, second_N = np.sort(first_N), np.sort(second_N)
    both = np.concatenate([first_N, second_N])
    shares = [np.searchsorted(each, both, side="right") / len(each) for each in (first_N, second_N)]
    return float(np.abs(shares[0] - shares[1]).max(initial=0.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that are corrected for their number: with these, any false alarm has the stated probability at most."""
    corrected = [1.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def character_index(profile: Profile, now: Measured) -> float:
    """The population stability index of the frequencies of characters."""
    frequent = list(profile.characters)[:_FREQUENT]
    expected_B, observed_B = (
        np.array(
            [*(counts.get(c, 0) for c in frequent), sum(counts.values()) - sum(counts.get(c, 0) for c in frequent)]
        )
        for counts in (profile.characters, now.characters)
    )
    return index(expected_B, observed_B)


def variety(_: Profile, now: Measured) -> float | None:
    """How varied the hands are: the intraclass correlation of the pages, mean over signs; None for too few pages.

    It is the share of the variance of a sign that lies between the pages: near 0 for the pages of one writer, near one
    half for those of many. Source: Fisher 1925, in the form of the analysis of variance.
    """
    found = []
    for name in _HANDS:
        count_P, sum_P, squares_P = now.sums[name][now.sums[name][:, 0] >= _FEWEST_LINES].T
        pages, values = len(count_P), float(count_P.sum())
        if pages < _FEWEST_PAGES:
            continue
        between = float((sum_P**2 / count_P).sum() - sum_P.sum() ** 2 / values) / (pages - 1)
        within = float((squares_P - sum_P**2 / count_P).sum()) / (values - pages)
        if between + within > 0:
            found.append((between - within) / (between + (values / pages - 1) * within))
    return float(np.mean(found)) if found else None


def together(profile: Profile, now: Measured) -> float | None:
    """All signs that are numbers together: the mean over the signs of the squared distance times effective values."""
    squares = []
    for name, sign in profile.signs.items():
        values_N = now.values[name]
        if len(values_N):
            squares.append(_worth(sign, len(values_N)) * distance(np.array(sign.sample), values_N) ** 2)
    return float(np.mean(squares)) if squares else None


_STATISTICS = {"characters_read": character_index, "variety": variety, "together": together}
TITLES = {
    "characters_read": "frequencies of characters",
    "variety": "variety of the hands",
    "together": "all signs together",
}


# --- without drift
def with_nulls(
    profile: Profile, pages: Sequence[PageSigns], writers: Sequence[int], *, window: int = 300, seed: int = 0
) -> Profile:
    """The profile with what the statistics are without drift.

    `ROUNDS` times, the writers are divided into two halves at random. One half makes a profile. Whole writers are drawn
    from the other half, with replacement, until they have `window` lines: such a window has no drift. It has the
    difference between writers, and that of a profile of few writers, in it.

    Args:
        profile: made of `pages`.
        pages: the signs of the split.
        writers: the writer of each picture, or a number for each picture where writers are not known.
        window: lines.
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    groups: dict[int, list[Measured]] = {}
    for page, writer in zip(pages, writers, strict=True):
        groups.setdefault(writer, []).append(Measured.of([page]))
    halves = []
    for _ in range(ROUNDS):
        order = rng.permutation(sorted(groups)).tolist()
        reference = Measured.joined([page for writer in order[: len(order) // 2] for page in groups[writer]])
        drawn = Measured.joined(draw_window([groups[writer] for writer in order[len(order) // 2 :]], window, rng))
        if drawn.lines and reference.lines >= LEAST:
            halves.append((reference, drawn))
    if not halves:
        return profile
    signs = {
        name: replace(sign, effective=_effective(name, halves), wobble=_wobble(name, halves))
        for name, sign in profile.signs.items()
    }
    nulls: dict[str, list[float]] = {name: [] for name in _STATISTICS}
    for reference, drawn in halves:
        half = make_profile(reference)
        worth = {
            name: replace(sign, effective=signs[name].effective) for name, sign in half.signs.items() if name in signs
        }
        half = replace(half, signs=worth)
        for name, statistic in _STATISTICS.items():
            value = statistic(half, drawn)
            if value is not None:
                nulls[name].append(value)
    measured = {
        name: Null(mean=float(np.mean(each)), deviation=float(np.std(each))) for name, each in nulls.items() if each
    }
    return replace(profile, signs=signs, nulls=measured, window=window)


def draw_window(groups: Sequence[Sequence[Measured]], lines: int, rng: np.random.Generator) -> list[Measured]:
    """Whole groups of pictures, drawn with replacement until they have `lines` lines; the last group may be cut."""
    drawn: list[Measured] = []
    count = 0
    if not any(page.lines for group in groups for page in group):
        return drawn
    while count < lines:
        for page in groups[int(rng.integers(len(groups)))]:
            if count < lines:
                drawn.append(page)
                count += page.lines
    return drawn


def _effective(name: str, halves: Sequence[tuple[Measured, Measured]]) -> float:
    """Independent values per value: those for which the distances would have the quantiles that they have."""
    from scipy.stats import kstwobign  # slow to import

    distances, sizes = [], []
    for reference, drawn in halves:
        first_N, second_N = reference.values[name], drawn.values[name]
        if len(first_N) and len(second_N):
            distances.append(distance(first_N, second_N))
            sizes.append(len(first_N) * len(second_N) / (len(first_N) + len(second_N)))
    if not distances:
        return 1.0
    size = float(np.mean(sizes))
    worth = [
        (float(kstwobign.isf(1 - share)) / max(float(np.quantile(distances, share)), 1e-6)) ** 2 / size
        for share in (0.9, 0.95, 0.98)
    ]
    return float(min(1.0, *worth))


def _wobble(name: str, halves: Sequence[tuple[Measured, Measured]]) -> float:
    """Standard deviation of the difference of the means."""
    pairs = [(first.values[name], second.values[name]) for first, second in halves]
    shifts = [float(second_N.mean() - first_N.mean()) for first_N, second_N in pairs if len(first_N) and len(second_N)]
    return float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0


def _worth(sign: SignProfile, values: int) -> float:
    """Independent values that a comparison with this many values is worth."""
    return sign.effective * values * sign.values / (values + sign.values)


# --- the comparison
def judge(profile: Profile, now: Measured, *, alpha: float = ALPHA / LOOKS) -> Judgement:
    """Compare pictures with a profile.

    Args:
        profile: of the reader's validation split.
        now: the signs of the pictures of the window.
        alpha: probability of any false alarm in this comparison.
    """
    enough = now.lines >= min(LEAST_LINES, profile.window // 3)
    raw: list[tuple[Finding, bool]] = []
    if enough:
        raw += [_compared(profile, name, now) for name in profile.signs if len(now.values[name]) > 1]
        raw += [found for name in profile.nulls if (found := _statistic(profile, name, now))]
    if now.pictures >= LEAST_PICTURES:
        raw += [_share(profile, name, now) for name in profile.shares]
    corrected = holm([finding.p for finding, _ in raw])
    return Judgement(
        pictures=now.pictures,
        lines=now.lines,
        enough=enough,
        findings=tuple(
            replace(finding, corrected=p, alarm=large and p < alpha)
            for (finding, large), p in zip(raw, corrected, strict=True)
        ),
    )


def _compared(profile: Profile, name: str, now: Measured) -> tuple[Finding, bool]:
    """The comparison of a sign that is a number, and whether its change is large.

    Its p-value is twice the smaller one of two: that of the distributions (KS), and that of the means. With the few
    writers of a window, the first cannot be very small, however far the values have moved.
    """
    from scipy.stats import kstwobign, t  # slow to import

    sign, values_N = profile.signs[name], now.values[name]
    apart, changed, mean = distance(np.array(sign.sample), values_N), psi(sign, values_N), float(values_N.mean())
    p = float(kstwobign.sf(apart * np.sqrt(_worth(sign, len(values_N)))))
    if sign.wobble > 0:
        wobble = sign.wobble * max(1.0, profile.window / now.lines) ** 0.5  # a smaller window varies more
        p = min(1.0, 2 * min(p, 2 * float(t.sf(abs(mean - sign.mean) / wobble, _FREEDOM))))
    return _finding(name, SIGNS[name].title, len(values_N), mean, sign.mean, p, changed, apart), changed >= LARGE


def _statistic(profile: Profile, name: str, now: Measured) -> tuple[Finding, bool] | None:
    from scipy.stats import gamma, norm  # slow to import

    value, null = _STATISTICS[name](profile, now), profile.nulls[name]
    if value is None or null.deviation <= 0:
        return None
    # a smaller window varies more
    wider = max(1.0, profile.window / now.lines)
    changed: float | None = None
    if name == "variety":
        p = float(norm.cdf((value - null.mean) / (null.deviation * wider**0.5)))
    else:
        mean, deviation = null.mean, null.deviation
        if name == "together":
            deviation *= _UNSURE
        if name == "characters_read":  # in proportion to 1 ÷ lines
            mean, deviation, changed = mean * wider, deviation * wider, value
        p = float(gamma.sf(value, (mean / deviation) ** 2, scale=deviation**2 / mean))
    return _finding(name, TITLES[name], now.lines, value, null.mean, p, changed, None), True


def _share(profile: Profile, name: str, now: Measured) -> tuple[Finding, bool]:
    """Whether more pictures have a sign than chance explains.

    The share of the profile is its upper bound: a split without any upside-down page may come from a stream with a few.
    """
    from scipy.stats import binom  # slow to import

    title, count = SHARES[name][0], now.having[name]
    usual = (profile.shares[name] + 1) / (profile.pages + 2)
    p = float(binom.sf(count - 1, now.pictures, usual))
    before = profile.shares[name] / profile.pages
    return _finding(name, title, now.pictures, count / now.pictures, before, p, None, None), True


def _finding(
    sign: str, title: str, values: int, now: float, before: float, p: float, changed: float | None, apart: float | None
) -> Finding:
    return Finding(
        sign=sign,
        title=title,
        values=values,
        now=now,
        before=before,
        psi=changed,
        distance=apart,
        p=p,
        corrected=p,
        alarm=False,
    )
