"""The server: sockets, signals, and slow or broken requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import UserError
from common.serving import logs, problems
from common.serving.config import ServeConfig
from common.serving.frame import HEADERS
from common.serving.problems import Problem

_HEAD_BYTES = 16 << 10  # a request's line and headers
_HEAD_SECONDS = 10.0
_IDLE_SECONDS = 15  # of a connection between two requests
_SHUTDOWN = 2.0  # seconds after the grace, for the answers to go out


class Protocol(H11Protocol):
    """HTTP/1.1 with a time limit for a request's headers, and a problem as the answer to one that is none."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._timer is None and self.conn.trailing_data[0]:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._end(Problem("bad-request", "the request is not HTTP/1.1, or its headers are too long; correct it"))

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        seconds = f"{_HEAD_SECONDS:g}"
        self._end(Problem("slow-upload", f"the headers were not complete after {seconds} s; send them at once"))

    def _end(self, problem: Problem) -> None:
        """Answer, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = problems.answer(problem, "none")
            response.headers.update({**HEADERS, "Connection": "close"})
            event = h11.Response(status_code=response.status_code, headers=response.raw_headers)
            for each in (event, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(each) or b"")
        self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is in use, the host is none of this machine, or it may not be listened on.
    """
    try:
        infos = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except (OSError, UnicodeError):
        raise UserError(
            f"--host {host} is no address of this machine; give one, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise UserError(f"cannot listen on {host}, port {port} ({reason}); give another --port or --host") from None
    return listener


def run(app: Any, config: ServeConfig, listener: socket.socket) -> int:
    """Serve until SIGTERM or Ctrl+C; the exit code.

    After the signal nothing new is taken, and what is in flight is finished.
    """
    logs.set_up()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=int(config.grace + _SHUTDOWN),
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
    )
    with _signals():
        server.run(sockets=[listener])
    if not server.started:
        raise UserError("the service could not start; its log above says why")
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Make SIGTERM end the program with code 0: uvicorn raises it once more when all is done."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def on_hangup(act: Callable[[], Any]) -> None:
    """Call a coroutine function on SIGHUP; call this in the running loop."""
    tasks = set()

    def start() -> None:
        task = asyncio.ensure_future(act())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # no main thread, or no such signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, start)


def announce(config: ServeConfig, listener: socket.socket) -> None:
    """Say on standard error where the service is."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    logs.log(logging.INFO, "listening", url=f"http://{shown}:{port}", token=config.token_file is not None)


__all__ = ["Protocol", "announce", "listen", "on_hangup", "run"]
