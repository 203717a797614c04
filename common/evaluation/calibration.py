"""Calibration: from the confidence of a line to the errors that are to be expected in it, and to an estimate of CER.

The confidence of a line is the mean probability of its characters. A reader is more sure than it should be, so the
errors of held-out lines say what each confidence is worth. The CER of a window of lines without truth then follows from
their confidences.

Sources: Zadrozny & Elkan 2002 for isotonic regression; Platt 1999; Guo et al. 2017 for the calibration error; Garg et
al. 2022 for estimating errors without truth.
"""

# N lines, K knots

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from common.errors import UserError
from common.evaluation.known import KnownLine
from common.evaluation.signs import PageSigns

SHARE = 0.9
"""Probability that the interval of an estimate contains the CER."""
BINS = 10
"""Bins of the reliability diagram; each has an equal share of the characters."""
_LOWEST, _KNOTS = 0.3, 36  # the lowest confidence of a knot: what is read with less is no writing
_LEAST = 60  # lines with truth without which nothing is calibrated
_TINY = 1e-6
_ROUNDS = 200

Expected = Callable[[Float[np.ndarray, "N"]], Float[np.ndarray, "N"]]
"""From the confidences of lines to the expected edits per character that was read."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One bin of a reliability diagram."""

    confidence: float
    """Mean confidence of its characters, as the reader gives it."""
    calibrated: float
    """Mean of 1 − expected errors per character."""
    accuracy: float
    """1 − CER of its lines."""
    characters: int
    lines: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the confidences of a reader are worth."""

    confidences: tuple[float, ...]
    """Knots in ascending order."""
    errors: tuple[float, ...]
    """Expected edits per character that was read, at each knot; linear in between."""
    length: float
    """Characters of the true text per character that was read."""
    spread: float
    """log (CER ÷ its estimate) that `SHARE` of windows by unseen writers do not exceed, up or down. Windows by one
    writer have a larger one than windows by several, and decide."""
    before: float
    """Expected calibration error of the reader's confidences, on held-out writers."""
    after: float
    """The same of the calibrated confidences."""
    reliability: tuple[Reliability, ...] = ()
    """On held-out writers, from the lowest confidence to the highest."""
    lines: int = 0

    def as_json(self) -> dict[str, Any]:
        """For `Profile.calibration`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Calibration | None:
        """The calibration of a profile; None if it has none.

        Raises:
            UserError: it has another form.
        """
        if content is None:
            return None
        try:
            bins = tuple(Reliability(**each) for each in content["reliability"])
            knots = {name: tuple(content[name]) for name in ("confidences", "errors")}
            return cls(**{**content, **knots, "reliability": bins})
        except (TypeError, KeyError) as error:
            raise UserError(
                f"the calibration of this profile cannot be read ({error}); make the profile again"
            ) from None

    def expected(self, confidence_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        """Expected edits per character that was read."""
        errors_N: np.ndarray = np.interp(confidence_N, self.confidences, self.errors)
        return errors_N

    def calibrated(self, confidence: float) -> float:
        """The confidence that a line deserves: 1 − expected errors per character, at least 0."""
        return max(0.0, 1 - float(self.expected(np.array([confidence]))[0]))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of the CER of lines without truth."""

    cer: float
    low: float
    """Of the interval that contains the CER with a probability of `SHARE`."""
    high: float
    lines: int


def estimate(calibration: Calibration, pages: Sequence[PageSigns]) -> Estimate | None:
    """The CER that the confidences of lines lead to expect; None without lines.

    It holds for lines that are like those of the profile. A drift makes the confidences wrong as well.

    Args:
        calibration: of the reader.
        pages: the signs of the pictures.
    """
    rows = np.array([(line.confidence, line.characters) for page in pages for line in page.lines], np.float64)
    if not len(rows):
        return None
    cer = expected_cer(calibration, rows[:, 0], rows[:, 1])
    factor = float(np.exp(calibration.spread))
    return Estimate(cer=cer, low=cer / factor, high=cer * factor, lines=len(rows))


