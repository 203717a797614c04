"""Images of single lines: splits, padding, and the widths that batches are padded to."""

# N examples, M chosen examples, B batch, H height, W width, L label length, V different widths (with 0)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.data.dataset import Dataset

Image = UInt8[np.ndarray, "H _"]  # each line has its own width

BUCKETS = 5
"""Most widths that training batches are padded to."""
_COLUMNS = 16  # the width of a bucket is a multiple of it


@dataclass(frozen=True, kw_only=True)
class LineSplit:
    """Images of one line each, all of one height, with their texts."""

    images: Sequence[Image]
    """Ink 255 on paper 0. The sequence may read each image from a file on demand."""
    widths_N: Int[np.ndarray, "N"]
    """Width of each image, pixels."""
    texts: Sequence[str]
    names: Sequence[str]
    """Name of each line in messages."""
    writers_N: Int[np.ndarray, "N"] | None = None
    """Number of each line's writer (or page), or None if unknown. No writer is in two splits."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def height(self) -> int:
        """Height of every image, pixels."""
        return len(self.images[0])

    def image(self, index: int) -> Image:
        """The image at `index`."""
        return self.images[index]

    def take(self, indices: Int[np.ndarray, "M"]) -> LineSplit:
        """The lines at `indices`, in that order."""
        return LineSplit(
            images=Selected(self.images, indices),
            widths_N=self.widths_N[indices],
            texts=[self.texts[i] for i in indices],
            names=[self.names[i] for i in indices],
            writers_N=None if self.writers_N is None else self.writers_N[indices],
        )


class Selected(Sequence[Image]):
    """Some images of a sequence, each read on demand."""

    def __init__(self, images: Sequence[Image], indices: Int[np.ndarray, "M"]) -> None:
        deeper = images if isinstance(images, Selected) else None  # a selection of a selection refers to the original
        self._images: Sequence[Image] = deeper._images if deeper else images
        self._indices: Int[np.ndarray, "M"] = deeper._indices[indices] if deeper else indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # no slices
        return self._images[int(self._indices[index])]


class _Joined(Sequence[Image]):
    """The images of two sequences, one sequence after the other."""

    def __init__(self, first: Sequence[Image], second: Sequence[Image]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # no slices
        start = len(self._first)
        return self._first[index] if index < start else self._second[index - start]


def joined(first: LineSplit, second: LineSplit) -> LineSplit:
    """The lines of two splits that share no writer, one split after the other."""
    writers_N = None
    if first.writers_N is not None and second.writers_N is not None:
        writers_N = np.concatenate([first.writers_N, second.writers_N + first.writers_N.max() + 1])
    return LineSplit(
        images=_Joined(first.images, second.images),
        widths_N=np.concatenate([first.widths_N, second.widths_N]),
        texts=[*first.texts, *second.texts],
        names=[*first.names, *second.names],
        writers_N=writers_N,
    )


LineDataset = Dataset[LineSplit]


def pad(images: Sequence[Image], width: int) -> Float[np.ndarray, "B H W 1"]:
    """Images in one array of `width` columns, float32, ink 1. Paper (0) follows the end of each image."""
    images_BHW1 = np.zeros((len(images), len(images[0]), width, 1), np.float32)
    for padded, image in zip(images_BHW1, images, strict=True):
        padded[:, : image.shape[1], 0] = image
    images_BHW1 /= np.float32(255)
    return images_BHW1


def pad_labels(labels: Sequence[Int[np.ndarray, "_"]], length: int) -> Int[np.ndarray, "B L"]:
    """Labels in one array of `length` columns, int32. 0 follows the end of each label."""
    labels_BL = np.zeros((len(labels), length), np.int32)
    for row, label in zip(labels_BL, labels, strict=True):
        row[: len(label)] = label
    return labels_BL


def frames_needed(label: Sequence[int] | str | Int[np.ndarray, "_"]) -> int:
    """The fewest frames to which CTC can align a label: one per character, and one between equal neighbours.

    Source: Graves et al. 2006.
    """
    return len(label) + sum(int(a == b) for a, b in pairwise(label))


def bucket_widths(widths_N: Int[np.ndarray, "N"], buckets: int = BUCKETS) -> Int[np.ndarray, "_"]:
    """Choose the widths that batches are padded to: at most `buckets`, ascending, with the least padding in total.

    There are few of them, because some frameworks compile once per width. The last one fits every line. Dynamic
    programming over the different widths of the lines finds the best choice.

    Args:
        widths_N: width of each line, pixels.
        buckets: largest number of widths.
    """
    occurring, counts = np.unique(-(-widths_N // _COLUMNS) * _COLUMNS, return_counts=True)
    ends_V, lines_V = (np.concatenate([[0], values]) for values in (occurring, counts.cumsum()))
    # [i, j]: columns of all lines of a bucket that begins above width i and ends with width j; 0 if i is j
    cost_VV = np.where(np.tri(len(ends_V), k=-1), np.inf, (lines_V - lines_V[:, None]) * ends_V)
    fewest_V = np.where(ends_V, np.inf, 0)  # fewest columns of all lines up to each width, with no bucket yet
    begins: list[np.ndarray] = []
    for _ in range(buckets):
        total_VV = fewest_V[:, None] + cost_VV
        fewest_V = total_VV.min(axis=0)
        begins.append(total_VV.argmin(axis=0))
    end, limits = len(occurring), []
    for begin_V in reversed(begins):
        limits.append(ends_V[end])
        end = begin_V[end]
    return np.setdiff1d(limits, [0])  # ascending; an empty bucket repeats a width, or is 0
