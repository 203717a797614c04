"""The main program of a process that reads. The engine starts it and talks to it over a socket.

The engine sends a `Task` first, then ("read", number, content, kind), ("drop", number) and ("end",). The process
answers ("ready", ModelInfo) or ("failed", reason), ("at", numbers, lines) before each portion of work, ("done", Done),
("dropped", number), and ("unplanned", count) after a batch that exceeded the largest shape.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.reading.page import BATCH_SIZE
from common.serving.loading import Task, prepare

if TYPE_CHECKING:
    from common.serving.shapes import FixedShapes
    from common.serving.work import Done, Work

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Of the process: there is one process per core, so each computes in one thread."""
STEPPING = 0.02
"""Seconds of decoding and finding, after which lines that wait are read."""
Message = tuple[Any, ...]


def main() -> None:
    """Load and prove the models, say so, and read documents until told to end, or until the engine is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to all processes of a terminal; the engine decides
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    task: Task = connection.recv()
    try:
        loaded = prepare(task)
    except UserError as error:
        connection.send(("failed", str(error)))
        return
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    try:
        connection.send(("ready", loaded.info))
        Desk(connection, inbox, loaded.work, loaded.shapes, task.wait).run()
    except (BrokenPipeError, ConnectionResetError):  # the engine is gone
        return


def _receive(connection: Connection, inbox: queue.SimpleQueue[Message]) -> None:
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):  # the engine is gone: nobody waits for what is being read
        os._exit(0)


class Desk:
    """Takes documents and works on them in turn."""

    def __init__(
        self,
        connection: Connection,
        inbox: queue.SimpleQueue[Message],
        work: Work,
        shapes: Sequence[FixedShapes],
        wait: float,
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._work = work
        self._shapes = shapes
        self._wait = wait
        self._ending = False
        self._unplanned = 0

    def run(self) -> None:
        """Work until told to end and nothing is left."""
        while self._work or not self._ending:
            message = self._next(wait=True)
            while message is not None:
                self._take(*message)
                message = self._next(wait=False)
            ready, start = self._work.ready, time.perf_counter()
            for job in ready:
                self._connection.send(("at", [job.number], 0))
                self._tell(self._work.step(job))
                if time.perf_counter() - start > STEPPING:
                    break
            # few lines first wait for those of other documents, which may come or be found now
            if ready and self._work.lines < BATCH_SIZE and time.perf_counter() - start <= STEPPING:
                continue
            if self._work.lines:
                self._batch()

    def _next(self, *, wait: bool) -> Message | None:
        """The next message. Without work, wait for one. With a batch that is not full, wait a little."""
        try:
            if wait and not self._work:
                return self._inbox.get()
            if wait and self._wait and not self._work.ready and self._work.lines < BATCH_SIZE:
                return self._inbox.get(timeout=self._wait)
            return self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _take(self, what: str, *rest: Any) -> None:
        if what == "read":
            number, data, kind = rest
            self._work.add(number, data, kind, time.monotonic())
        elif what == "drop":
            self._work.drop(*rest)
            self._connection.send(("dropped", *rest))
        else:
            self._ending = True

    def _batch(self) -> None:
        lines = self._work.choose()
        self._connection.send(("at", sorted({job.number for job, _ in lines}), len(lines)))
        for done in self._work.batch(lines):
            self._tell(done)
        unplanned = sum(shape.unplanned for shape in self._shapes)
        if unplanned > self._unplanned:
            self._connection.send(("unplanned", unplanned - self._unplanned))
            self._unplanned = unplanned

    def _tell(self, done: Done | None) -> None:
        if done is not None:
            self._connection.send(("done", done))


if __name__ == "__main__":
    main()
