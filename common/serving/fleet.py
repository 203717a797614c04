"""The processes that read with the same models: started, replaced when they end, and retired together."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from common.errors import UserError
from common.reading.page import Kind
from common.serving.loading import Task
from common.serving.process import Process
from common.serving.reply import ModelInfo, Reply
from common.serving.work import Done
from common.serving.worker import Message

AT_ONCE = 8
"""Documents that a worker has at once, so that their lines can share batches."""
_SLOWEST = 5.0
"""Seconds before a worker is started again, at most, if workers end before they are ready."""
_TRIALS = 3
"""Workers that may end before any is ready. After them, the models are to blame."""
LOG = logging.getLogger("fourhands.engine")


@dataclass(eq=False)
class Request:
    """A document to read."""

    number: int
    data: bytes
    kind: Kind | None
    answer: asyncio.Future[Reply]
    arrived: float = field(default_factory=monotonic)
    started: float = 0.0
    """When a worker got it."""
    attempts: int = 0
    """Workers that ended while they had it."""
    alone: bool = False
    """Whether a worker ended while it worked on this document. The next one gets it without any other."""

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless it was answered or nobody waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Worker:
    """A process and the documents that it has."""

    def __init__(self, task: Task, fleet: Fleet) -> None:
        self.model: ModelInfo | None = None
        """None until the process is ready."""
        self.requests: dict[int, Request] = {}
        self.at: list[int] = []
        """Numbers of the documents that it works on now."""
        self.ending = False
        self._fleet = fleet
        self._left: dict[int, asyncio.TimerHandle] = {}
        self.process = Process(task, self._said, self._ended)

    @property
    def load(self) -> int:
        """Documents that it has, with those that it was told to leave and has not left yet."""
        return len(self.requests) + len(self._left)

    def can_take(self, request: Request) -> bool:
        """Whether it may get this document now."""
        if self.model is None or self.ending or any(each.alone for each in self.requests.values()):
            return False
        return self.load == 0 if request.alone else self.load < AT_ONCE

    def take(self, request: Request) -> None:
        """Read a document."""
        request.started = monotonic()
        self.requests[request.number] = request
        self.process.send("read", request.number, request.data, request.kind)

    def leave(self, request: Request, patience: float) -> None:
        """Leave a document that nobody waits for. A process that takes longer than the patience is killed."""
        del self.requests[request.number]
        self.process.send("drop", request.number)
        self._left[request.number] = asyncio.get_running_loop().call_later(patience, self._hangs, request.number)

    def end(self) -> None:
        """End when everything that it has is read."""
        self.ending = True
        self.process.send("end")

    def _hangs(self, number: int) -> None:
        LOG.error("worker %d does not leave document %d, and is killed", self.process.pid, number)
        self.process.kill()

    def _said(self, message: Message) -> None:
        what, *rest = message
        if what == "at":
            self.at, lines = rest
            self._fleet.counts.update(batches=int(lines > 0), lines=lines)
        elif what == "done":
            self._done(rest[0])
        elif what == "dropped":
            self._left.pop(rest[0]).cancel()
            self._fleet.changed()
        elif what == "unplanned":
            self._fleet.counts["unplanned"] += rest[0]
        elif what == "ready":
            self.model = rest[0]
            self._fleet.worker_ready(self)
        else:
            self._fleet.failure = str(rest[0])

    def _done(self, done: Done) -> None:
        request = self.requests.pop(done.number, None)
        if request is not None:
            self._fleet.answered(self, request, done)
        self._fleet.changed()

    def _ended(self) -> None:
        for timer in self._left.values():
            timer.cancel()
        self._fleet.worker_ended(self)


class Fleet:
    """Workers with the same models.

    Args:
        task: what the workers read with.
        size: workers.
        counts: figures for metrics, which the fleet adds to.
        answered: called with a worker, a request and what was read of it.
        lost: called with a worker that ended, which may have had documents.
        changed: called when a worker can take more.
    """

    def __init__(
        self,
        task: Task,
        size: int,
        counts: Counter[str],
        *,
        answered: Callable[[Worker, Request, Done], None],
        lost: Callable[[Worker], None],
        changed: Callable[[], None],
    ) -> None:
        self.task = task
        self.size = size
        self.counts = counts
        self.answered = answered
        self.lost = lost
        self.changed = changed
        self.workers: list[Worker] = []
        self.model: ModelInfo | None = None
        self.failure: str | None = None
        """Why the models cannot be used."""
        self.complete = asyncio.Event()
        """Set when all workers were ready once, or when they cannot be."""
        self.retired = False
        """Whether the workers end, and no others start."""
        self._early_ends = 0
        self._timers: list[asyncio.TimerHandle] = []

    def grow(self, size: int) -> None:
        """Start workers until there are `size` of them."""
        while len(self.workers) < size and not self.retired:
            self.workers.append(Worker(self.task, self))

    def warm(self) -> Iterator[Worker]:
        """The workers that can read."""
        return (worker for worker in self.workers if worker.model is not None and not worker.ending)

    async def prove(self) -> ModelInfo:
        """Start one worker, which proves the models, then the others; the model when all are ready.

        Raises:
            UserError: the models cannot be used.
        """
        self.grow(1 if self.size > 1 else self.size)
        await self.complete.wait()
        if self.failure is not None or self.model is None:
            raise UserError(self.failure or "the process that loads the models ended")
        return self.model

    def worker_ready(self, worker: Worker) -> None:
        """Note that a worker can read."""
        self.model = worker.model
        self._early_ends = 0
        if sum(1 for _ in self.warm()) >= self.size:
            self.complete.set()
        else:
            self.grow(self.size)
        self.changed()

    def worker_ended(self, worker: Worker) -> None:
        """Replace a worker that ended, unless that was asked for."""
        self.workers.remove(worker)
        self.lost(worker)
        if self.retired or worker.ending:
            self.changed()
            return
        delay = 0.0
        if worker.model is None:
            self._early_ends += 1
            delay = min(0.1 * 2**self._early_ends, _SLOWEST)
        if self.model is None and (self.failure is not None or self._early_ends > _TRIALS):
            self.failure = self.failure or "the process that loads the models ended, as if memory were short"
            self.complete.set()
            return
        self.counts["restarts"] += 1
        LOG.warning("worker %d ended; another one starts in %.1f seconds", worker.process.pid, delay)
        missing = len(self.workers) + 1
        if delay:
            self._timers.append(asyncio.get_running_loop().call_later(delay, self.grow, missing))
        else:
            self.grow(missing)

    def retire(self) -> None:
        """End the workers when everything that they have is read, and start no others."""
        self._stop()
        for worker in self.workers:
            worker.end()

    def kill(self) -> None:
        """End the workers at once, and start no others."""
        self._stop()
        for worker in self.workers:
            worker.process.kill()

    def _stop(self) -> None:
        self.retired = True
        for timer in self._timers:
            timer.cancel()
