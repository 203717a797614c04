"""An engine without worker processes, for a platform that sends one request at a time."""

from __future__ import annotations

import time
from time import perf_counter

from common.reading.page import Kind
from common.serving.loading import load
from common.serving.reply import Reply, TooLateError
from common.serving.settings import EngineConfig


class InProcessEngine:
    """Reads in the process that asks, as `common.serving.engine.Engine` does. Its models stay as they are."""

    def __init__(self, config: EngineConfig) -> None:
        """Load the models.

        Raises:
            UserError: no such run, damaged weights, or a framework or device that is missing.
        """
        self._seconds = config.seconds
        self._work, self.model = (loaded := load(config)).work, loaded.info
        self.ready = True
        self.until = float("inf")
        """`time.monotonic()` when the platform ends the process: what is not read by then is too late."""

    async def start(self) -> None:
        """Nothing is left to start."""

    async def close(self) -> None:
        """Take nothing new."""
        self.ready = False

    def state(self) -> dict[str, float | int]:
        """See `Engine.state`."""
        return {"depth": 0, "capacity": 1, "workers_alive": 1, "restarts": 0, "swaps": 0, "refused_swaps": 0}

    async def read(self, data: bytes, *, kind: Kind | None = None, seconds: float | None = None) -> Reply:
        """Read a document.

        Args:
            data: the content of an image file, a TIFF file or a PDF file.
            kind: what each page shows; None finds out.
            seconds: time limit; None for that of the settings.

        Raises:
            TooLateError: the time limit has passed. It is checked between the lines of a page and between pages.
            UserError: see `common.serving.document.document_steps`.
        """
        start, work = perf_counter(), self._work
        until = min(time.monotonic() + (self._seconds if seconds is None else seconds), self.until)
        work.add(0, data, kind, time.monotonic())
        while True:
            if time.monotonic() > until:
                work.drop(0)
                raise TooLateError("the time limit has passed before the document was read")
            done = work.step(work.ready[0]) if work.ready else next(iter(work.batch(work.choose())), None)
            if done is not None:
                break
        if done.error is not None:
            raise done.error
        taken = {"queue": 0.0, **done.seconds, "total": perf_counter() - start}
        return Reply(pages=done.pages, seconds=taken, model=self.model.identity)
