"""Profile: the signs of a validation split, with which the pictures that come in later are compared.

A profile is one small JSON file. A run of lines keeps it as profile.json, and the reader that ships has its own. Each
sign has a histogram over quantiles, for the population stability index, and a bounded sample, for the test of
Kolmogorov and Smirnov. The lines of one writer resemble each other. How much they do is measured, and kept as well, see
`common.evaluation.drift`.
"""

# N values, B bins, P pictures

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from common.atomic import write_atomically
from common.errors import UserError
from common.evaluation.signs import SHARES, SIGNS, PageSigns, Sign

FORMAT = "fourhands-profile-1"
FILE = "profile.json"
"""Its name in a run folder, and beside the models that ship."""
BINS = 10
SAMPLE = 500
"""Values of a sign that are kept, at most."""
LEAST = 20
"""Values of a sign without which it is left out."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The signs of several pictures, by sign."""

    values: Mapping[str, Float[np.ndarray, "_"]]
    """The values of each sign that is a number, without those that could not be measured."""
    characters: Counter[str]
    """How often each character was read."""
    having: Mapping[str, int]
    """Number of the pictures that have a sign, see `SHARES`."""
    pictures: int
    lines: int
    sums: Mapping[str, Float[np.ndarray, "P 3"]]
    """For each picture and each sign of lines: number of values, their sum, and the sum of their squares."""

    @classmethod
    def of(cls, pages: Sequence[PageSigns]) -> Measured:
        """Of pictures."""
        counts: Counter[str] = Counter()
        for page in pages:
            counts.update(page.characters)
        return cls(
            values={
                name: np.array(
                    [value for page in pages for value in sign.values(page) if value is not None], np.float64
                )
                for name, sign in SIGNS.items()
            },
            characters=counts,
            having={name: sum(has(page) for page in pages) for name, (_, has) in SHARES.items()},
            pictures=len(pages),
            lines=sum(len(page.lines) for page in pages),
            sums={
                name: np.array([_sums(page, sign) for page in pages]).reshape(-1, 3) for name, sign in _OF_LINES.items()
            },
        )

    @classmethod
    def joined(cls, parts: Sequence[Measured]) -> Measured:
        """All signs of all parts."""
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part.characters)
        return cls(
            values={name: np.concatenate([np.zeros(0), *(part.values[name] for part in parts)]) for name in SIGNS},
            characters=counts,
            having={name: sum(part.having[name] for part in parts) for name in SHARES},
            pictures=sum(part.pictures for part in parts),
            lines=sum(part.lines for part in parts),
            sums={name: np.concatenate([np.zeros((0, 3)), *(part.sums[name] for part in parts)]) for name in _OF_LINES},
        )


_OF_LINES = {name: sign for name, sign in SIGNS.items() if sign.level == "line"}


def _sums(page: PageSigns, sign: Sign) -> tuple[float, float, float]:
    values_N = np.array([value for value in sign.values(page) if value is not None], np.float64)
    return len(values_N), float(values_N.sum()), float((values_N**2).sum())


@dataclass(frozen=True, kw_only=True)
class SignProfile:
    """The distribution of one sign."""

    edges: tuple[float, ...]
    """Borders between the bins: the smallest value, nine quantiles, and just above the largest value. Borders that are
    equal are one."""
    shares: tuple[float, ...]
    """Share of the values in each bin; a value on a border is in the bin above it."""
    sample: tuple[float, ...]
    """At most `SAMPLE` of the values: quantiles at equal steps, in ascending order."""
    values: int
    """Number of values."""
    mean: float
    deviation: float
    """Standard deviation."""
    effective: float = 1.0
    """Independent values per value: small if the values of one writer resemble each other. See `with_nulls`."""
    wobble: float = 0.0
    """Standard deviation of the mean of a window around that of the profile, without drift; 0 if unknown."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """What a statistic is without drift: its mean and its standard deviation over windows of the profile's own pages.

    Both are for the number of lines of `Profile.window`.
    """

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The signs of a validation split."""

    reader: str
    """Identity of the reader's weights, see `identity_of`; empty if unknown."""
    data: str
    """Name of the data, without its folder."""
    pages: int
    """Pictures."""
    lines: int
    writers: int
    """Writers, or pages where writers are not known."""
    signs: Mapping[str, SignProfile]
    """By name, see `SIGNS`. A sign that could not be measured is missing."""
    characters: Mapping[str, int]
    """How often each character was read, the most frequent first."""
    shares: Mapping[str, int]
    """Number of the pictures that have a sign, see `SHARES`."""
    window: int = 300
    """Lines of the windows for which `nulls` were measured."""
    nulls: Mapping[str, Null] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    """See `common.evaluation.calibration`; None if no line's true text is known."""

    def save(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            UserError: the folder cannot be written, or the disk is full.
        """
        content = {"format": FORMAT, **asdict(self)}
        text = json.dumps(_rounded(content), ensure_ascii=False, separators=(",", ":"))
        write_atomically(path, text.encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile.

        Raises:
            UserError: there is no such file, or it is none of this version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format", None) != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            for name, one in content["signs"].items():
                lists = {key: tuple(one[key]) for key in ("edges", "shares", "sample")}
                content["signs"][name] = SignProfile(**(one | lists))
            content["nulls"] = {name: Null(**one) for name, one in content["nulls"].items()}
            return cls(**content)
        except FileNotFoundError:
            raise UserError(
                f"{path} does not exist; train the run again with this version, or name a run that has a {FILE}"
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no profile that can be read ({error}); make it again") from None


def make_profile(measured: Measured, *, reader: str = "", data: str = "", writers: int = 0) -> Profile:
    """The profile of pictures, without what `common.evaluation.drift` and `calibration` add.

    Args:
        measured: the signs of the pictures.
        reader: identity of the model.
        data: name of the data.
        writers: number of writers; 0 takes the number of pictures.

    Raises:
        UserError: fewer than `LEAST` lines were read.
    """
    if measured.lines < LEAST:
        raise UserError(
            f"a profile needs at least {LEAST} lines that were read; there are {measured.lines}, so give more pages"
        )
    return Profile(
        reader=reader,
        data=data,
        pages=measured.pictures,
        lines=measured.lines,
        writers=writers or measured.pictures,
        signs={name: sign_profile(values_N) for name, values_N in measured.values.items() if len(values_N) >= LEAST},
        characters=dict(measured.characters.most_common()),
        shares=dict(measured.having),
    )


def identity_of(weights: Path) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a weights file."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


def sign_profile(values_N: Float[np.ndarray, "N"]) -> SignProfile:
    """The distribution of a sign's values."""
    edges = np.unique(np.quantile(values_N, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    # one bin below every value and one above: a sign that always had one value must be able to leave it
    edges = np.unique([values_N.min(), *edges, np.nextafter(values_N.max(), np.inf)])
    sample_N = np.sort(values_N)
    if len(values_N) > SAMPLE:
        sample_N = np.quantile(values_N, (np.arange(SAMPLE) + 0.5) / SAMPLE, method="nearest")
    return SignProfile(
        edges=tuple(edges.tolist()),
        shares=tuple((counts_in(values_N, edges) / len(values_N)).tolist()),
        sample=tuple(sample_N.tolist()),
        values=len(values_N),
        mean=float(values_N.mean()),
        deviation=float(values_N.std()),
    )


def counts_in(values_N: Float[np.ndarray, "N"], edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """The number of values in each bin between the edges; a value on a border is in the bin above it."""
    return np.bincount(np.searchsorted(np.asarray(edges), values_N, side="right"), minlength=len(edges) + 1)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
