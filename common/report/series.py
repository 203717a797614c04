"""The values of metrics.jsonl as series."""

# S steps

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl, with NaN in place of null."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [{name: np.nan if value is None else value for name, value in row.items()} for row in rows]


def series(rows: Sequence[dict[str, float]], name: str, against: str = "step") -> tuple[np.ndarray, np.ndarray]:
    """The values of `against` and of `name` in the rows that have both."""
    found = [(row[against], row[name]) for row in rows if name in row and against in row]
    both = np.array(found, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def smoothed(values_S: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
    """An exponential moving average over about 2% of the steps, at least 5. NaN is skipped.

    The start is unbiased. Source: the bias correction of Kingma & Ba 2015.
    """
    keep = 1 - 1 / max(5.0, 0.02 * len(values_S))
    smooth_S, mean, weight = np.full(len(values_S), np.nan), 0.0, 0.0
    for i, value in enumerate(values_S):
        if np.isfinite(value):
            mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smooth_S[i] = mean / weight if weight else np.nan
    return smooth_S


def percent_points(points: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A series of shares as percentages."""
    return points[0], 100 * points[1]
