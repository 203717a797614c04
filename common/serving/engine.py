"""The engine: documents in, readings out, read by processes that share the lines of what they read."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from common.reading.page import Kind
from common.serving.process import Process
from common.serving.reply import ModelInfo, QueueFullError, Reply, TooLateError, WorkerLostError
from common.serving.settings import EngineConfig, Limits
from common.serving.work import Done

__all__ = ["Engine", "EngineConfig", "Limits"]

AT_ONCE = 8
"""Documents that a worker has at once, so that their lines can share batches."""
_LOG = logging.getLogger("fourhands.engine")


@dataclass(eq=False)
class _Request:
    """A document to read."""

    number: int
    data: bytes
    kind: Kind | None
    answer: asyncio.Future[Reply]
    arrived: float = field(default_factory=monotonic)
    started: float = 0.0
    attempts: int = 0


@dataclass(eq=False)
class _Worker:
    """A process and the documents that it has."""

    process: Process
    model: ModelInfo | None = None
    requests: dict[int, _Request] = field(default_factory=dict)
    dropped: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    ending: bool = False


class Engine:
    """Reads documents in worker processes."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.model: ModelInfo | None = None
        self.failure: str | None = None
        self._workers: list[_Worker] = []
        self._waiting: deque[_Request] = deque()
        self._numbers = 0
        self._closing = False
        self._restarts = 0
        self._spent = 0.1

    # --- life
    async def start(self) -> None:
        """Start the workers. They are ready later."""
        for _ in range(self.config.workers):
            self._start_worker()

    async def close(self) -> None:
        """Take nothing new, finish what is in flight within the grace, and end the workers."""
        self._closing = True
        deadline = monotonic() + self.config.grace
        while (self._waiting or any(worker.requests for worker in self._workers)) and monotonic() < deadline:
            await asyncio.sleep(0.01)
        for request in [*self._waiting, *(r for worker in self._workers for r in worker.requests.values())]:
            _fail(request, WorkerLostError("the service is closing"))
        self._waiting.clear()
        for worker in self._workers:
            worker.ending = True
            worker.process.end()
        while self._workers and monotonic() < deadline:
            await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            await asyncio.sleep(0.01)

    async def swap(self) -> None:
        """Load the run anew beside the old one, prove it, then switch."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether a document would be read now: a worker is warm, the queue has room, and nothing is closing."""
        return not self._closing and any(self._warm()) and len(self._waiting) < self.config.queue

    def state(self) -> dict[str, float | int]:
        """Figures for metrics."""
        return {
            "depth": len(self._waiting),
            "capacity": self.config.queue,
            "in_flight": sum(len(worker.requests) for worker in self._workers),
            "workers_alive": sum(1 for _ in self._warm()),
            "restarts": self._restarts,
            "swaps": 0,
            "refused_swaps": 0,
        }

    # --- requests
    async def read(self, data: bytes, *, kind: Kind | None = None, seconds: float | None = None) -> Reply:
        """Read a document.

        Args:
            data: the content of an image file, a TIFF file or a PDF file.
            kind: what each page shows; None finds out.
            seconds: time limit; None for that of the settings.

        Raises:
            QueueFullError: the queue is full.
            TooLateError: the time limit has passed.
            WorkerLostError: the processes that read it ended, or the engine is closing.
            TooLargeError: the document has more pages, pixels or lines than the limits allow.
            UserError: it cannot be read, or has no writing.
        """
        if self._closing:
            raise WorkerLostError("the service is closing")
        if len(self._waiting) >= self.config.queue:
            raise QueueFullError(self._retry_after())
        self._numbers += 1
        request = _Request(self._numbers, data, kind, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._dispatch()
        try:
            async with asyncio.timeout(self.config.seconds if seconds is None else seconds):
                return await request.answer
        except TimeoutError:
            raise TooLateError(f"the time limit of {seconds or self.config.seconds:g} seconds has passed") from None
        finally:
            self._forget(request)

    def _retry_after(self) -> int:
        return max(1, math.ceil(len(self._waiting) * self._spent / max(1, len(self._workers))))

    def _forget(self, request: _Request) -> None:
        """Drop a document that nobody waits for any more."""
        if request in self._waiting:
            self._waiting.remove(request)
        for worker in self._workers:
            if request.number in worker.requests:
                del worker.requests[request.number]
                worker.process.send("drop", request.number)
                timer = asyncio.get_running_loop().call_later(self.config.grace, worker.process.kill)
                worker.dropped[request.number] = timer
        self._dispatch()

    def _dispatch(self) -> None:
        """Give waiting documents to the workers that have the fewest."""
        while self._waiting:
            worker = min(self._warm(), key=lambda worker: len(worker.requests), default=None)
            if worker is None or len(worker.requests) >= AT_ONCE:
                return
            request = self._waiting.popleft()
            request.started = monotonic()
            worker.requests[request.number] = request
            worker.process.send("read", request.number, request.data, request.kind)

    # --- workers
    def _warm(self) -> Iterator[_Worker]:
        return (worker for worker in self._workers if worker.model is not None and not worker.ending)

    def _start_worker(self) -> None:
        self._workers.append(_Worker(Process(self.config, self._said, self._ended)))

    def _worker(self, process: Process) -> _Worker:
        return next(worker for worker in self._workers if worker.process is process)

    def _said(self, process: Process, message: tuple[Any, ...]) -> None:
        worker = self._worker(process)
        what, *rest = message
        if what == "ready":
            worker.model = self.model = rest[0]
        elif what == "failed":
            self.failure, worker.ending = rest[0], True
            _LOG.error("a worker cannot start: %s", self.failure)
        elif what == "dropped":
            worker.dropped.pop(rest[0]).cancel()
        elif what == "done":
            self._answer(worker, rest[0])
        self._dispatch()

    def _answer(self, worker: _Worker, done: Done) -> None:
        request = worker.requests.pop(done.number, None)
        if request is None or request.answer.done():
            return
        self._spent += 0.1 * (done.spent - self._spent)
        if done.error is not None:
            request.answer.set_exception(done.error)
            return
        assert worker.model is not None
        seconds = {"queue": request.started - request.arrived, **done.seconds, "total": monotonic() - request.arrived}
        request.answer.set_result(Reply(pages=done.pages, seconds=seconds, model=worker.model.identity))

    def _ended(self, process: Process) -> None:
        worker = self._worker(process)
        self._workers.remove(worker)
        for timer in worker.dropped.values():
            timer.cancel()
        for request in worker.requests.values():
            _fail(request, WorkerLostError("the process that read the picture ended; send it again"))
        if not worker.ending and not self._closing:
            self._restarts += 1
            self._start_worker()


def _fail(request: _Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
