"""Pages that are upside down, and what is no writing at all."""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.reading.page import PageLine, PageReading

# Measured on 43 validation pages of three collections, best path, whole pages: upright 0.78 and more (median 0.93),
# turned 0.79 at most (median 0.63)
SURE = 0.8
"""A page that is read with at least this confidence is upright."""
BETTER = 0.03
"""By how much the confidence of a turned page must be higher."""
# A photo of a person: 0.33. Noise: 0.20
LEAST_CONFIDENCE = 0.4
"""What is read with less confidence is no writing."""


def turned_back(reading: PageReading) -> PageReading:
    """The reading of a page that was turned by 180°, with its places on the page as it came."""
    corner = np.array(reading.size) - 1
    lines = [replace(line, baseline=corner - line.baseline, outline=corner - line.outline) for line in reading.lines]
    return replace(reading, lines=tuple(lines), upside_down=True)


def writing(lines: Sequence[PageLine]) -> bool:
    """Whether lines were read with the confidence of writing."""
    confidences = [each.confidence for line in lines for each in line.characters]
    return bool(confidences) and float(np.mean(confidences)) >= LEAST_CONFIDENCE
