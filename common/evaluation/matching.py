"""Which text belongs to which true line: lines that were read are assigned to true lines, by their baselines.

This is not how a finder is judged, see `common.evaluation.finding`: a text belongs to a line even if its baseline was
found a little too high, in pieces, or together with another line.
"""

# N true lines, M lines that were found, P points along a baseline, S segments of a polyline

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from common.data.xml_pages import Points

NEAR = 0.5
"""Two baselines run along each other where they are at most this far apart, as a share of the distance of lines."""
_LEAST = 0.5  # share of the shorter baseline that must run along the other
_POINTS = 64  # points along a baseline whose distances are measured


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Which found lines belong to which true lines. Every line is named exactly once."""

    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Indices of true lines, and of the found lines that belong to them. Usually one of each. A true line that was
    found in pieces has several found lines, from left to right. True lines that were found as one share a found line.
    """
    missed: tuple[int, ...]
    """True lines without a found line."""
    invented: tuple[int, ...]
    """Found lines without a true line."""


def assign_lines(true: Sequence[Points], found: Sequence[Points], distance: float) -> Matches:
    """Assign lines by their baselines, whatever their order.

    First one to one: of all assignments, the one whose baselines are closest, along most of their length. A true and a
    found line can be matched if the shorter baseline runs along the other one over more than half of its length. Then
    a line that remains joins a match which already holds a line along which it runs, if it lies beside the lines of its
    own kind in that match. It is a piece of a line, or one of two lines that were found as one.

    Args:
        true: baselines, pixels.
        found: baselines, pixels.
        distance: of neighbouring lines, pixels; see `common.reading.order.line_distance`.

    Source: Kuhn 1955 for the assignment.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    closeness_NM = np.zeros((len(true), len(found)))
    for i, line in enumerate(true):
        for j, other in enumerate(found):
            closeness_NM[i, j] = _closeness(line, other, NEAR * distance)
    rows, columns = linear_sum_assignment(closeness_NM, maximize=True)
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if closeness_NM[i, j] > 0]
    groups = [([i], [j]) for i, j in pairs]
    group_of_true = dict(zip((i for i, _ in pairs), groups, strict=True))
    group_of_found = dict(zip((j for _, j in pairs), groups, strict=True))
    invented = []
    for j in _others(len(found), group_of_found):
        i = int(closeness_NM[:, j].argmax()) if len(true) else -1
        pieces = group_of_true[i][1] if i in group_of_true and closeness_NM[i, j] > 0 else None
        if pieces is None or not _beside([found[k] for k in (*pieces, j)]):
            invented.append(j)
        else:
            pieces.append(j)
    missed = []
    for i in _others(len(true), group_of_true):
        j = int(closeness_NM[i].argmax()) if len(found) else -1
        joined = group_of_found[j][0] if j in group_of_found and closeness_NM[i, j] > 0 else None
        if joined is None or not _beside([true[k] for k in (*joined, i)]):
            missed.append(i)
        else:
            joined.append(i)
    return Matches(
        groups=tuple((_left_to_right(own, true), _left_to_right(pieces, found)) for own, pieces in groups),
        missed=tuple(missed),
        invented=tuple(invented),
    )


def _closeness(a: Points, b: Points, near: float) -> float:
    """0 for lines that cannot be matched; up to 2 for lines that are the same.

    For each line, the share of its points that are near the other line, where a point counts less the further away it
    is: one half at the distance `near`.
    """
    apart = np.maximum(a.min(axis=0) - b.max(axis=0), b.min(axis=0) - a.max(axis=0))
    if (apart > near).any():
        return 0.0
    total, most = 0.0, 0.0
    for line, other in ((a, b), (b, a)):
        distance_P = _distances(_points_along(line), other)
        near_P = distance_P <= near
        most = max(most, float(near_P.mean()))
        total += float((near_P * (1 - distance_P / (2 * near))).mean())
    return total if most > _LEAST else 0.0


def _points_along(line: Points) -> Points:
    """Points at equal distances along a polyline, in the middles of as many parts of it."""
    ends = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at_P = (np.arange(_POINTS) + 0.5) / _POINTS * ends[-1]
    return np.stack([np.interp(at_P, ends, line[:, 0]), np.interp(at_P, ends, line[:, 1])], axis=1)


def _distances(points: Points, line: Points) -> Float[np.ndarray, "P"]:
    """The distance of each point to a polyline."""
    starts_S2, along_S2 = line[:-1], np.diff(line, axis=0)
    squared_S = np.maximum((along_S2**2).sum(axis=1), 1e-12)  # a segment may be a point
    offset_PS2 = points[:, None] - starts_S2
    share_PS = np.clip((offset_PS2 * along_S2).sum(axis=2) / squared_S, 0, 1)
    nearest: np.ndarray = np.linalg.norm(offset_PS2 - share_PS[..., None] * along_S2, axis=2).min(axis=1)
    return nearest


def _beside(lines: Sequence[Points]) -> bool:
    """Whether no two lines share more than half of the columns of the shorter one."""
    for a, b in combinations(lines, 2):
        shared = min(a[:, 0].max(), b[:, 0].max()) - max(a[:, 0].min(), b[:, 0].min())
        if shared > 0.5 * min(np.ptp(a[:, 0]), np.ptp(b[:, 0])):
            return False
    return True


def _left_to_right(indices: Sequence[int], lines: Sequence[Points]) -> tuple[int, ...]:
    return tuple(sorted(indices, key=lambda i: float(lines[i][:, 0].min())))


def _others(count: int, taken: dict[int, tuple[list[int], list[int]]]) -> list[int]:
    return [i for i in range(count) if i not in taken]
