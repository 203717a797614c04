"""Evaluating a finder on pages: which lines it found, and how much of their area.

A found line is right if it matches a true line. Lines are matched one to one, so a line found twice is right once. Two
baselines can be matched if over half of each is within 0.3 of the page's line distance of the other. Of all ways to
match them, the one with the most matches counts (Hungarian method).

Source of the measure: after Grüning et al. 2018, "READ-BAD", but one to one, and with one tolerance.
"""

# T true lines, F found lines, N pages, H height, W width of a page image

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from common.data.xml_pages import Points
from common.reading.order import HasBaseline

TOLERANCE = 0.3
"""Part of the line distance by which two baselines may differ."""
LEAST_SHARE = 0.5
"""Baselines can be matched if more than this share of each is within the tolerance."""


@dataclass(frozen=True, kw_only=True)
class PageFinding:
    """The result of finding the lines of one page."""

    true: int
    """True lines."""
    found: int
    """Found lines."""
    pairs: tuple[tuple[int, int], ...]
    """The matched lines: index of the true line and of the found line."""
    common_pixels: int
    """Pixels in the outlines of true lines and in those of found lines."""
    all_pixels: int
    """Pixels in the outlines of true lines or in those of found lines."""


def match_lines(
    true: Sequence[HasBaseline], found: Sequence[HasBaseline], distance: float
) -> tuple[tuple[int, int], ...]:
    """Match true and found lines one to one.

    Args:
        true: the true lines.
        found: the found lines, in the same pixels.
        distance: the line distance in these pixels.

    Returns:
        Pairs of an index in `true` and an index in `found`, in the order of `true`.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.2 s to import

    if not len(true) or not len(found):
        return ()
    shares_TF = np.array([[_share(a.baseline, b.baseline, distance) for b in found] for a in true])
    can_TF = shares_TF > LEAST_SHARE
    # a match counts more than any difference of shares
    rows, columns = linear_sum_assignment(np.where(can_TF, 1 + shares_TF / 1000, 0), maximize=True)
    return tuple((int(i), int(j)) for i, j in zip(rows, columns, strict=True) if can_TF[i, j])


def _share(a: Points, b: Points, distance: float) -> float:
    """The part of the longer baseline that is within the tolerance of the other."""
    a, b = _rightwards(a), _rightwards(b)
    left, right = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
    longer = max(a[-1, 0] - a[0, 0], b[-1, 0] - b[0, 0], 1.0)
    if right <= left:
        return 0.0
    x = np.linspace(left, right, max(2, round(right - left)))
    near = np.abs(np.interp(x, *a.T) - np.interp(x, *b.T)) <= TOLERANCE * distance
    return float(near.mean() * (right - left) / longer)


def _rightwards(baseline: Points) -> Points:
    return baseline[np.argsort(baseline[:, 0], kind="stable")]


def outline_mask(lines: Sequence[object], size: tuple[int, int], scale: float = 1.0) -> Bool[np.ndarray, "H W"]:
    """True inside the outline of any line.

    Args:
        lines: objects with an `outline` in pixels of the picture.
        size: rows and columns of the mask.
        scale: pixels of the mask per pixel of the picture.
    """
    from PIL import Image, ImageDraw

    mask = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(mask)
    for line in lines:
        outline: Float[np.ndarray, "_ 2"] = line.outline * scale  # type: ignore[attr-defined]
        if len(outline) >= 3:
            draw.polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.asarray(mask)
