"""Characters and their classes."""

# K classes, L characters

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from common.errors import UserError


@dataclass(frozen=True)
class Charset:
    """The characters a recognizer can read, in the order of its classes.

    In a rung that reads characters, class k is `characters[k]`. In a rung that reads lines, class 0 is not a character:
    it is CTC's blank, or the end of the text. There `characters[k]` is class k + 1; see `encode` and `decode`.

    Raises:
        UserError: a character occurs twice, or an entry is not one character.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        for character in self.characters:
            if len(character) != 1:
                raise UserError(f"charset entry {character!r} is not one character; give single characters")
        if len(set(self.characters)) != len(self.characters):
            twice = sorted({c for c in self.characters if self.characters.count(c) > 1})
            raise UserError(f"the charset holds {''.join(twice)!r} more than once; each character needs one class")

    def __len__(self) -> int:
        return len(self.characters)

    @cached_property
    def class_of(self) -> dict[str, int]:
        """Character to class."""
        return {character: k for k, character in enumerate(self.characters)}

    def translation(self, other: Charset) -> Int[np.ndarray, "K"]:
        """The class in this charset of each class of `other`; -1 for a character that this charset lacks."""
        return np.array([self.class_of.get(c, -1) for c in other.characters], dtype=np.int32)

    def folded(self) -> Int[np.ndarray, "K"] | None:
        """For each class, the first class that equals it once case is folded (`str.casefold`).

        None if no two classes differ by case alone.
        """
        folds = [c.casefold() for c in self.characters]
        first = {fold: folds.index(fold) for fold in folds}
        if len(first) == len(self):
            return None
        return np.array([first[fold] for fold in folds], dtype=np.int32)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Charset:
        """The characters of the texts, in the order of their code points."""
        return cls(tuple(sorted(set().union(*texts))))

    def encode(self, text: str) -> Int[np.ndarray, "L"]:
        """The classes of a line's characters, int32, from 1; -1 for a character that this charset lacks."""
        return np.array([self.class_of.get(c, -2) + 1 for c in text], dtype=np.int32)

    def decode(self, classes: Sequence[int] | Int[np.ndarray, "L"]) -> str:
        """The text of a line whose characters have these classes, from 1."""
        return "".join(self.characters[k - 1] for k in classes)

    def text(self, classes: Sequence[int] | Int[np.ndarray, "L"]) -> str:
        """The text of these classes of a rung that reads characters, from 0."""
        return "".join(self.characters[k] for k in classes)


DIGITS = Charset(tuple(string.digits))
LETTERS = Charset(tuple(string.ascii_lowercase))
# in the order of EMNIST byclass, so that a model trained on one data set reads the other
ALPHANUMERIC = Charset(tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase))
