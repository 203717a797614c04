"""The engine: documents in, readings out, read by processes that share the lines of what they read."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic

from common.errors import UserError
from common.reading.page import Kind
from common.serving.fleet import LOG, Fleet, Request, Worker
from common.serving.loading import task_of
from common.serving.model_files import ModelFiles, watched
from common.serving.reply import ModelInfo, QueueFullError, Reply, TooLateError, WorkerLostError
from common.serving.settings import EngineConfig, Limits
from common.serving.work import Done

__all__ = ["Engine", "EngineConfig", "Limits"]

_FIRST_GUESS = 0.1
"""Seconds of computing per document, before any was measured."""
_LONGEST_WAIT = 60
"""Seconds that a client is asked to wait at most."""
_TO_END = 2.0
"""Seconds that workers have to end."""
_COUNTED = ("restarts", "retries", "swaps", "refused_swaps", "batches", "lines", "unplanned")
_TICK = 1.0
"""Seconds between two looks at the files of the run."""


class Engine:
    """Reads documents in worker processes."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.refusal: str | None = None
        """Why the last new weights were refused; None if they were not."""
        self._fleet: Fleet | None = None
        self._fleets: list[Fleet] = []
        """The fleet that serves, one that is being proven, and those that finish what they have."""
        self._waiting: deque[Request] = deque()
        self._numbers = 0
        self._closing = False
        self._swapping = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._spent = _FIRST_GUESS
        self._counts: Counter[str] = Counter()

    # --- life
    async def start(self) -> None:
        """Start the workers. They are ready later.

        Raises:
            UserError: the run or one of its files is missing.
        """
        files = await asyncio.to_thread(ModelFiles.of, self.config.run, self.config.finder)
        self._fleet = self._new_fleet(files)
        self._fleet.grow(self.config.workers)
        self._tasks.append(asyncio.create_task(self._report_failure(self._fleet)))
        if self.config.watch:
            self._tasks.append(asyncio.create_task(self._watch()))

    async def wait_ready(self) -> None:
        """Wait until the workers of `start` are ready.

        Raises:
            UserError: the models cannot be used, for the reason given.
        """
        assert self._fleet is not None
        await self._fleet.complete.wait()
        if self._fleet.model is None:
            raise UserError(self._fleet.failure or "the processes that load the models end")

    async def close(self) -> None:
        """Take nothing new, finish what is in flight within the grace, and end the workers."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._until(lambda: not self._waiting and not self._in_flight(), self.config.grace)
        for request in [*self._waiting, *self._in_flight()]:
            request.fail(WorkerLostError("the service is closing"))
        for fleet in self._fleets:
            fleet.retire()
        await self._until(lambda: not any(fleet.workers for fleet in self._fleets), _TO_END)
        for fleet in self._fleets:
            fleet.kill()
        await self._until(lambda: not any(fleet.workers for fleet in self._fleets), _TO_END)

    async def _until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = monotonic() + seconds
        while not true() and monotonic() < deadline:
            await asyncio.sleep(0.005)

    def _in_flight(self) -> list[Request]:
        """The documents that workers have."""
        return [request for f in self._fleets for worker in f.workers for request in worker.requests.values()]

    @property
    def model(self) -> ModelInfo | None:
        """The model that reads; None until it is loaded."""
        return self._fleet.model if self._fleet else None

    @property
    def failure(self) -> str | None:
        """Why no document can be read at all; None while that is not known."""
        return self._fleet.failure if self._fleet and self._fleet.complete.is_set() and not self._fleet.model else None

    @property
    def ready(self) -> bool:
        """Whether a document would be read now: the workers are warm, the queue has room, and nothing is closing."""
        if self._closing or self._fleet is None or not self._fleet.complete.is_set():
            return False
        return any(self._fleet.warm()) and len(self._waiting) < self.config.queue

    def state(self) -> dict[str, float | int]:
        """Figures for metrics.

        Returns:
            `depth` and `capacity` of the queue, documents `in_flight`, `workers_alive`. Since the start: `restarts` of
            workers, `retries` of documents, `swaps` and `refused_swaps` of weights, `batches` of `lines`, and
            `unplanned` batches, which exceeded the largest shape.
        """
        return {
            "depth": len(self._waiting),
            "capacity": self.config.queue,
            "in_flight": len(self._in_flight()),
            "workers_alive": sum(1 for _ in self._fleet.warm()) if self._fleet else 0,
            **{name: self._counts[name] for name in _COUNTED},
        }

    # --- requests
    async def read(self, data: bytes, *, kind: Kind | None = None, seconds: float | None = None) -> Reply:
        """Read a document. If the awaiting task is cancelled, the document is dropped.

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
        if self._closing or self._fleet is None:
            raise WorkerLostError("the service is closing" if self._closing else "the service has not started")
        if self._fleet.model is None and self._fleet.failure is not None:
            raise WorkerLostError(f"the models cannot be used: {self._fleet.failure}")
        if len(self._waiting) >= self.config.queue:
            raise QueueFullError(self._retry_after())
        self._numbers += 1
        request = Request(self._numbers, data, kind, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._dispatch()
        limit = self.config.seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                return await request.answer
        except TimeoutError:
            raise TooLateError(f"the time limit of {limit:g} seconds has passed") from None
        finally:
            self._forget(request)

    def _retry_after(self) -> int:
        """Seconds until there is room, as measured lately."""
        assert self._fleet is not None
        documents = len(self._waiting) + len(self._in_flight())
        seconds = documents * self._spent / max(1, len(self._fleet.workers))
        return min(max(1, math.ceil(seconds)), _LONGEST_WAIT)

    def _forget(self, request: Request) -> None:
        """Drop a document that nobody waits for any more."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(request)
        for fleet in self._fleets:
            for worker in fleet.workers:
                if request.number in worker.requests:
                    worker.leave(request, self.config.patience)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give waiting documents to the workers that have the fewest."""
        while self._waiting and self._fleet is not None:
            request = self._waiting[0]
            free = [worker for worker in self._fleet.workers if worker.can_take(request)]
            if not free:
                return
            self._waiting.popleft()
            if not request.answer.done():
                min(free, key=lambda worker: worker.load).take(request)

    def _answered(self, worker: Worker, request: Request, done: Done) -> None:
        self._spent += 0.1 * (done.spent - self._spent)
        if done.error is not None:
            if not isinstance(done.error, UserError):
                LOG.error("a document could not be read: %s", done.error)
            request.fail(done.error)
        elif not request.answer.done():
            assert worker.model is not None
            waited = request.started - request.arrived
            seconds = {"queue": waited, **done.seconds, "total": monotonic() - request.arrived}
            request.answer.set_result(Reply(pages=done.pages, seconds=seconds, model=worker.model.identity))

    def _lost(self, worker: Worker) -> None:
        """Give the documents of a worker that ended to another one, each once."""
        for request in reversed(worker.requests.values()):
            request.attempts += 1
            request.alone = request.number in worker.at
            if request.attempts > 1:
                request.fail(WorkerLostError("the processes that read it ended; send another picture, or try again"))
            elif not request.answer.done():
                self._counts["retries"] += 1
                self._waiting.appendleft(request)
        self._dispatch()

    # --- new weights
    async def swap(self) -> None:
        """Load the run anew beside the old one, prove it, then switch. Requests go on meanwhile.

        Raises:
            UserError: the new weights cannot be used, for the reason given. The old ones go on.
        """
        async with self._swapping:
            try:
                await self._swap()
            except UserError as error:
                self.refusal = str(error)
                self._counts["refused_swaps"] += 1
                LOG.error("the new weights are refused, and the old ones go on: %s", error)
                raise

    async def _swap(self) -> None:
        files = await asyncio.to_thread(ModelFiles.of, self.config.run, self.config.finder)
        old = self._fleet
        if self._closing or old is None or (files == old.task.files and old.model is not None):
            return
        new = self._new_fleet(files)
        try:
            model = await new.prove()
        except BaseException:
            new.kill()
            raise
        self._fleet = new
        old.retire()
        self._counts["swaps"] += 1
        self.refusal = None
        LOG.info("the model %s serves in place of %s", model.identity, old.task.files.identity)
        self._dispatch()

    def _new_fleet(self, files: ModelFiles) -> Fleet:
        task = task_of(self.config, files)
        fleet = Fleet(
            task, self.config.workers, self._counts, answered=self._answered, lost=self._lost, changed=self._changed
        )
        self._fleets.append(fleet)
        return fleet

    def _changed(self) -> None:
        """A worker can take more, or has ended."""
        self._fleets = [fleet for fleet in self._fleets if fleet.workers or not fleet.retired]
        self._dispatch()

    async def _report_failure(self, fleet: Fleet) -> None:
        """Say why the first models cannot be used, and fail what waits for them."""
        await fleet.complete.wait()
        if fleet.model is None:
            LOG.error("the models cannot be used: %s", fleet.failure)
            while self._waiting:
                self._waiting.popleft().fail(WorkerLostError(f"the models cannot be used: {fleet.failure}"))

    async def _watch(self) -> None:
        """Swap when the files of the run have changed, and have been the same for one tick."""
        seen = tried = _signature(self.config)
        while True:
            await asyncio.sleep(_TICK)
            now = await asyncio.to_thread(_signature, self.config)
            if now == seen != tried:
                tried = now
                with contextlib.suppress(UserError):  # reported already
                    await self.swap()
            seen = now


def _signature(config: EngineConfig) -> list[tuple[int, ...] | None]:
    """What changes when a file is written or replaced."""
    found: list[tuple[int, ...] | None] = []
    for path in watched(config):
        try:
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(None)
    return found
