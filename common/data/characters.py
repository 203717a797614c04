"""Images of single characters: splits and batches."""

# N examples, M chosen examples, B batch, H height, W width, K classes

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from common.batch import Batch, to_float
from common.data.batches import Batches
from common.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class CharacterSplit:
    """Images of one character each, with their classes."""

    images_NHW: UInt8[np.ndarray, "N H W"]
    """Ink 255 on paper 0."""
    labels_N: Int[np.ndarray, "N"]
    """Class of each image, from 0 to K - 1."""
    writers_N: Int[np.ndarray, "N"] | None = None
    """Number of each image's writer, or None if unknown. No writer is in two splits."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, indices: Int[np.ndarray, "M"]) -> CharacterSplit:
        """The examples at `indices`, in that order."""
        writers = None if self.writers_N is None else self.writers_N[indices]
        return CharacterSplit(images_NHW=self.images_NHW[indices], labels_N=self.labels_N[indices], writers_N=writers)

    def image(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """The image at `index`."""
        return self.images_NHW[index]


CharacterDataset = Dataset[CharacterSplit]


class CharacterBatches(Batches[Batch, np.ndarray]):
    """Training batches of a split of characters; see `Batches`."""

    def __init__(self, split: CharacterSplit, *, batch_size: int, seed: int, workers: int = 0) -> None:
        super().__init__(len(split), batch_size=batch_size, seed=seed, workers=workers)
        self._split = split

    def draw_order(self, rng: np.random.Generator) -> Int[np.ndarray, "N"]:
        return rng.permutation(self.examples)

    def batch(self, epoch: int, index: int) -> Batch:
        start = index * self.batch_size
        return character_batch(self._split, self.order_of(epoch)[start : start + self.batch_size])


def character_batch(split: CharacterSplit, chosen: Int[np.ndarray, "B"]) -> Batch:
    """One batch of the examples at the indices `chosen`."""
    return Batch(
        images_BHW1=to_float(split.images_NHW[chosen]),
        labels_B=split.labels_N[chosen].astype(np.int32),
    )
