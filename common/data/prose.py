"""Text for drawn handwriting: prose of Python's documentation, part of every Python installation, or a text file."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from common.data.text import normalised, read_utf8
from common.errors import UserError

CHARACTERS = " !\"#$%&'()*+,-./" + string.digits + ":;=?@" + string.ascii_uppercase + string.ascii_lowercase
Part = Literal["train", "validation", "test"]

# the part of each of ten topics in turn: two are for the test and one for validation
_PARTS: tuple[Part, ...] = ("test", "validation", "train", "train", "train", "test", *("train",) * 4)
_NUMBER = 0.08  # share of words that are replaced by a number
_MIXED = 0.06  # share of words that are replaced by a random string
_CAPITALS = 0.08  # share of words that are written in capitals
# characters that look alike in handwriting, outside of a word
_ALIKE = set("Il1O0 ")


@cache
def _words_by_part() -> dict[Part, tuple[str, ...]]:
    from pydoc_data import topics  # half a megabyte of text

    known, seen = set(CHARACTERS), set()
    found: dict[Part, list[str]] = {"test": [], "validation": [], "train": []}
    for part, words_of_part in found.items():
        for i, topic in enumerate(sorted(topics.topics)):
            if _PARTS[i % len(_PARTS)] != part:
                continue
            for sentence in _sentences(topics.topics[topic]):
                if sentence not in seen:  # topics repeat each other
                    seen.add(sentence)
                    words_of_part += [word for word in sentence.split() if set(word) <= known]
    return {part: tuple(words_of_part) for part, words_of_part in found.items()}


def _sentences(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        # prose starts at the margin: code, grammar and tables are indented or have rules
        if re.match(r"\S", paragraph) and not re.search(r"[=*~+-]{4}|::=|\|", paragraph):
            prose = " ".join(re.sub(r"[*`]+", "", paragraph).split())  # without marks of emphasis
            yield from re.split(r"(?<=[.:;]) ", prose)


def words(part: Part) -> tuple[str, ...]:
    """The words of one part, in their order, without tables and code. No sentence is in two parts."""
    return _words_by_part()[part]


def words_of_file(path: Path, part: Part) -> tuple[str, ...]:
    """The words of one part of a text file, in their order. No sentence is in two parts.

    Of ten sentences, two are for the test and one is for validation.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or has too few different sentences.
    """
    try:
        # a sentence may go over several lines, but not over an empty one
        paragraphs = re.split(r"\n\s*\n", read_utf8(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a text file") from None
    sentences = dict.fromkeys(
        normalised(sentence) for text in paragraphs for sentence in re.split(r"(?<=[.:;!?])\s", text)
    )
    own = [sentence for i, sentence in enumerate(sentences) if _PARTS[i % len(_PARTS)] == part]
    found = tuple(word for sentence in own for word in sentence.split())
    if not found:
        raise UserError(
            f"{path.name} has {len(sentences)} different sentences; expected at least ten, so that the training, "
            "validation and test text differ; name a longer text"
        )
    return found


def draw_text(part: Part, most: int, rng: np.random.Generator, characters: str = CHARACTERS) -> str:
    """Draw a line of text: consecutive words of the documentation.

    The maximum length is drawn uniformly from 4 (or `most`, if that is less) to `most`. Some words are replaced by
    numbers, capitals or random strings, because a model cannot learn characters that it rarely sees.

    Args:
        part: the part of the documentation.
        most: largest maximum length, characters.
        rng: source of the random numbers.
        characters: the characters that the text may have. Others are left out.
    """
    length = int(rng.integers(min(4, most), most + 1))
    prose = words(part)
    start = int(rng.integers(len(prose)))
    kept = set(characters) - {" "}
    text = ""
    for i in range(start, start + length):
        word = "".join(c for c in varied(prose[i % len(prose)], rng) if c in kept)
        longer = f"{text} {word}" if text and word and " " in characters else text + word
        if len(longer) > length:
            break
        text = longer
    return text or "".join(rng.choice(sorted(kept), length))


def varied(word: str, rng: np.random.Generator) -> str:
    """The word, or instead of it a number, a random string, or the word in capitals."""
    kind = rng.random()
    if kind < _NUMBER:
        number = int(10 ** rng.uniform(0, 6))
        return str(
            rng.choice([f"{number}", f"{number:,}", f"{number % 100}%", f"${number / 100:.2f}", f"#{number % 1000}"])
        )
    if kind < _NUMBER + _MIXED:
        return "".join(rng.choice(sorted(set(CHARACTERS) - _ALIKE), int(rng.integers(1, 6))))
    if kind < _NUMBER + _MIXED + _CAPITALS:
        return word.upper()
    return word
