"""An engine without models, and ways to send requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import numpy as np

from common.reading.page import Kind, PageLine, PageReading, ReadCharacter
from common.serving import logs
from common.serving.app import create_app
from common.serving.config import ServeConfig
from common.serving.reply import ModelInfo, PageReply, Reply

TOKEN = "a-token-of-many-signs"


def reading(text: str = "it is <a> fine day", kind: Kind = "page") -> PageReading:
    """A reading of one line."""
    outline = np.array([(10, 5), (190, 5), (190, 45), (10, 45)], np.float64)
    line = PageLine(
        text=text,
        confidence=0.75,
        characters=tuple(ReadCharacter(character, 0.75) for character in text),
        baseline=np.array([(10, 40), (190, 41)], np.float64),
        outline=outline,
    )
    return PageReading(size=(200, 50), lines=(line,), confidence=0.75, kind=kind)


class FakeEngine:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *pages: PageReading, error: Exception | None = None, seconds: float = 0.0) -> None:
        self.pages, self.error, self.seconds = pages or (reading(),), error, seconds
        self.ready = True
        self.failure: str | None = None
        self.model: ModelInfo | None = ModelInfo(
            identity="0123456789ab",
            rung="lstm_ctc",
            framework="numpy",
            charset="abc",
            parameters=7,
            card="# Card",
            provenance={"data": "ink_lines"},
        )
        self.asked: list[tuple[bytes, Any, Any]] = []
        self.cancelled = self.started = self.closed = self.swapped = 0
        self.figures: dict[str, float] = {"depth": 3, "capacity": 64, "workers_alive": 2, "swaps": 1}

    async def start(self) -> None:
        self.started += 1

    async def close(self) -> None:
        self.ready = False
        self.closed += 1

    def state(self) -> Mapping[str, float]:
        return self.figures

    async def swap(self) -> None:
        self.swapped += 1

    async def read(self, data: bytes, *, kind: Kind | None = None, seconds: float | None = None) -> Reply:
        self.asked.append((data, kind, seconds))
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        pages = tuple(PageReply(reading=page) for page in self.pages)
        return Reply(pages=pages, seconds={"queue": 0.001, "read": 0.02, "total": 0.021}, model="0123456789ab")


@contextlib.contextmanager
def own_log() -> Iterator[None]:
    """The log as `fourhands serve` writes it, and afterwards as before."""
    loggers = [logging.getLogger(name) for name in logs.NAMES]
    before = [(each, each.handlers, each.propagate, each.level) for each in loggers]
    logs.set_up()
    try:
        yield
    finally:
        for logger, logger.handlers, logger.propagate, level in before:
            logger.setLevel(level)


class Service:
    """The application, and requests to it without a network."""

    def __init__(
        self, engine: FakeEngine | None = None, *, token: str | None = None, monitor: Any = None, **settings: Any
    ) -> None:
        self.engine = engine or FakeEngine()
        self.config = ServeConfig(**settings)
        self.app = create_app(self.config, self.engine, token=token, monitor=monitor)  # type: ignore[arg-type]

    def send(self, method: str, path: str, *, base: str = "http://localhost:8000", **given: Any) -> httpx.Response:
        """Send one request."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.send("GET", path, **given)

    def read(self, **given: Any) -> httpx.Response:
        """Send a picture, by default the bytes `picture` as a form."""
        if not {"files", "json", "content"} & given.keys():
            given["files"] = {"file": ("page.jpg", b"picture", "image/jpeg")}
        return self.send("POST", "/v1/read", **given)


def refused(response: httpx.Response, status: int, kind: str, *words: str) -> dict[str, Any]:
    """Check that an answer is a problem of one sentence with these words; its content."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = response.json()
    assert content.keys() - {"limit"} == {"type", "title", "status", "detail", "request"}
    assert content["type"] == f"/docs#{kind}"
    assert content["status"] == status
    assert content["request"] == response.headers["x-request-id"]
    assert "\n" not in content["detail"]
    for word in words:
        assert word in content["detail"], (word, content["detail"])
    return content


def by_hand(
    app: Any, headers: Mapping[str, str], receive: Callable[[], Any], path: str = "/v1/read"
) -> tuple[int, bytes]:
    """Call the application with a `receive` of one's own; the status and the body of the answer. 0: no answer."""
    got: dict[str, Any] = {"status": 0, "body": b""}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            got["status"] = message["status"]
        else:
            got["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"localhost"), *((k.encode(), v.encode()) for k, v in headers.items())],
    }
    asyncio.run(app(scope, receive, send))
    return got["status"], got["body"]