def expected_cer(
    calibration: Calibration, confidence_N: Float[np.ndarray, "N"], characters_N: Float[np.ndarray, "N"]
) -> float:
    """Expected edits ÷ expected characters of the truth."""
    edits = float((calibration.expected(confidence_N) * characters_N).sum())
    return edits / max(1.0, calibration.length * float(characters_N.sum()))


# --- fits
Fit = Callable[[Sequence[KnownLine]], Expected]


def raw(_: Sequence[KnownLine]) -> Expected:
    """No calibration: the errors are 1 − confidence."""
    return lambda confidence_N: 1 - confidence_N


def isotonic(lines: Sequence[KnownLine]) -> Expected:
    """Isotonic regression of the errors per character on the confidence, weighted by characters."""
    from scipy.optimize import isotonic_regression  # slow to import

    confidence_N, characters_N, edits_N = _columns(lines)
    order = np.argsort(confidence_N, kind="stable")
    weights_N, knots = characters_N[order], []
    fit = isotonic_regression(edits_N[order] / weights_N, weights=weights_N, increasing=False)
    for start, end in pairwise(fit.blocks):  # one knot at the middle of each step
        knots.append((np.average(confidence_N[order][start:end], weights=weights_N[start:end]), fit.x[start]))
    x, y = np.array(knots).T
    return lambda confidence_N: np.interp(confidence_N, x, y)


def platt(lines: Sequence[KnownLine]) -> Expected:
    """Logistic regression of the errors per character on the log odds of the confidence."""
    from scipy.optimize import minimize  # slow to import

    confidence_N, characters_N, edits_N = _columns(lines)
    odds_N = log_odds(confidence_N)
    share_N = np.minimum(edits_N / characters_N, 1.0)

    def nats(ab: np.ndarray) -> float:
        wrong_N = _logistic(ab[0] + ab[1] * odds_N)
        each_N = share_N * np.log(wrong_N + _TINY) + (1 - share_N) * np.log(1 - wrong_N + _TINY)
        return float(-(characters_N * each_N).sum() / characters_N.sum())

    a, b = minimize(nats, np.array([0.0, -1.0]), method="Nelder-Mead").x
    return lambda confidence_N: _logistic(a + b * log_odds(confidence_N))


