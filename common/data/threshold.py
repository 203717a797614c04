"""Grey levels that separate ink from paper."""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Real, UInt8


def otsu(image_HW: UInt8[np.ndarray, "H W"]) -> int:
    """The threshold with the least variance within the dark and the light pixels; a pixel above it is light.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms".
    """
    counts = np.bincount(image_HW.ravel(), minlength=256).astype(np.float64)
    below, moment = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    between = (moment[-1] * below - moment * below[-1]) ** 2 / np.maximum(below * above, 1)
    return int(np.argmax(between))


def ink_range(
    levels_HW: Real[np.ndarray, "H W"], is_ink_HW: Bool[np.ndarray, "H W"], *, percentile: int, faint: float = 0
) -> tuple[float, float]:
    """The level that becomes paper (all grain is below it) and the level that becomes full ink.

    Args:
        levels_HW: grey levels; ink is higher than paper.
        is_ink_HW: True on ink.
        percentile: percentile of the ink's levels that becomes full ink.
        faint: share of the contrast, above the grain, that also becomes paper.
    """
    # the edges of strokes raise some levels of the paper and lower none, so the grain is measured below the median
    low, paper = np.percentile(levels_HW[~is_ink_HW], (5, 50))
    full = float(np.percentile(levels_HW[is_ink_HW], percentile))
    return min(paper + 2 * (paper - low) + faint * (full - paper), (paper + full) / 2), full
