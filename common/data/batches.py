"""Training batches: every example once per epoch, in a new random order in each epoch.

A batch depends only on the seed, the epoch and its index. Any number of workers therefore makes the same batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")
BatchT = TypeVar("BatchT")
Order = TypeVar("Order")


def prefetched(make: Callable[[int], Item], count: int, workers: int) -> Iterator[Item]:
    """Yield `make(0)`, `make(1)`, ... in order.

    `workers` threads prepare items ahead of time; 0 prepares each item on demand.
    """
    if not workers:
        yield from map(make, range(count))
        return
    ahead: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        for index in range(count):
            ahead.append(pool.submit(make, index))
            if len(ahead) > 2 * workers:  # limits memory: a slow model must not fill it with batches
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class Batches(ABC, Generic[BatchT, Order]):
    """The training batches of a split.

    Args:
        examples: number of examples in the split.
        batch_size: examples per batch. The last batch of an epoch may be smaller.
        seed: seed of the order.
        workers: threads that prepare batches ahead of time; 0 prepares each batch on demand.
    """

    def __init__(self, examples: int, *, batch_size: int, seed: int, workers: int = 0) -> None:
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers
        self._order: tuple[int, Order] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.examples // self.batch_size)

    @abstractmethod
    def batch(self, epoch: int, index: int) -> BatchT:
        """Batch `index` of epoch `epoch`; both count from 0."""

    @abstractmethod
    def draw_order(self, rng: np.random.Generator) -> Order:
        """Draw the order of one epoch."""

    def epoch(self, epoch: int) -> Iterator[BatchT]:
        """All batches of an epoch in order."""
        return prefetched(lambda index: self.batch(epoch, index), len(self), self.workers)

    def order_of(self, epoch: int) -> Order:
        """The order of an epoch. The order of the last call is cached."""
        cached = self._order
        if cached is None or cached[0] != epoch:
            cached = epoch, self.draw_order(np.random.default_rng([self.seed, epoch]))
            self._order = cached
        return cached[1]
