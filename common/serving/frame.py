"""What every request gets: an id, the headers of security, an answer to every error, a line in the log, a count."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.serving import problems
from common.serving.body import ClientLeft, drain
from common.serving.logs import log
from common.serving.problems import Problem

HEAD_BYTES = 16 << 10
"""Bytes of the address and the headers of a request."""
CLIENT_LEFT = 499
"""Status in the log and the metrics of a request whose client left; nginx's number for it."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer; `Cache-Control` unless the answer has one."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AGAIN = {"Retry-After": "2"}
_UNKNOWN_METHOD = "other"
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


@dataclass
class Record:
    """What the log says about a request; the handlers add to it."""

    id: str
    fields: dict[str, Any] = field(default_factory=dict)


def record_of(request: Request) -> Record:
    """The record of a request."""
    record: Record = request.scope["fourhands.record"]
    return record


class Frame:
    """The outermost ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        answered: Callable[[str, int, float, int], None],
        drained: int,
        paths: Collection[str],
    ) -> None:
        """Make the middleware.

        Args:
            app: what to call.
            answered: called with the route, status, seconds and bytes of the body of each request.
            drained: bytes of a refused body that are read and forgotten, so that the client sees the answer.
            paths: addresses that the log and the metrics name, also for requests that were refused early.
        """
        self.app, self.answered, self.drained, self.paths = app, answered, drained, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        record = Record(given if _ID.fullmatch(given) else uuid.uuid4().hex)
        scope["fourhands.record"] = record
        exchange = _Exchange(scope, receive, send, record.id, self.drained)
        start = time.perf_counter()
        try:
            try:
                _check_head(scope)
                await self.app(scope, exchange.receive, exchange.send)
            except Problem as problem:
                await self._refuse(problem, exchange, record)
            except ClientLeft:
                exchange.status = CLIENT_LEFT
            except asyncio.CancelledError:  # the server stops, and has waited for as long as it may
                if exchange.status:
                    raise
                stopping = "the service is stopping and did not finish this request in time; send it again"
                await self._refuse(Problem("not-ready", stopping, headers=_AGAIN), exchange, record)
            except Exception as error:  # noqa: BLE001 - the answer to anything unexpected
                log(logging.ERROR, "unexpected error", error=error, request=record.id)
                await self._refuse(unexpected(), exchange, record)
        finally:
            self._finish(scope, record, exchange, time.perf_counter() - start)

    async def _refuse(self, problem: Problem, exchange: _Exchange, record: Record) -> None:
        if exchange.status:
            raise RuntimeError("the answer had begun") from problem
        record.fields.setdefault("problem", problem.kind)
        await problems.answer(problem, record.id)(exchange.scope, exchange.receive, exchange.send)

    def _finish(self, scope: Scope, record: Record, exchange: _Exchange, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"  # any address can be asked for
        route = str(getattr(scope.get("route"), "path", path))
        method = scope["method"] if scope["method"] in _METHODS else _UNKNOWN_METHOD
        status = exchange.status or CLIENT_LEFT
        self.answered(route, status, seconds, exchange.size)
        quiet = route in ("/healthz", "/readyz", "/metrics") and status < 400
        log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            request=record.id,
            method=method,
            route=route,
            status=status,
            seconds=round(seconds, 4),
            bytes=exchange.size,
            **record.fields,
        )


def _check_head(scope: Scope) -> None:
    """Refuse long headers that came in one piece: h11 limits only those that are not complete yet."""
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
        raise Problem(
            "long-head",
            f"the address and the headers have more than {HEAD_BYTES:,} bytes; shorten them",
            limit=HEAD_BYTES,
        )


def unexpected() -> Problem:
    """The problem of an error that nobody foresaw."""
    return Problem("failed", "the service failed unexpectedly; its log says more under the id of this request")


class _Exchange:
    """A request and its answer on their way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str, drained: int) -> None:
        self.scope, self._receive, self._send, self._drained = scope, receive, send, drained
        self.request_id = request_id
        self.status = self.size = 0
        headers = Headers(scope=scope)
        self._left = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            self._left &= message.get("more_body", False)
        else:
            self._left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self.request_id
            if self._left:
                headers["Connection"] = "close"
        elif self._left and not message.get("more_body", False):  # answered before the body was read
            await self._send({**message, "more_body": True})
            await drain(self.scope, self.receive, self._drained)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)
