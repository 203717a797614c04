"""A data set of lines, and the batches drawn from it."""

# N examples, B batch, H height, W width, L label length, U buckets, V widths that occur, and 0

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import Charset
from common.data.dataset import made_ahead
from common.errors import unknown_name

Image = UInt8[np.ndarray, "H _"]  # the width is each line's own
Augment = Callable[[Image, np.random.Generator, int], Image]
"""Changes a line's image, its height kept, to at most so many columns."""

BUCKETS = 5
_COLUMNS = 16  # a bucket's width is a multiple of it


@dataclass(frozen=True, kw_only=True)
class LineSplit:
    """Images of one line each, all of one height, with their text."""

    images: Sequence[Image]
    """Ink 255 on paper 0; a sequence that may read each image from a file when it is asked for."""
    widths_N: Int[np.ndarray, "N"]
    """Of the images, pixels."""
    texts: Sequence[str]
    names: Sequence[str]
    """What to call each line in a message."""
    writers_N: Int[np.ndarray, "N"] | None = None
    """Who wrote each line, or which page it stands on, where that is known; none is in two splits."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def height(self) -> int:
        """Of every image, pixels."""
        return len(self.images[0])

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
    """Some images of a sequence, each read when it is asked for."""

    def __init__(self, images: Sequence[Image], indices: Int[np.ndarray, "M"]) -> None:
        deeper = images if isinstance(images, Selected) else None  # a choice from a choice is no deeper
        self._images: Sequence[Image] = deeper._images if deeper else images
        self._indices: Int[np.ndarray, "M"] = deeper._indices[indices] if deeper else indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # no slices
        return self._images[int(self._indices[index])]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A line that cannot be learnt from or read."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LineDataset:
    """Three splits that share no line, no writer and no page."""

    name: str
    """As `--data` names it."""
    charset: Charset
    """The characters of the training split."""
    train: LineSplit
    validation: LineSplit
    test: LineSplit
    refused: tuple[Refused, ...] = ()
    """What is in no split."""

    def split(self, name: str) -> LineSplit:
        """The split called train, validation or test.

        Raises:
            UserError: another name.
        """
        if name not in ("train", "validation", "test"):
            raise unknown_name("split", name, ("train", "validation", "test"))
        split: LineSplit = getattr(self, name)
        return split


@dataclass(frozen=True, kw_only=True)
class LineBatch:
    """What one training step sees."""

    images_BHW1: Float[np.ndarray, "B H W 1"]
    """float32, ink 1 on paper 0; 0 past a line's own width."""
    widths_B: Int[np.ndarray, "B"]
    """int32, the columns that are each line's own, from 1."""
    labels_BL: Int[np.ndarray, "B L"]
    """int32, classes of the characters, from 1; 0 past the end."""
    label_lengths_B: Int[np.ndarray, "B"]
    """int32, characters."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """What `Recognizer.logits` takes."""
        return self.images_BHW1, self.widths_B, self.labels_BL

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a loss takes."""
        return self.images_BHW1, self.widths_B, self.labels_BL, self.label_lengths_B


def pad(images: Sequence[Image], width: int) -> Float[np.ndarray, "B H W 1"]:
    """Images side by side in one array of `width` columns, float32, ink 1, paper after each one's end."""
    images_BHW1 = np.zeros((len(images), len(images[0]), width, 1), np.float32)
    for padded, image in zip(images_BHW1, images, strict=True):
        padded[:, : image.shape[1], 0] = image
    images_BHW1 /= np.float32(255)
    return images_BHW1


def pad_labels(labels: Sequence[Int[np.ndarray, "_"]], length: int) -> Int[np.ndarray, "B L"]:
    """Labels one below the other, 0 after each one's end."""
    labels_BL = np.zeros((len(labels), length), np.int32)
    for row, label in zip(labels_BL, labels, strict=True):
        row[: len(label)] = label
    return labels_BL


def frames_needed(label: Sequence[int] | str | Int[np.ndarray, "_"]) -> int:
    """How many frames CTC needs to spell a label: one per character, and one between equal neighbours.

    Source: Graves et al. 2006.
    """
    return len(label) + sum(a == b for a, b in pairwise(label))


