"""Pictures of lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from common.evaluation.measure import ACCURACY, CER
from common.metrics import count_edits
from common.reading.result import Reading
from common.report import figures
from common.report.drawing import png
from common.report.line_figures import marked, sheet_of_mistakes

AWKWARD = ("a $b$ _c^2 \\frac", "中文🤣", "tab\tand\nmore", "", "ﬀ ẞ ✓ ȼ ▒")


def reading(truth: str | None, text: str, width: int = 60) -> Reading:
    image_HW = np.zeros((28, width), np.uint8)
    shares = (0.5,) * len(text)
    return Reading(image_HW=image_HW, text=text, confidence=0.73, truth=truth, character_confidences=shares)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_edits_are_marked_in_the_text_that_they_belong_to() -> None:
    truth, read = marked("jumps over", "jumqs ovrr!")
    assert truth == [("jum", "right"), ("p", "wrong"), ("s ov", "right"), ("e", "wrong"), ("r", "right")]
    assert read == [("jum", "right"), ("q", "wrong"), ("s ov", "right"), ("r", "wrong"), ("r", "right"), ("!", "extra")]
    assert marked("abc", "") == ([("abc", "missed")], [])


def test_mistakes_are_marked_with_signs_and_not_by_colour_alone() -> None:
    said = texts(figures.sheet_of_readings([reading("the dog", "tha dogg"), reading("a cat", "acat")], "title"))
    for piece in ("[e]", "[a]", "(␣)", "✗", "true", "read", "   73% sure"):
        assert piece in said, piece
    assert any(piece.startswith("+g") for piece in said)


def test_correct_reading_is_written_once() -> None:
    said = texts(figures.sheet_of_readings([reading("the dog", "the dog")], "title"))
    assert said.count("the dog") == 1
    assert "✓" in said
    assert "true" not in said


def test_line_without_a_truth_is_neither_right_nor_wrong() -> None:
    said = texts(figures.sheet_of_readings([reading(None, "the dog")], "title"))
    assert not {"✓", "✗"} & set(said)


@pytest.mark.parametrize("width", [1, 60, 2048])
def test_any_text_is_drawn_literally_and_inside_the_sheet(width: int) -> None:
    shown = [reading(a, b, width) for a, b in zip(AWKWARD, reversed(AWKWARD), strict=True)]
    figure: Any = figures.sheet_of_readings([*shown, reading("x" * 300, "y" * 250, width)], "a $b$ _c")
    png(figure)  # a warning is an error here: a glyph the font lacks would give one
    edges = [text.get_window_extent().x1 for text in figure.findobj(Text) if text.get_text()]
    assert max(edges) <= figure.bbox.x1
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())


def test_most_frequent_mistakes_come_first_with_their_number() -> None:
    said = texts(sheet_of_mistakes(count_edits(["oo ", "a"], ["00", "ab"])))
    for words in ("o read as 0", "␣ missed", "b extra", "2"):
        assert words in said, words
    assert any("4 mistakes: 2 characters read as others" in words for words in said)


def test_a_split_without_a_mistake_has_a_picture_too() -> None:
    figure = sheet_of_mistakes(count_edits(["a"], ["a"]))
    png(figure)
    assert "No mistakes" in texts(figure)


def test_curves_of_lines_show_both_rates_and_mark_the_lowest() -> None:
    rows = [
        {"step": s, "train/loss": 1 / s, "train/learning_rate": 0.1, "validation/cer": c, "validation/wer": 2 * c}
        for s, c in ((1, 1.2), (2, 0.1234), (3, 0.2))
    ]
    said = texts(figures.sheet_of_curves(rows, CER))
    for words in ("best 12.34%", "characters (CER)", "words (WER)", "nats per character"):
        assert words in said, words


def test_measures_word_their_main_figures() -> None:
    lines = {"cer": 0.05, "cer_interval": [0.04, 0.06], "wer": 0.2, "wer_interval": [0.1, 0.3]}
    assert CER.sentence({"examples": 1000, "split": "test", **lines}) == (
        "CER 5.00% (95% interval 4.00% to 6.00%) and WER 20.00% (10.00% to 30.00%) of 1,000 test lines"
    )
    characters = {"examples": 60, "split": "test", "accuracy": 0.5, "accuracy_interval": [0.4, 0.6]}
    assert ACCURACY.sentence(characters) == "50.00% of 60 test images read right (95% interval 40.00% to 60.00%)"
