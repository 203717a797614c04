"""Characters and their ids."""

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

    A rung that reads characters has one class per character: class k is `characters[k]`. A rung that reads lines has
    class 0 besides, which is no character, so there `characters[k]` is class k + 1; see `encode` and `decode`.

    Raises:
        UserError: a character stands twice, or an entry is not one character.
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
        """Class here of each class of `other`; -1 where this charset lacks the character."""
        return np.array([self.class_of.get(c, -1) for c in other.characters], dtype=np.int32)

    def folded(self) -> Int[np.ndarray, "K"] | None:
        """Class with case folded (`Str.casefold`), per class; None if no two classes fold together."""
        folds = [c.casefold() for c in self.characters]
        first = {fold: folds.index(fold) for fold in folds}
        if len(first) == len(self):
            return None
        return np.array([first[fold] for fold in folds], dtype=np.int32)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Charset:
        """The characters that stand in the texts, in the order of their code points."""
        return cls(tuple(sorted(set().union(*texts))))

    def encode(self, text: str) -> Int[np.ndarray, "N"]:
        """Classes of a line's characters, from 1; -1 where this charset lacks one. int32."""
        return np.array([self.class_of.get(c, -2) + 1 for c in text], dtype=np.int32)

    def decode(self, classes: Sequence[int] | Int[np.ndarray, "N"]) -> str:
        """The text whose characters have these classes, from 1."""
        return "".join(self.characters[k - 1] for k in classes)

    def text(self, classes: Sequence[int] | Int[np.ndarray, "N"]) -> str:
        """The characters of the classes, joined."""
        return "".join(self.characters[k] for k in classes)


DIGITS = Charset(tuple(string.digits))
LETTERS = Charset(tuple(string.ascii_lowercase))
# the order of EMNIST byclass, so that whatever is trained on one reads the other
ALPHANUMERIC = Charset(tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase))