def bucket_widths(widths_N: Int[np.ndarray, "N"], buckets: int = BUCKETS) -> Int[np.ndarray, "U"]:
    """At most so many widths that batches are padded to, rising, with the fewest columns in all; the last holds all.

    Frameworks that compile do so once per width. Found by dynamic programming over the widths that occur.
    """
    occurring, counts = np.unique(-(-widths_N // _COLUMNS) * _COLUMNS, return_counts=True)
    ends_V, lines_V = (np.concatenate([[0], values]) for values in (occurring, counts.cumsum()))
    # [i, j]: what a bucket costs that begins above the i-th width and ends with the j-th; nothing if i is j
    cost_VV = np.where(np.tri(len(ends_V), k=-1), np.inf, (lines_V - lines_V[:, None]) * ends_V)
    fewest_V = np.where(ends_V, np.inf, 0)  # columns up to each width, in no bucket yet
    begins: list[np.ndarray] = []
    for _ in range(buckets):
        total_VV = fewest_V[:, None] + cost_VV
        fewest_V = total_VV.min(axis=0)
        begins.append(total_VV.argmin(axis=0))
    end, limits = len(occurring), []
    for begin_V in reversed(begins):
        limits.append(ends_V[end])
        end = begin_V[end]
    return np.setdiff1d(limits, [0])  # rising; that of an empty bucket stands there twice, or is 0


class LineBatches:
    """The training batches of a split: every line once per epoch, in an order drawn anew for each.

    Lines of about one width share a batch, padded to the width of their bucket and to its longest label, so that there
    are only a few shapes. What is left over in a bucket goes up to the next one; the last batch of the widest holds
    what remains and may be smaller. A batch is a function of (seed, epoch, index) alone.

    Args:
        split: what to draw from.
        charset: gives characters their classes; it knows all of the split's.
        batch_size: lines per batch.
        seed: of the order, and of what `augment` does.
        workers: threads that make batches ahead of time; 0 makes each when it is asked for.
        augment: what to do to each image, drawn anew for each line and epoch; None leaves them as they are. An image
            that it makes too narrow for CTC to spell its text stays as it is.
        frames: how many a line of so many columns gives, for that; see `LineSpec.frames`.
    """

    def __init__(
        self,
        split: LineSplit,
        charset: Charset,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
        augment: Augment | None = None,
        frames: Callable[[int], int] | None = None,
    ) -> None:
        self._split = split
        self._frames = frames
        self._labels = [charset.encode(text) for text in split.texts]
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._augment = augment
        self._bucket_widths = bucket_widths(split.widths_N)
        self._bucket_N = np.searchsorted(self._bucket_widths, split.widths_N)
        lengths_N = np.array([len(label) for label in self._labels])
        # a bucket also takes what is left over from those below it; labels are arrays even where all texts are empty
        longest = [lengths_N[self._bucket_N <= u].max() for u in range(len(self._bucket_widths))]
        self._bucket_lengths = [max(1, int(length)) for length in longest]
        self._order: tuple[int, list[tuple[int, Int[np.ndarray, "B"]]]] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self._split) // self._batch_size)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(width in pixels, label length) of each bucket."""
        return [(int(w), n) for w, n in zip(self._bucket_widths, self._bucket_lengths, strict=True)]

    def batch(self, epoch: int, index: int) -> LineBatch:
        """Batch `index` of `epoch`, both from 0."""
        bucket, chosen = self._order_of(epoch)[index]
        width, length = self.shapes[bucket]
        images = [self._split.images[int(i)] for i in chosen]
        labels = [self._labels[i] for i in chosen]
        if self._augment is not None:
            images = [
                self._changed(image, label, np.random.default_rng([self._seed, epoch, int(i)]), width)
                for i, image, label in zip(chosen, images, labels, strict=True)
            ]
        return LineBatch(
            images_BHW1=pad(images, width),
            widths_B=np.array([image.shape[1] for image in images], np.int32),
            labels_BL=pad_labels(labels, length),
            label_lengths_B=np.array([len(label) for label in labels], np.int32),
        )

    def _changed(self, image: Image, label: Int[np.ndarray, "_"], rng: np.random.Generator, width: int) -> Image:
        assert self._augment is not None
        changed = self._augment(image, rng, width)
        fits = self._frames is None or self._frames(changed.shape[1]) >= frames_needed(label)
        return changed if fits else image

    def epoch(self, epoch: int) -> Iterator[LineBatch]:
        """All batches of an epoch in order, made ahead by the workers."""
        return made_ahead(lambda index: self.batch(epoch, index), len(self), self._workers)

    def _order_of(self, epoch: int) -> list[tuple[int, Int[np.ndarray, "B"]]]:
        """Bucket and lines of each batch."""
        cached = self._order
        if cached is None or cached[0] != epoch:
            cached = epoch, self._draw_order(np.random.default_rng([self._seed, epoch]))
            self._order = cached
        return cached[1]

    def _draw_order(self, rng: np.random.Generator) -> list[tuple[int, Int[np.ndarray, "B"]]]:
        shuffled_N = rng.permutation(len(self._split))
        batches: list[tuple[int, Int[np.ndarray, "B"]]] = []
        left = shuffled_N[:0]
        for bucket in range(len(self._bucket_widths)):
            waiting = np.concatenate([left, shuffled_N[self._bucket_N[shuffled_N] == bucket]])
            full = len(waiting) // self._batch_size * self._batch_size
            batches += [(bucket, waiting[i : i + self._batch_size]) for i in range(0, full, self._batch_size)]
            left = waiting[full:]
        if len(left):
            batches.append((len(self._bucket_widths) - 1, left))
        return [batches[i] for i in rng.permutation(len(batches))]
