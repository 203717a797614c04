"""A data set: three splits that share no example, no writer and no page."""

# N examples, M chosen examples

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

from common.charset import Charset
from common.errors import unknown_name

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@runtime_checkable  # the tests check types at run time
class Split(Protocol):
    """Examples of one kind; see `CharacterSplit` and `LineSplit`."""

    @property
    def writers_N(self) -> Int[np.ndarray, "N"] | None:
        """The writer (or the page) of each example, where it is known; no writer is in two splits."""

    def __len__(self) -> int: ...

    def take(self: SplitT, indices: Int[np.ndarray, "M"]) -> SplitT:
        """The examples at `indices`, in that order."""

    def image(self, index: int) -> np.ndarray:
        """One image, uint8, ink 255 on paper 0, (height, width)."""


SplitT = TypeVar("SplitT", bound=Split)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An example that cannot be learnt from or read."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset(Generic[SplitT]):
    """Three splits of examples of one kind."""

    name: str
    """As `--data` names it."""
    charset: Charset
    """The characters of the training split."""
    train: SplitT
    validation: SplitT
    test: SplitT
    refused: tuple[Refused, ...] = ()
    """Examples that are in no split, each with the reason."""

    def split(self, name: str) -> SplitT:
        """The split called train, validation or test.

        Raises:
            UserError: another name.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        split: SplitT = getattr(self, name)
        return split


AnyDataset = Dataset[Any]
AnySplit = Any
"""A split whose kind only its task knows; a type checker cannot tell."""
