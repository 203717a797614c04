"""The text read from one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A line to draw over the image of a page."""

    points: Float[np.ndarray, "_ 2"]
    """Polyline, (x, y) in pixels of the image."""
    colour: str
    """As Matplotlib names it."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The text read from one image of a character or a line, or the lines found on a page."""

    image_HW: UInt8[np.ndarray, "H W"]
    """The prepared image: uint8, ink 255 on paper 0."""
    text: str
    confidence: float
    """Probability of the text, 0 to 1."""
    truth: str | None = None
    """The true text, where it is known."""
    character_confidences: tuple[float, ...] | None = None
    """Lines only: probability of each character; None for a single character."""
    marks: tuple[Mark, ...] = ()
    """Pages only: what to draw over the image."""
