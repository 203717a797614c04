"""Whether a page is upside down, and whether what was read is writing at all."""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.charset import Charset
from common.reading.page import BATCH_SIZE, CutLine, PageLine, PageReading, read_images
from common.recognizer import Recognizer

# Measured on 14 pages of three collections with a reader that had learnt for a third of its time, best path, the widest
# lines: upright 0.61 to 0.92, turned 0.47 to 0.64, and on each page at least 0.14 less.
SURE = 0.75
"""A page that is read with at least this confidence is upright."""
_BETTER = 0.03  # by how much the confidence of turned lines must be higher
# The same pages, whole, with the beam search: 0.46 to 0.90. A photo of a person: 0.33. Noise: 0.20.
LEAST_CONFIDENCE = 0.4
"""What is read with less confidence is no writing."""


def is_upside_down(cut: Sequence[CutLine], recognizer: Recognizer, charset: Charset) -> bool:
    """Whether the lines of a page are read with more confidence after turning them by 180°.

    The widest lines are read both ways by their best path. They take the time of one batch each.
    """
    widest = sorted(cut, key=lambda line: -line.image_HW.shape[1])[:BATCH_SIZE]
    upright, turned = ([np.ascontiguousarray(line.image_HW[::step, ::step]) for line in widest] for step in (1, -1))
    return _confidence(turned, recognizer, charset) > _confidence(upright, recognizer, charset) + _BETTER


def _confidence(images: Sequence[np.ndarray], recognizer: Recognizer, charset: Charset) -> float:
    confidences = [each for line in read_images(recognizer, charset, images) for each in line.character_confidences]
    return float(np.mean(confidences)) if confidences else 0.0


def turned_back(reading: PageReading) -> PageReading:
    """The reading of a page that was turned by 180°, with its places on the page as it came."""
    corner = np.array(reading.size) - 1
    lines = [replace(line, baseline=corner - line.baseline, outline=corner - line.outline) for line in reading.lines]
    return replace(reading, lines=tuple(lines), upside_down=True)


def writing(lines: Sequence[PageLine]) -> bool:
    """Whether lines were read with the confidence of writing."""
    confidences = [each.confidence for line in lines for each in line.characters]
    return bool(confidences) and float(np.mean(confidences)) >= LEAST_CONFIDENCE
