"""A folder of pictures to label, and the lines on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.tests.bars import page_of

COUNTS = (3, 5, 4)
BOTTOMS = (110, 200, 290)  # rows under the bars of `page_of`


def baseline(i: int) -> list[list[int]]:
    """The baseline of line i of `page_of(COUNTS)`."""
    return [[36, BOTTOMS[i]], [40 + 30 * COUNTS[i], BOTTOMS[i]]]


def box(i: int) -> list[list[int]]:
    """A box around it."""
    right, top, bottom = 44 + 30 * COUNTS[i], BOTTOMS[i] - 60, BOTTOMS[i] + 6
    return [[32, top], [right, top], [right, bottom], [32, bottom]]


def line(i: int, text: str = "") -> dict[str, Any]:
    """Line i, as a client sends it."""
    return {"text": text or f"line {i}", "baseline": baseline(i), "outline": box(i)}


LINES = [line(i) for i in range(3)]


def draw(path: Path, counts: tuple[int, ...] = COUNTS, **options: Any) -> Path:
    """Draw a page with rows of this many bars."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(page_of(counts)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them in a subfolder."""
    draw(tmp_path / "mine" / "scan_1.png")
    draw(tmp_path / "mine" / "more" / "scan_2.jpg", quality=95)
    return tmp_path / "mine"
