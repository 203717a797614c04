"""The engine's side of a process that reads."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from common.serving.loading import Task
from common.serving.worker import ENVIRONMENT, Message

_ROOT = str(Path(__file__).resolve().parents[2])


class Process:
    """A process that reads, and the two threads that talk to it, so that the event loop never waits for it.

    Args:
        task: what the process reads with.
        said: called in the event loop with each message of the process.
        ended: called in the event loop once, when the process has ended.
    """

    def __init__(self, task: Task, said: Callable[[Message], None], ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._said = said
        self._ended = ended
        self._outbox: queue.SimpleQueue[Message | Task | None] = queue.SimpleQueue()
        ours, theirs = socket.socketpair()
        with theirs:
            # not `multiprocessing`: it would run the main module of the service again in the new process
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "common.serving.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": _path()},
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._outbox.put(task)
        for target in (self._send, self._receive):
            threading.Thread(target=target, name=f"worker {self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, *message: Any) -> None:
        """Send a message as soon as the process takes it."""
        self._outbox.put(message)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _send(self) -> None:
        try:
            while (message := self._outbox.get()) is not None:
                self._connection.send(message)
        except OSError:  # it has ended, which the other thread reports
            return

    def _receive(self) -> None:
        try:
            while True:
                self._call(self._said, self._connection.recv())
        except (EOFError, OSError):  # it has ended
            pass
        finally:  # also if a message was damaged
            self._process.kill()
            self._process.wait()
            self._outbox.put(None)
            self._call(self._ended)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is closed
            return


def _path() -> str:
    """PYTHONPATH for the process: this package, where it is not installed."""
    return os.pathsep.join(dict.fromkeys([_ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