def log_odds(confidence_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Log of p ÷ (1 − p), for p away from 0 and 1."""
    clipped_N = np.clip(confidence_N, 1e-4, 1 - 1e-4)
    return np.log(clipped_N / (1 - clipped_N))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _columns(lines: Sequence[KnownLine]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, characters that were read, and edits of each line."""
    rows = np.array([(line.confidence, line.characters, line.edits) for line in lines], np.float64).reshape(-1, 3)
    return rows[:, 0], rows[:, 1], rows[:, 2]


# --- how good a calibration is
def reliability(lines: Sequence[KnownLine], expected: Expected, bins: int = BINS) -> tuple[Reliability, ...]:
    """The bins of a reliability diagram, of equal shares of the characters, by confidence."""
    confidence_N, characters_N, edits_N = _columns(lines)
    order = np.argsort(confidence_N, kind="stable")
    place_N = np.cumsum(characters_N[order]) - characters_N[order] / 2
    bin_N = np.minimum((place_N / characters_N.sum() * bins).astype(int), bins - 1)
    right_N = 1 - expected(confidence_N)
    found = []
    for number in range(bins):
        own = order[bin_N == number]
        if len(own):
            weights = characters_N[own]
            found.append(
                Reliability(
                    confidence=float(np.average(confidence_N[own], weights=weights)),
                    calibrated=float(np.average(right_N[own], weights=weights)),
                    accuracy=float(1 - edits_N[own].sum() / weights.sum()),
                    characters=int(weights.sum()),
                    lines=len(own),
                )
            )
    return tuple(found)


def calibration_error(bins: Sequence[Reliability], *, calibrated: bool) -> float:
    """Expected calibration error: the mean distance of accuracy and confidence, weighted by characters."""
    gaps = [abs(each.accuracy - (each.calibrated if calibrated else each.confidence)) for each in bins]
    return float(np.average(gaps, weights=[each.characters for each in bins]))


def halves(lines: Sequence[KnownLine], rng: np.random.Generator) -> tuple[list[KnownLine], list[KnownLine]]:
    """The lines of two halves of the writers."""
    writers = np.unique([line.writer for line in lines])
    first = set(rng.permutation(writers)[: len(writers) // 2].tolist())
    return [line for line in lines if line.writer in first], [line for line in lines if line.writer not in first]


def judged(lines: Sequence[KnownLine], fit: Fit, *, rounds: int = 20, seed: int = 0) -> float:
    """Mean calibration error of a fit to one half of the writers, on the other half, over several divisions."""
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(rounds):
        first, second = halves(lines, rng)
        errors.append(calibration_error(reliability(second, fit(first)), calibrated=True))
    return float(np.mean(errors))


# --- all of it
FIT: Fit = platt
"""The fit that is used; docs/monitoring.md has the figures by which it was chosen."""


def calibrate(lines: Sequence[KnownLine], *, window: int = 300, seed: int = 0) -> Calibration | None:
    """Calibrate confidences on held-out lines; None if there are too few of them.

    The knots are fitted to all lines. Everything that judges them is measured on writers that a fit has not seen:
    the writers are divided into two halves many times, and the fit to one half is judged on the other.

    Args:
        lines: of a validation split.
        window: lines of the windows whose CER is estimated.
        seed: of the divisions.
    """
    lines = [line for line in lines if line.characters]
    if len(lines) < _LEAST or len({line.writer for line in lines}) < 4:
        return None
    _, characters_N, _ = _columns(lines)
    knots = np.linspace(_LOWEST, 1.0, _KNOTS)
    length = sum(line.length for line in lines) / float(characters_N.sum())
    rng = np.random.default_rng(seed)
    before, after, deviations = [], [], []
    for _ in range(_ROUNDS):
        first, second = halves(lines, rng)
        bins = reliability(second, expected := FIT(first))
        before.append(calibration_error(bins, calibrated=False))
        after.append(calibration_error(bins, calibrated=True))
        deviations.append(_deviations(first, second, expected, window, rng))
    # of windows by several writers, and of windows by one: the larger
    spread = float(np.quantile(np.abs(deviations), SHARE, axis=0).max())
    return Calibration(
        confidences=tuple(knots.tolist()),
        errors=tuple(FIT(lines)(knots).tolist()),
        length=length,
        spread=spread,
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        reliability=_crossed(lines, rng),
        lines=len(lines),
    )


def _deviations(
    first: Sequence[KnownLine], second: Sequence[KnownLine], expected: Expected, window: int, rng: np.random.Generator
) -> list[float]:
    """log (CER ÷ its estimate) of windows of writers that the fit has not seen: of several writers, and of one."""
    length = sum(line.length for line in first) / sum(line.characters for line in first)
    by_writer: dict[int, list[KnownLine]] = {}
    for line in second:
        by_writer.setdefault(line.writer, []).append(line)
    groups = list(by_writer.values())
    found = []
    for single in (False, True):
        drawn: list[KnownLine] = []
        chosen = groups[int(rng.integers(len(groups)))]
        while len(drawn) < window:
            drawn += chosen if single else groups[int(rng.integers(len(groups)))]
        found.append(log_deviation(drawn, expected, length))
    return found


def log_deviation(lines: Sequence[KnownLine], expected: Expected, length: float) -> float:
    """log (CER ÷ its estimate) of a window; half an edit is added to both."""
    confidence_N, characters_N, edits_N = _columns(lines)
    truth = sum(line.length for line in lines)
    guess = float((expected(confidence_N) * characters_N).sum()) / (length * float(characters_N.sum()))
    return float(np.log((edits_N.sum() + 0.5) / truth) - np.log(guess + 0.5 / truth))


def _crossed(lines: Sequence[KnownLine], rng: np.random.Generator) -> tuple[Reliability, ...]:
    """The reliability of every line, calibrated by a fit to the writers of the other half."""
    first, second = halves(lines, rng)
    expected_of = {
        id(line): fit for own, other in ((first, second), (second, first)) for fit in [FIT(other)] for line in own
    }
    ordered = [*first, *second]
    values_N = np.array([float(expected_of[id(line)](np.array([line.confidence]))[0]) for line in ordered])
    return reliability(ordered, lambda _: values_N)
