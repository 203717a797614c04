"""Signs of pictures and lines: each follows what it is meant to measure, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import label

from common.errors import UserError
from common.evaluation.signs import PageSigns, connected, image_signs, signs_of
from common.reading.page import CutLine, PageReading, page_line
from common.reading.upright import turned_back


def strokes(width: int = 400, blur: int = 1) -> np.ndarray:
    """A line of 64 rows with upright strokes of random heights, blurred over `blur` columns."""
    rng = np.random.default_rng(0)
    ink_HW = np.zeros((64, width))
    for left in range(5, width - 10, 12):
        ink_HW[rng.integers(5, 30) : rng.integers(40, 60), left : left + 4] = 255
    kernel = np.ones(blur) / blur
    return np.apply_along_axis(lambda row: np.convolve(row, kernel, "same"), 1, ink_HW).astype(np.uint8)


def test_ink_and_columns_are_those_of_the_image() -> None:
    image_HW = np.zeros((64, 200), np.uint8)
    image_HW[:, :50] = 255
    signs = image_signs(image_HW, 10, 0.9)
    assert (signs.ink, signs.columns, signs.characters, signs.height) == (0.25, 20.0, 10, None)


def test_a_blur_lowers_the_sharpness_and_darkness_does_not() -> None:
    sharp, paler = strokes(), strokes() // 2
    values = [image_signs(strokes(blur=blur), 10, 0.9).sharpness for blur in (1, 3, 5, 7)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.7 > 0.4 > values[-1]
    assert image_signs(paler, 10, 0.9).sharpness == pytest.approx(image_signs(sharp, 10, 0.9).sharpness, abs=0.01)


def letters(shapes: list[int], seed: int = 0) -> np.ndarray:
    """A line of separate letters; those with the same number have the same shape."""
    line_HW = np.zeros((64, 40 * len(shapes) + 20), np.uint8)
    for i, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, shape])
        blocks_HW = rng.random((5, 4)) < 0.6
        blocks_HW[:, 0] = blocks_HW[-1] = True  # one piece, with one size
        left = 10 + 40 * i
        line_HW[10:60, left : left + 28] = 255 * np.kron(blocks_HW, np.ones((10, 7)))
    return line_HW


def test_letters_with_a_twin_are_those_of_print() -> None:
    assert image_signs(letters([1, 2, 3, 1, 2, 3, 1, 2, 3, 1]), 10, 0.9).twins == 1.0
    assert image_signs(letters([1, 2, 3, 4, 5, 6, 7, 8, 1, 9]), 10, 0.9).twins == 0.2
    assert image_signs(letters([1, 1, 1]), 10, 0.9).twins is None, "too few letters"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.5, 0.7, 1.0])
def test_connected_pieces_are_those_of_scipy(share: float) -> None:
    is_ink_HW = np.random.default_rng(3).random((30, 80)) < share
    parts_HW, count = label(is_ink_HW, structure=np.ones((3, 3)))
    found = connected(is_ink_HW)
    assert len(found) == count
    pixels = []
    for rows, starts, ends in found:
        numbers = {int(n) for row, a, b in zip(rows, starts, ends, strict=True) for n in parts_HW[row, a:b]}
        assert len(numbers) == 1, "one piece is one piece"
        pixels.append(int((ends - starts).sum()))
    assert sorted(pixels) == sorted(np.bincount(parts_HW.ravel())[1:].tolist())


def page_of_lines(*, upside_down: bool = False) -> tuple[np.ndarray, list[CutLine], PageReading]:
    """A page of 100 × 200 pixels with two lines; the second one has no text."""
    picture_HW = np.full((100, 200), 204, np.uint8)
    picture_HW[10:20, 20:120] = 51
    boxes = [np.array([(20, y), (120, y), (120, y + 10), (20, y + 10)], float) for y in (10, 50)]
    cut = [CutLine(strokes(), box, box[[3, 2]]) for box in boxes]
    line = page_line("ab a", [0.9, 0.8, 0.9, 1.0], boxes[0], boxes[0][[3, 2]])
    reading = PageReading(size=(200, 100), lines=(line,), confidence=0.9)
    return picture_HW, cut, turned_back(reading) if upside_down else reading


@pytest.mark.parametrize("upside_down", [False, True])
def test_signs_of_a_page(upside_down: bool) -> None:
    picture_HW, cut, reading = page_of_lines(upside_down=upside_down)
    signs = signs_of(picture_HW, cut, reading)
    assert (signs.brightness, signs.upside_down, signs.empty) == (0.8, upside_down, False)
    assert signs.contrast == pytest.approx(0.6)
    (line,) = signs.lines
    assert (line.characters, line.height, line.columns) == (4, 10.0, None), "four characters have no reliable width"
    assert line.confidence == pytest.approx(0.9)
    assert signs.characters == {"a": 2, "b": 1, " ": 1}


def test_a_picture_without_writing_has_the_signs_of_its_paper() -> None:
    signs = signs_of(page_of_lines()[0], [], None)
    assert (signs.empty, signs.brightness, signs.lines, signs.characters) == (True, 0.8, (), {})


def test_signs_survive_json() -> None:
    signs = signs_of(*page_of_lines())
    again = PageSigns.from_json(json.loads(json.dumps(signs.as_json())))
    assert again.as_json() == signs.as_json()
    assert again.lines[0].sharpness == pytest.approx(signs.lines[0].sharpness, rel=1e-3)
    with pytest.raises(UserError, match="no signs of a picture"):
        PageSigns.from_json({"lines": [{"confidence": 1}]})
    with pytest.raises(UserError, match="no signs of a picture"):
        PageSigns.from_json([1])
