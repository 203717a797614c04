"""Batches of lines, for training and for reading."""

# N examples, B batch, H height, W width, L label length

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int

from common.batch import LineBatch
from common.charset import Charset
from common.data.batches import Batches
from common.data.lines import Image, LineSplit, bucket_widths, frames_needed, pad, pad_labels

Augment = Callable[[Image, np.random.Generator, int], Image]
"""Changes the image of a line. The arguments are the image, a random generator and the maximum width, pixels."""
Order = list[tuple[int, Int[np.ndarray, "B"]]]
"""Bucket and line indices of each batch."""

READING_BUCKETS = 3  # fewer than in training: some frameworks compile again for each width of each split


def line_batch(
    images: Sequence[Image], labels: Sequence[Int[np.ndarray, "_"]], width: int = 0, length: int = 0
) -> LineBatch:
    """Make one batch of lines.

    Args:
        images: the lines' images.
        labels: the classes of each text, from 1.
        width: width to pad to, pixels; 0 means the width of the widest image.
        length: length to pad to, characters; 0 means the length of the longest label.
    """
    widths = [image.shape[1] for image in images]
    lengths = [len(label) for label in labels]
    return LineBatch(
        images_BHW1=pad(images, width or max(widths)),
        widths_B=np.array(widths, np.int32),
        labels_BL=pad_labels(labels, length or max(lengths)),
        label_lengths_B=np.array(lengths, np.int32),
    )


class LineBatches(Batches[LineBatch, Order]):
    """Training batches of a split of lines; see `Batches`.

    Lines of similar width are in one bucket. A batch has lines of one bucket, and is padded to the width and to the
    longest label of the bucket. There are therefore only a few shapes. The lines that do not fill a batch move to the
    next wider bucket. The last batch of the widest bucket may be smaller.

    Args:
        split: the lines.
        charset: maps characters to classes. It must have every character of the split.
        batch_size: lines per batch.
        seed: seed of the order and of `augment`.
        workers: threads that prepare batches ahead of time; 0 prepares each batch on demand.
        augment: changes each image, in a new way in each epoch; None changes nothing. If the result has too few frames
            for CTC to align with its text, the unchanged image is used.
        frames: the number of frames for a width in pixels, see `LineSpec.frames`; None skips the check of frames.
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
        super().__init__(len(split), batch_size=batch_size, seed=seed, workers=workers)
        self._split = split
        self._frames = frames
        self._labels = [charset.encode(text) for text in split.texts]
        self._augment = augment
        self._bucket_widths = bucket_widths(split.widths_N)
        self._bucket_N = np.searchsorted(self._bucket_widths, split.widths_N)
        lengths_N = np.array([len(label) for label in self._labels])
        # a bucket also gets lines from the narrower buckets; the length is at least 1, even if all texts are empty
        longest = [lengths_N[self._bucket_N <= bucket].max() for bucket in range(len(self._bucket_widths))]
        self._bucket_lengths = [max(1, int(length)) for length in longest]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(width in pixels, label length) of each bucket."""
        return [(int(w), n) for w, n in zip(self._bucket_widths, self._bucket_lengths, strict=True)]

    def batch(self, epoch: int, index: int) -> LineBatch:
        bucket, chosen = self.order_of(epoch)[index]
        width, length = self.shapes[bucket]
        images = [self._split.images[int(i)] for i in chosen]
        labels = [self._labels[i] for i in chosen]
        if self._augment is not None:
            images = [
                self._augmented(image, label, np.random.default_rng([self.seed, epoch, int(i)]), width)
                for i, image, label in zip(chosen, images, labels, strict=True)
            ]
        return line_batch(images, labels, width, length)

    def _augmented(self, image: Image, label: Int[np.ndarray, "_"], rng: np.random.Generator, width: int) -> Image:
        assert self._augment is not None
        augmented = self._augment(image, rng, width)
        fits = self._frames is None or self._frames(augmented.shape[1]) >= frames_needed(label)
        return augmented if fits else image

    def draw_order(self, rng: np.random.Generator) -> Order:
        shuffled_N = rng.permutation(self.examples)
        batches: Order = []
        left = shuffled_N[:0]
        for bucket in range(len(self._bucket_widths)):
            waiting = np.concatenate([left, shuffled_N[self._bucket_N[shuffled_N] == bucket]])
            full = len(waiting) // self.batch_size * self.batch_size
            batches += [(bucket, waiting[i : i + self.batch_size]) for i in range(0, full, self.batch_size)]
            left = waiting[full:]
        if len(left):
            batches.append((len(self._bucket_widths) - 1, left))
        return [batches[i] for i in rng.permutation(len(batches))]


def reading_batches(
    split: LineSplit, charset: Charset, batch_size: int, like: LineSplit | None = None
) -> Iterator[tuple[Int[np.ndarray, "_"], LineBatch]]:
    """All lines of a split in batches of a few shapes, each with the indices of its lines.

    The lines are sorted by bucket. The last batch of each bucket is filled up with copies of its last line; the copies
    are not among the indices. The labels leave out characters that the charset lacks.

    The shapes are those of the batches of `like`, whose widest line and longest text no line of the split exceeds; by
    default those of the split itself. A framework that compiles for each shape then compiles nothing for the split.
    """
    if not len(split):
        return
    like = like or split
    batch_size = min(batch_size, len(like))
    widths = bucket_widths(like.widths_N, READING_BUCKETS)
    bucket_N = np.searchsorted(widths, split.widths_N)
    length = max(len(text) for text in like.texts)
    for bucket, width in enumerate(widths):
        lines = np.flatnonzero(bucket_N == bucket)
        for start in range(0, len(lines), batch_size):
            chosen = lines[start : start + batch_size]
            filled = np.pad(chosen, (0, batch_size - len(chosen)), mode="edge")
            yield chosen, split_batch(split, charset, filled, int(width), length)


def split_batch(
    split: LineSplit, charset: Charset, chosen: Int[np.ndarray, "B"], width: int = 0, length: int = 0
) -> LineBatch:
    """One batch of the lines at the indices `chosen`, without characters that the charset lacks; see `line_batch`."""
    labels = [charset.encode(split.texts[i]) for i in chosen]
    known = [label[label > 0] for label in labels]
    return line_batch([split.images[int(i)] for i in chosen], known, width, length)
