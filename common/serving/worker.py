"""The main program of a process that reads. The engine starts it and talks to it over a socket."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from common.errors import UserError

FULL = 8
"""Lines of a full batch, which waits for no others."""
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Environment of the process: there is one process per core, so each computes in one thread."""
END = ("end",)


def main() -> None:
    """Load the models, say so, and read documents until told to end, or until the engine is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the engine decides: these go to all processes of a terminal
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    config = connection.recv()
    from common.serving.loading import load

    try:
        loaded = load(config)
    except UserError as error:
        connection.send(("failed", str(error)))
        return
    connection.send(("ready", loaded.info))
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    try:
        _serve(connection, inbox, loaded.work, config.wait_ms / 1000)
    except (BrokenPipeError, ConnectionResetError):  # the engine is gone
        return


def _receive(connection: Connection, inbox: queue.SimpleQueue[tuple[Any, ...]]) -> None:
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):  # the engine is gone: nobody waits for what is being read
        os._exit(0)


def _serve(connection: Connection, inbox: queue.SimpleQueue[tuple[Any, ...]], work: Any, wait: float) -> None:
    ending = False
    while work or not ending:
        message = _next(inbox, work, wait)
        while message is not None:
            what, *rest = message
            if what == "read":
                number, data, kind = rest
                work.add(number, data, kind, time.monotonic())
            elif what == "drop":
                work.drop(*rest)
                connection.send(("dropped", *rest))
            else:
                ending = True
            message = _next(inbox, work, 0) if work or not inbox.empty() else None
        for done in _portion(connection, work):
            connection.send(("done", done))


def _next(inbox: queue.SimpleQueue[tuple[Any, ...]], work: Any, wait: float) -> tuple[Any, ...] | None:
    """The next message. Without work, wait for it; with a batch that is not full, wait a little."""
    try:
        if not work:
            return inbox.get()
        if wait and not work.ready and work.lines < FULL:
            return inbox.get(timeout=wait)
        return inbox.get_nowait()
    except queue.Empty:
        return None


def _portion(connection: Connection, work: Any) -> Any:
    """Some steps of documents, then one batch of lines."""
    start = time.perf_counter()
    for job in work.ready:
        connection.send(("at", [job.number]))
        done = work.step(job)
        if done is not None:
            yield done
        if time.perf_counter() - start > 0.02:
            break
    if work.lines and not (work.ready and work.lines < FULL and time.perf_counter() - start < 0.02):
        lines = work.choose()
        connection.send(("at", sorted({job.number for job, _ in lines})))
        yield from work.batch(lines)


if __name__ == "__main__":
    main()
