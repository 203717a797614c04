"""What a pen leaves on a drawn page beside text: words struck out, dashes, underlines, frames, signatures.

Points are (x, y) in pixels of the paper, from its upper left corner.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.data.ink_hand import Strokes, stroke_along
from common.data.xml_pages import Points

_STEP = 0.09
"""Distance between the points of a stroke, in cap heights."""


def strike(
    left: float, right: float, cap: float, height_of: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> list[Strokes]:
    """Strike out a word: with one or two strokes, or with a zigzag.

    Args:
        left: left end of the word, pixels.
        right: its right end.
        cap: cap height, pixels.
        height_of: y of the baseline at each x, pixels.
        rng: source of the random numbers.
    """
    if rng.random() < 0.3:
        x = np.linspace(left, right, max(4, int((right - left) / (0.25 * cap))))
        y = height_of(x) - cap * (0.33 + 0.3 * np.where(np.arange(len(x)) % 2, 1, -1) * rng.uniform(0.7, 1, len(x)))
        return [stroke_along(np.stack([x, y], axis=1), _STEP * cap)]
    strokes = []
    for _ in range(int(rng.integers(1, 3))):
        x = np.linspace(left - 0.1 * cap, right + 0.1 * cap, 8)
        y = height_of(x) - cap * (rng.uniform(0.2, 0.5) + rng.normal(0, 0.1) * (x - left) / (right - left))
        strokes.append(stroke_along(np.stack([x, y], axis=1), _STEP * cap))
    return strokes


def underline(baseline: Points, cap: float, rng: np.random.Generator) -> Strokes:
    """A stroke under a line."""
    x = baseline[:, 0] + rng.normal(0, 0.2) * cap
    y = baseline[:, 1] + cap * (rng.uniform(0.2, 0.45) + rng.normal(0, 0.06) * np.linspace(-1, 1, len(x)))
    return stroke_along(np.stack([x, y], axis=1), _STEP * cap)


def dashes(start: float, y: float, end: float, cap: float, rng: np.random.Generator) -> Strokes:
    """Fill the rest of a line with one long stroke or with dashes, so that nobody can add words.

    Args:
        start: left end of the space, pixels.
        y: height of the dashes, pixels.
        end: right end of the space, pixels.
        cap: cap height, pixels.
        rng: source of the random numbers.
    """
    slope = rng.normal(0, 0.02)
    length = cap * rng.uniform(0.5, 1.5) if rng.random() < 0.5 else end - start
    parts = []
    for x in np.arange(start, end, 2 * length):
        across = np.linspace(x, min(x + length, end), 6)
        wave = 0.06 * cap * np.sin(np.linspace(0, rng.uniform(2, 6), 6) + rng.uniform(0, 6))
        parts.append(stroke_along(np.stack([across, y + slope * (across - start) + wave], axis=1), _STEP * cap))
    return Strokes.joined(parts)


def frame(around: Points, gap: float, cap: float, rng: np.random.Generator) -> Strokes:
    """A wavy line around points, as notaries drew it around the text of a will.

    Args:
        around: points of the ink that the frame encloses, pixels.
        gap: distance of the frame from the ink, pixels.
        cap: cap height, pixels.
        rng: source of the random numbers.
    """
    (left, top), (right, bottom) = around.min(axis=0) - gap, around.max(axis=0) + gap
    angle = np.linspace(0, 2 * np.pi, 160)
    # a rounded rectangle: a superellipse
    x, y = (np.sign(w) * np.abs(w) ** 0.2 for w in (np.cos(angle), np.sin(angle)))
    wave = 0.25 * gap * (np.sin(angle * rng.integers(6, 20)) + np.sin(angle * rng.integers(3, 9)))
    across = (left + right) / 2 + x * ((right - left) / 2 + wave)
    down = (top + bottom) / 2 + y * ((bottom - top) / 2 + wave)
    return stroke_along(np.stack([across, down], axis=1), _STEP * cap)


def signature(left: float, top: float, width: float, cap: float, rng: np.random.Generator) -> Strokes:
    """A signature that nobody can read: loops, and often a stroke under them.

    Args:
        left: its left end, pixels.
        top: its upper end, about, pixels.
        width: its width, about, pixels.
        cap: cap height, pixels.
        rng: source of the random numbers.
    """
    t = np.linspace(0, 1, 140)
    loops, size = rng.uniform(4, 9), cap * rng.uniform(0.4, 0.9)
    x = left + width * (t + 0.05 * np.sin(2 * np.pi * loops * t + rng.uniform(0, 6)))
    height = size * (0.4 + 0.6 * np.abs(np.sin(np.pi * (1.5 * t + rng.uniform(0, 1)))))
    y = top + size + height * np.sin(2 * np.pi * loops * t * rng.uniform(0.9, 1.1)) - 0.1 * width * (t - 0.5)
    parts = [stroke_along(np.stack([x, y], axis=1), _STEP * cap)]
    if rng.random() < 0.6:
        x = np.linspace(left - 0.1 * width, left + width * rng.uniform(0.8, 1.2), 20)
        bow = size * (0.3 - 0.4 * np.linspace(-1, 1, 20) ** 2)
        parts.append(stroke_along(np.stack([x, y.max() + bow], axis=1), _STEP * cap))
    return Strokes.joined(parts)
