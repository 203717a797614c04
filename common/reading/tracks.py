"""From a map of scores to tracks: for each piece of a line, the row of its core in each column.

A map shows the core of each line as a band of high scores. In each column of the map, a *run* is a stretch of rows with
high scores. A *track* is a chain of runs in neighbouring columns that overlap. Where two bands touch, the runs with the
larger overlap are linked and the other track ends, so two lines that touch at one place stay two tracks.
"""

# h, w rows and columns of the map; R runs, in order of their columns; X columns of a track

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

THRESHOLD = 0.3
"""Scores above it belong to a line."""
# a run that is thicker than the median run by this factor joins two lines, or is a blot
_MOST_THICKNESS = 2.0


@dataclass(frozen=True, kw_only=True)
class Track:
    """A piece of a line on a map of scores."""

    first: int
    """The first column."""
    rows_X: Float[np.ndarray, "X"]
    """The row of the middle of the core in each column, from `first` on."""
    scores_X: Float[np.ndarray, "X"]
    """The mean score of the core in each column."""
    thickness_X: Float[np.ndarray, "X"]
    """Sum of the core's scores in each column: its thickness in rows."""

    @property
    def end(self) -> int:
        """The column after the last one."""
        return self.first + len(self.rows_X)

    @property
    def columns_X(self) -> Int[np.ndarray, "X"]:
        """The columns."""
        return np.arange(self.first, self.end)


def tracks_of(scores_hw: Float[np.ndarray, "h w"], threshold: float = THRESHOLD) -> list[Track]:
    """The tracks of a map, from left to right.

    Args:
        scores_hw: 0 to 1, high on the core of a line.
        threshold: scores above it belong to a line.
    """
    # columns first, and a row of zeros at the end of each: a run then ends within its column
    scores_wh = np.ascontiguousarray(np.pad(scores_hw.T, ((0, 0), (1, 1))))
    on_wh = scores_wh > threshold
    starts_R, ends_R = _bounds(on_wh)
    if not len(starts_R):
        return []
    thick_R = ends_R - starts_R
    kept_R = thick_R <= max(3.0, _MOST_THICKNESS * float(np.median(thick_R)))
    for start, end in zip(starts_R[~kept_R], ends_R[~kept_R], strict=True):
        on_wh.ravel()[start:end] = False
    starts_R, ends_R = starts_R[kept_R], ends_R[kept_R]
    height = scores_wh.shape[1]
    columns_R = starts_R // height
    flat = scores_wh.ravel().astype(np.float64)
    sums_R = _sums(flat, starts_R, ends_R)
    rows_R = _sums(flat * (np.arange(len(flat)) % height - 1), starts_R, ends_R) / sums_R
    chains_R = _chains(len(starts_R), *_links(on_wh, starts_R))
    tracks = []
    order_R = np.lexsort((columns_R, chains_R))
    for own in np.split(order_R, np.flatnonzero(np.diff(chains_R[order_R])) + 1):
        tracks.append(
            Track(
                first=int(columns_R[own[0]]),
                rows_X=rows_R[own],
                scores_X=sums_R[own] / (ends_R - starts_R)[own],
                thickness_X=sums_R[own],
            )
        )
    return tracks


def _bounds(on_wh: Bool[np.ndarray, "w h"]) -> tuple[Int[np.ndarray, "R"], Int[np.ndarray, "R"]]:
    """First index of each run in the flattened array, and the index after its last one."""
    change = np.diff(on_wh.ravel().astype(np.int8))
    return np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1


def _sums(flat: Float[np.ndarray, "_"], starts_R: Int[np.ndarray, "R"], ends_R: Int[np.ndarray, "R"]) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(flat)])
    return total[ends_R] - total[starts_R]


def _links(on_wh: Bool[np.ndarray, "w h"], starts_R: Int[np.ndarray, "R"]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in neighbouring columns, each of which overlaps the other most."""
    number_wh = np.zeros(on_wh.size, np.int64)
    number_wh[starts_R] = 1
    number_wh = np.where(on_wh, np.cumsum(number_wh).reshape(on_wh.shape) - 1, -1)
    left, right = number_wh[:-1], number_wh[1:]
    both = (left >= 0) & (right >= 0)
    runs = len(starts_R)
    pairs, overlaps = np.unique(left[both] * runs + right[both], return_counts=True)
    left, right = pairs // runs, pairs % runs
    mutual = _best(left, overlaps) & _best(right, overlaps)
    return left[mutual], right[mutual]


def _best(runs: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """For each pair, whether no other pair of the same run has a larger overlap; of equal ones the first is best."""
    best = np.zeros(len(runs), bool)
    order = np.lexsort((np.arange(len(runs)), -overlaps, runs))
    best[order[np.diff(runs[order], prepend=-1) != 0]] = True
    return best


def _chains(runs: int, left: Int[np.ndarray, "_"], right: Int[np.ndarray, "_"]) -> Int[np.ndarray, "R"]:
    """The number of each run's chain. Chains are numbered from left to right."""
    chains = [-1] * runs
    before = dict(zip(right.tolist(), left.tolist(), strict=True))
    count = 0
    for run in range(runs):  # a run comes after the run to its left
        if run in before:
            chains[run] = chains[before[run]]
        else:
            chains[run], count = count, count + 1
    return np.array(chains)
