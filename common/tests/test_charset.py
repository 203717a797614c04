"""Characters and their classes, compared with classes counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.charset import ALPHANUMERIC, DIGITS, Charset
from common.errors import UserError

ABC = Charset(("a", "b", "c"))


def test_classes_of_a_line_start_at_1() -> None:
    encoded = ABC.encode("cab")
    assert (encoded.dtype, encoded.tolist()) == (np.int32, [3, 1, 2])
    assert ABC.encode("").tolist() == []
    assert ABC.decode([3, 1, 2]) == "cab"


def test_a_character_that_the_charset_lacks_has_class_minus_1() -> None:
    assert ABC.encode("aéc").tolist() == [1, -1, 3]


def test_classes_of_single_characters_start_at_0() -> None:
    assert ABC.text([2, 0, 1]) == "cab"
    assert DIGITS.text(np.arange(10)) == "0123456789"
    assert (len(ALPHANUMERIC), ALPHANUMERIC.text([10, 35, 36, 61])) == (62, "AZaz")


def test_a_charset_of_texts_is_in_the_order_of_code_points() -> None:
    assert Charset.of(["be", "", "Äb aB"]).characters == (" ", "B", "a", "b", "e", "Ä")


def test_translation_matches_characters_by_name() -> None:
    assert ABC.translation(Charset(("c", "x", "a"))).tolist() == [2, -1, 0]


def test_case_folds_to_the_first_class() -> None:
    folded = Charset(("A", "b", "a", "B", "1")).folded()
    assert folded is not None
    assert folded.tolist() == [0, 1, 0, 1, 4]
    assert ABC.folded() is None


@pytest.mark.parametrize(
    ("characters", "words"),
    [(("a", "bc"), "'bc' is not one character"), (("a", "b", "a"), "holds 'a' more than once")],
)
def test_a_charset_has_single_characters_once_each(characters: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Charset(characters)
