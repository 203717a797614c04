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
        """Number of each example's writer (or page), or None if unknown. No writer is in two splits."""

    def __len__(self) -> int: ...

    def take(self: SplitT, indices: Int[np.ndarray, "M"]) -> SplitT:
        """The examples at `indices`, in that order."""

    def image(self, index: int) -> np.ndarray:
        """The image at `index`: uint8, ink 255 on paper 0, shape (height, width)."""


SplitT = TypeVar("SplitT", bound=Split)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An example that cannot be used for training or reading."""

    name: str
    reason: str
    """Why it cannot be used, such as `it has no label`."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Generic[SplitT]):
    """Three splits of examples of one kind."""

    name: str
    """Its name in `--data`."""
    charset: Charset
    """The characters of the training split."""
    train: SplitT
    validation: SplitT
    test: SplitT
    refused: tuple[Refused, ...] = ()
    """Examples that are in no split, with the reasons."""
    clipped: tuple[str, ...] = ()
    """Names of the lines that reached outside their page and were cut off at its edge."""

    def split(self, name: str) -> SplitT:
        """The split of that name: train, validation or test.

        Raises:
            UserError: unknown name.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        split: SplitT = getattr(self, name)
        return split


AnyDataset = Dataset[Any]
AnySplit = Any
"""A split of either kind. Only the task knows the kind, so a type checker cannot check it."""
