"""Characters and their ids."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from common.errors import UserError


@dataclass(frozen=True)
class Charset:
    """The characters a recognizer can read, in the order of its classes.

    A character rung has one class per character: class k is `characters[k]`.

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

    def text(self, classes: Sequence[int] | Int[np.ndarray, "N"]) -> str:
        """The characters of the classes, joined."""
        return "".join(self.characters[k] for k in classes)


DIGITS = Charset(tuple(string.digits))
LETTERS = Charset(tuple(string.ascii_lowercase))
# the order of EMNIST byclass, so that whatever is trained on one reads the other
ALPHANUMERIC = Charset(tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase))
