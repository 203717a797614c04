"""Finding lines without learning, on drawn pages."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from common.evaluation.finding import match_lines
from common.reading.finding import FoundLine
from common.reading.projection import find_lines_by_projection


def page(lines: int, step: int = 40) -> tuple[np.ndarray, list[FoundLine]]:
    """Lines of bars, as high as small letters, with some ascenders and descenders."""
    rng = np.random.default_rng(0)
    picture_HW = np.full((step * (lines + 2), 600), 240, np.uint8)
    true = []
    for y in step * np.arange(1, lines + 1) + step // 2:
        for x in range(60, 540, 8):
            top, bottom = (12 if rng.random() < 0.8 else 22), (0 if rng.random() < 0.9 else 10)
            picture_HW[y - top : y + bottom + 1, x : x + 4] = 20
        true.append(FoundLine(baseline=np.array([(60.0, y), (540.0, y)]), outline=np.zeros((0, 2)), score=1.0))
    return picture_HW, true


def test_lines_of_a_level_page_are_found() -> None:
    picture_HW, true = page(10)
    found = find_lines_by_projection(picture_HW)
    assert len(found) == 10
    assert len(match_lines(true, found, 40)) == 10
    for own, got in zip(true, found, strict=True):
        assert got.baseline[0, 0] == pytest.approx(own.baseline[0, 0], abs=15)
        assert got.baseline[-1, 0] == pytest.approx(own.baseline[-1, 0], abs=15)
        top, bottom = got.outline[:, 1].min(), got.outline[:, 1].max()
        assert own.baseline[0, 1] - 40 < top < own.baseline[0, 1] - 10
        assert own.baseline[0, 1] < bottom < own.baseline[0, 1] + 25


@pytest.mark.parametrize("angle", [3, -3])
def test_lines_of_a_turned_page_are_found(angle: float) -> None:
    picture_HW, true = page(10)
    turned_HW = np.asarray(Image.fromarray(picture_HW).rotate(angle, fillcolor=240))
    middle = np.array(picture_HW.shape[::-1]) / 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    moved = [
        FoundLine(baseline=(own.baseline - middle) @ turn + middle, outline=own.outline, score=1.0) for own in true
    ]
    assert len(match_lines(moved, find_lines_by_projection(turned_HW), 40)) == 10


def test_a_blank_page_has_no_lines() -> None:
    assert find_lines_by_projection(np.full((300, 200), 230, np.uint8)) == []
