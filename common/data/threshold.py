"""The level that divides ink from paper."""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8


def otsu(image_HW: UInt8[np.ndarray, "H W"]) -> int:
    """The level that divides dark from light with the least variance on both sides (Otsu 1979)."""
    counts = np.bincount(image_HW.ravel(), minlength=256).astype(np.float64)
    below, moment = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    between = (moment[-1] * below - moment * below[-1]) ** 2 / np.maximum(below * above, 1)
    return int(np.argmax(between))
