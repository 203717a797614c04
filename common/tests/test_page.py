"""A page's reader: batches of lines, texts with their characters, and which way up a page is."""

from __future__ import annotations

import numpy as np
import pytest

from common.charset import Charset
from common.reading import page
from common.reading.lines import read_lines
from common.reading.page import PageReading, page_line, read_images, whole_picture
from common.reading.result import Reading
from common.reading.upright import turned_back
from common.recognizer import Recognizer, load_implementation
from common.spec import LSTMCTCSpec

CHARSET = Charset(tuple("abcd"))


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """A small model with random weights."""
    sizes = {"stem_channels": (4,), "stem_strides": (2,), "frame_dim": 8, "hidden_dim": 8}
    return load_implementation("numpy")(LSTMCTCSpec(num_classes=5, height=16, **sizes), seed=3)  # type: ignore[arg-type]


def lines_of(widths: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (16, width), np.uint8) for width in widths]


def test_lines_have_the_reading_that_they_have_alone_in_their_own_order(recognizer: Recognizer) -> None:
    images = lines_of([40, 400, 90, 91, 33, 200, 300, 41, 250, 64, 65])
    together = read_images(recognizer, CHARSET, images)
    for image, reading in zip(images, together, strict=True):
        (alone,) = read_lines(recognizer, CHARSET, [image])
        assert reading.text == alone.text
        assert reading.character_confidences == pytest.approx(alone.character_confidences, rel=1e-4)
    assert len({reading.text for reading in together}) > 3, "this test needs lines that differ"
    assert read_images(recognizer, CHARSET, []) == []


def test_batches_have_few_shapes(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    read_batch = page.read_batch

    def listening(*arguments: object) -> object:
        shapes.append(arguments[2].images_BHW1.shape[:3])  # type: ignore[attr-defined]
        return read_batch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(page, "read_batch", listening)
    read_images(recognizer, CHARSET, lines_of([40, 400, 90, 91, 33, 200, 300, 41, 250, 64, 65]))
    assert shapes == [(8, 16, 416), (4, 16, 64)], "the widest first; the last three lines are filled up to four"


def test_white_space_is_kept_as_files_keep_it() -> None:
    line = page_line("  ab  c ", [0.1, 0.2, 0.8, 0.6, 0.3, 0.4, 0.4, 0.5], np.zeros((3, 2)), np.zeros((2, 2)))
    assert line.text == "ab c"
    assert line.characters == (("a", 0.8), ("b", 0.6), (" ", 0.3), ("c", 0.4))
    assert line.confidence == pytest.approx((0.8 + 0.6 + 0.3 + 0.4) / 4)


def test_a_picture_of_one_character_has_one_line() -> None:
    picture_HW = np.zeros((30, 20), np.uint8)
    reading = whole_picture(Reading(image_HW=picture_HW, text="7", confidence=0.9), picture_HW, "character")
    assert (reading.text, reading.kind, reading.size, reading.confidence) == ("7", "character", (20, 30), 0.9)
    assert reading.lines[0].characters == (("7", 0.9),)
    assert reading.lines[0].outline.max(axis=0).tolist() == [19, 29]


def test_places_of_a_turned_page_are_those_of_the_page_as_it_came() -> None:
    line = page_line("a", [0.9], np.array([(0.0, 0.0), (9.0, 0.0), (9.0, 4.0)]), np.array([(1.0, 3.0), (8.0, 3.0)]))
    back = turned_back(PageReading(size=(100, 50), lines=(line,), confidence=0.9))
    assert back.upside_down
    assert back.lines[0].outline.tolist() == [[99, 49], [90, 49], [90, 45]]
    assert back.lines[0].baseline.tolist() == [[98, 46], [91, 46]]
