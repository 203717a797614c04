"""The server: sockets, signals, and slow or broken requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import UserError
from common.serving import logs, problems
from common.serving.config import ServeConfig
from common.serving.frame import HEAD_BYTES, HEADERS
from common.serving.problems import Problem

if TYPE_CHECKING:
    from common.serving.engine import Engine

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


def run(app: Any, config: ServeConfig, listener: socket.socket, engine: Engine) -> int:
    """Serve until SIGTERM or Ctrl+C; the exit code.

    After the signal nothing new is taken, and what is in flight is finished. On SIGHUP the engine loads its models
    anew. `logs.set_up` comes before.
    """
    server = _Server(
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
            h11_max_incomplete_event_size=HEAD_BYTES,
        ),
        engine,
    )
    with _signals():
        server.run(sockets=[listener])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Uvicorn, which also looks after the engine."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine
        self._was_ready = False
        self._swap: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        logs.log(logging.INFO, "listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)

    async def on_tick(self, counter: int) -> bool:
        if self._engine.ready and not self._was_ready and self._engine.model is not None:
            self._was_ready = True
            logs.log(logging.INFO, "ready", model=self._engine.model.identity, framework=self._engine.model.framework)
        return await super().on_tick(counter) or self._engine.failure is not None

    def _hang_up(self) -> None:
        if self._swap is None or self._swap.done():
            self._swap = asyncio.create_task(self._load_anew())

    async def _load_anew(self) -> None:
        try:
            await self._engine.swap()
        except Exception as error:  # noqa: BLE001 - the old models serve on, whatever is wrong with the new ones
            logs.log(logging.ERROR, "the models were not loaded anew", reason=str(error))
            return
        identity = None if self._engine.model is None else self._engine.model.identity
        logs.log(logging.INFO, "the models were loaded anew", model=identity)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Make SIGTERM end the program with code 0: uvicorn raises it once more when all is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
