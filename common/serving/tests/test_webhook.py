"""The webhook: what it may be sent to, its signature, and its retries."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from common.errors import UserError
from common.serving.monitoring import webhook as module
from common.serving.monitoring.webhook import ATTEMPTS, HELD, LONGEST, Webhook, check_url, read_secret

SECRET = b"0123456789abcdef"


class Receiver:
    """Answers with the given statuses, then with 200, and keeps what it was sent."""

    def __init__(self, *answers: int | OSError | tuple[int, str]) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.waits: list[float] = []

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        self.sent.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, OSError):
            raise answer
        return answer if isinstance(answer, tuple) else (answer, None)

    def hook(self, secret: bytes | None = SECRET) -> Webhook:
        return Webhook(
            "https://example.org/hook",
            secret,
            post=self.post,
            wait=self.waits.append,
            clock=lambda: 1_000_000.0,
            rng=random.Random(0),
        )


@pytest.mark.parametrize(
    "url",
    ["https://example.org/x", "http://127.0.0.1:9/x", "http://localhost/", "http://[::1]:80/x", "https://10.0.0.1/"],
)
def test_https_and_this_machine_are_allowed(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/x", "not encrypted"),
        ("http://127.0.0.1.example.org/", "not encrypted"),
        ("http://10.0.0.1/", "not encrypted"),
        ("ftp://example.org/", "no URL"),
        ("https:///x", "no URL"),
        ("https://example.org:99999/", "no URL"),
        ("hooks", "no URL"),
        ("https://me:secret@example.org/", "password"),
    ],
)
def test_other_urls_are_refused(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        check_url(url)
    assert "secret@" not in str(raised.value)


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    assert read_secret(path) == SECRET
    path.write_bytes(b"short")
    with pytest.raises(UserError, match="at least 16"):
        read_secret(path)
    with pytest.raises(UserError, match="cannot read"):
        read_secret(tmp_path / "missing")


def test_a_message_is_signed_with_its_time() -> None:
    receiver = Receiver()
    hook = receiver.hook()
    hook.send("key-1", {"state": "firing", "alarm": "darker"})
    assert hook.flush(5)
    ((url, body, headers),) = receiver.sent
    assert url == "https://example.org/hook"
    assert json.loads(body) == {"state": "firing", "alarm": "darker"}
    assert (headers["Idempotency-Key"], headers["X-Fourhands-Time"]) == ("key-1", "1000000")
    expected = hmac.new(SECRET, b"1000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Fourhands-Signature"] == f"sha256={expected}"
    assert (hook.delivered, hook.failed) == (1, 0)


def test_without_a_secret_nothing_is_signed() -> None:
    receiver = Receiver()
    hook = receiver.hook(secret=None)
    hook.send("key", {})
    assert hook.flush(5)
    assert "X-Fourhands-Signature" not in receiver.sent[0][2]


def test_failures_are_tried_again_with_longer_waits() -> None:
    receiver = Receiver(ConnectionError(), 503, 429)
    hook = receiver.hook()
    hook.send("key", {})
    assert hook.flush(5)
    assert (len(receiver.sent), hook.delivered, hook.failed) == (4, 1, 0)
    assert {headers["Idempotency-Key"] for _, _, headers in receiver.sent} == {"key"}
    assert len(receiver.waits) == 3
    assert all(0 <= wait <= 2**i for i, wait in enumerate(receiver.waits))
    assert len(set(receiver.waits)) == 3, "the waits are drawn"


def test_the_receiver_may_ask_for_a_longer_wait_but_not_for_ever() -> None:
    receiver = Receiver((503, "30"), (503, "999999"), (503, "Wed, 21 Oct 2026 07:28:00 GMT"))
    hook = receiver.hook()
    hook.send("key", {})
    assert hook.flush(5)
    assert receiver.waits[:2] == [30.0, LONGEST]
    assert receiver.waits[2] <= 4


def test_a_message_is_given_up_after_the_last_try_and_the_next_one_follows() -> None:
    receiver = Receiver(*[500] * ATTEMPTS)
    hook = receiver.hook()
    hook.send("lost", {})
    hook.send("next", {})
    assert hook.flush(5)
    assert [headers["Idempotency-Key"] for _, _, headers in receiver.sent] == ["lost"] * ATTEMPTS + ["next"]
    assert (hook.delivered, hook.failed) == (1, 1)
    assert sum(receiver.waits) < ATTEMPTS * LONGEST


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_what_cannot_help_is_not_tried_again(status: int) -> None:
    receiver = Receiver(status)
    hook = receiver.hook()
    hook.send("key", {})
    assert hook.flush(5)
    assert (len(receiver.sent), hook.failed) == (1, 1)


def test_messages_wait_in_a_bounded_queue() -> None:
    go = threading.Event()
    sent = []

    def post(_: str, __: bytes, headers: Mapping[str, str]) -> tuple[int, None]:
        go.wait(5)
        sent.append(headers["Idempotency-Key"])
        return 200, None

    hook = Webhook("https://example.org/", post=post)
    for i in range(HELD + 3):
        hook.send(str(i), {})
    go.set()
    assert hook.flush(10)
    assert sent[-1] == str(HELD + 2)
    assert hook.delivered + hook.failed == HELD + 3
    assert hook.failed >= 2, "one may be on its way already"


def test_closing_ends_the_waits() -> None:
    failing = threading.Event()

    def post(*_: object) -> tuple[int, None]:
        failing.set()
        return 503, None

    hook = Webhook("https://example.org/", post=post)
    hook.send("key", {})
    assert failing.wait(5)
    hook.close(5)
    assert hook._thread is not None
    assert not hook._thread.is_alive()
    hook.send("late", {})  # is dropped


class _Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.path)
        self.send_response(302 if self.path == "/moved" else 204)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_over_a_real_connection_redirects_are_not_followed() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        assert module.post_once(f"{base}/hook", b"{}", {}) == (204, None)
        assert module.post_once(f"{base}/moved", b"{}", {})[0] == 302
        assert _Handler.seen == ["/hook", "/moved"]
    finally:
        server.shutdown()
        server.server_close()
