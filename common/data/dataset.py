"""A data set in memory, and the batches drawn from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import Charset
from common.errors import unknown_name

# N examples, B batch, H height, W width


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one character each, with their classes."""

    images_NHW: UInt8[np.ndarray, "N H W"]
    """Ink 255 on paper 0."""
    labels_N: Int[np.ndarray, "N"]
    """Class of each image, 0 ≤ class < K."""
    writers_N: Int[np.ndarray, "N"] | None = None
    """Who wrote each image, where that is known; no writer is in two splits."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, indices: Int[np.ndarray, "M"]) -> Split:
        """The examples at `indices`, in that order."""
        writers = None if self.writers_N is None else self.writers_N[indices]
        return Split(images_NHW=self.images_NHW[indices], labels_N=self.labels_N[indices], writers_N=writers)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three splits that share no example, no writer and no page."""

    name: str
    """As `--data` names it."""
    charset: Charset
    train: Split
    validation: Split
    test: Split

    def split(self, name: str) -> Split:
        """The split called train, validation or test.

        Raises:
            UserError: another name.
        """
        if name not in ("train", "validation", "test"):
            raise unknown_name("split", name, ("train", "validation", "test"))
        split: Split = getattr(self, name)
        return split


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one training step sees."""

    images_BHW1: Float[np.ndarray, "B H W 1"]
    """float32, ink 1 on paper 0."""
    labels_B: Int[np.ndarray, "B"]
    """int32, class of each image."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """What `Recognizer.logits` takes."""
        return (self.images_BHW1,)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a loss takes."""
        return self.images_BHW1, self.labels_B


def to_float(images_NHW: UInt8[np.ndarray, "N H W"]) -> Float[np.ndarray, "N H W 1"]:
    """uint8 images, ink 255, as float32 with ink 1 and a channel axis."""
    return (images_NHW.astype(np.float32) / np.float32(255))[..., None]


Made = TypeVar("Made")


def made_ahead(make: Callable[[int], Made], count: int, workers: int) -> Iterator[Made]:
    """`make(0)`, `make(1)` and so on in order, made ahead of time by so many threads; with 0, when asked for."""
    if not workers:
        yield from map(make, range(count))
        return
    ahead: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        for index in range(count):
            ahead.append(pool.submit(make, index))
            if len(ahead) > 2 * workers:  # bounds memory: a slow model must not fill it with batches
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class Batches:
    """The training batches of a split: every example once per epoch, in an order drawn anew for each.

    A batch is a function of (seed, epoch, index) alone, so any number of workers gives the same bytes.
    The last batch of an epoch holds what is left and may be smaller.

    Args:
        split: what to draw from.
        batch_size: examples per batch.
        seed: of the order.
        workers: threads that make batches ahead of time; 0 makes each when it is asked for.
    """

    def __init__(self, split: Split, *, batch_size: int, seed: int, workers: int = 0) -> None:
        self._split = split
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._order: tuple[int, Int[np.ndarray, "N"]] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self._split) // self._batch_size)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of `epoch`, both from 0."""
        start = index * self._batch_size
        chosen = self._order_of(epoch)[start : start + self._batch_size]
        return Batch(
            images_BHW1=to_float(self._split.images_NHW[chosen]),
            labels_B=self._split.labels_N[chosen].astype(np.int32),
        )

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """All batches of an epoch in order, made ahead by the workers."""
        return made_ahead(lambda index: self.batch(epoch, index), len(self), self._workers)

    def _order_of(self, epoch: int) -> Int[np.ndarray, "N"]:
        cached = self._order
        if cached is None or cached[0] != epoch:
            cached = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._split))
            self._order = cached
        return cached[1]
