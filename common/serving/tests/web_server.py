"""A small server for tests of the page: the real files and headers, and answers that a test chooses."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.reading.formats import Source
from common.reading.formats import render as render_reading
from common.reading.page import PageLine, PageReading, ReadCharacter

Mode = Literal["reader", "label"]
WEB = Path(__file__).resolve().parents[1] / "web"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(kw_only=True)
class Said:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Said:
        """An answer of JSON. Underscores in a header's name become hyphens."""
        kind = "application/json" if status < 400 else "application/problem+json"
        named = {"Content-Type": kind} | {name.replace("_", "-"): said for name, said in headers.items()}
        return cls(status=status, body=json.dumps(value).encode(), headers=named)


@dataclass(kw_only=True)
class Asked:
    """A request."""

    method: str
    path: str
    body: bytes
    headers: Message


Route = Callable[[Asked], Said]
HANG = Said(status=-1)
"""Wait until the client leaves."""
CUT = Said(status=-2)
"""Close the connection without an answer."""


class PageServer:
    """Serves the page; `answer` answers `/v1/read`, and `extra` any other path."""

    def __init__(self, mode: Mode, answer: Any, extra: Callable[[Asked], Said | None] = lambda _: None) -> None:
        self.answer = answer
        self.extra = extra
        self.mode: Mode = mode
        self.token = ""
        self.next: deque[Said] = deque()
        """Answers to the next reads; when none is left, `answer`."""
        self.asked: list[Asked] = []
        self.url = ""

    def reset(self, answer: Any) -> None:
        """Forget what a test has set."""
        self.answer, self.token = answer, ""
        self.next.clear()
        self.asked.clear()

    def reply(self, asked: Asked) -> Said:
        """The answer to a request."""
        path = asked.path.partition("?")[0]
        if path == "/":
            old, new = (f'name="fourhands-mode" content="{mode}"'.encode() for mode in ("reader", self.mode))
            return asset("index.html", old, new)
        if path.startswith("/web/"):
            return asset(path.removeprefix("/web/"))
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "The token is missing or wrong")
        if path == "/v1/read":
            return self.next.popleft() if self.next else Said.json(self.answer)
        if path == "/v1/render":
            form: Any = asked.path.rpartition("=")[2]
            return Said(body=rendered(json.loads(asked.body), form), headers={"Content-Type": "application/xml"})
        return self.extra(asked) or problem(404, "There is no such page")


def asset(name: str, old: bytes = b"", new: bytes = b"") -> Said:
    """A file of the page."""
    path = WEB / name
    content = path.read_bytes()
    assert old in content
    kind = f"{MEDIA_TYPES[path.suffix]}; charset=utf-8"
    return Said(body=content.replace(old, new, 1) if old else content, headers={"Content-Type": kind})


def problem(status: int, detail: str, **headers: str) -> Said:
    """An error as the service words it."""
    return Said.json({"title": "Problem", "status": status, "detail": detail, "request": "r-17"}, status, **headers)


def rendered(row: Mapping[str, Any], form: Any) -> bytes:
    """A reading in JSON as another format."""

    def points(pairs: Any) -> np.ndarray:
        return np.array(pairs, np.float64).reshape(-1, 2)

    lines = tuple(
        PageLine(
            text=line["text"],
            confidence=line["confidence"],
            characters=tuple(ReadCharacter(one["text"], one["confidence"]) for one in line["characters"]),
            baseline=points(line["baseline"]),
            outline=points(line["outline"]),
        )
        for line in row["lines"]
    )
    size = (row["width"], row["height"])
    reading = PageReading(size=size, lines=lines, confidence=row["confidence"], kind=row["kind"])
    picture_HW = np.zeros((1, 1), np.uint8)
    return render_reading(reading, Source(image=row.get("image", "page.png"), picture_HW=picture_HW), form)


@contextmanager
def serving(server: PageServer) -> Iterator[PageServer]:
    """Run the server in threads while the block runs."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(method=self.command, path=self.path, body=body, headers=self.headers)
            server.asked.append(asked)
            said = server.reply(asked)
            if said.status < 0:
                if said is HANG:
                    over.wait(20)
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in {**HEADERS, **said.headers, "Content-Length": str(len(said.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A browser that leaves is no error."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            over.set()
            http.shutdown()
