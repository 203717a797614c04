"""A webhook: messages about alarms, signed, tried again until they arrive, and never in the way of a request."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.errors import UserError

_LOG = logging.getLogger(__name__)
ATTEMPTS = 8
"""Tries of one message, at most: spread over about five minutes."""
FIRST, LONGEST = 1.0, 120.0
"""Seconds: the longest wait before the second try, which doubles from try to try, and its limit."""
TIMEOUT = (5.0, 10.0)
"""Seconds to connect, and to answer."""
HELD = 100
"""Messages that wait at most; the oldest are dropped."""
_AGAIN = (408, 425, 429)  # as are all from 500
_LEAST_SECRET = 16  # bytes

Post = Callable[[str, bytes, Mapping[str, str]], tuple[int, str | None]]
"""Sends a body with headers to a URL: the status, and the header Retry-After. Raises OSError if nothing arrives."""


def check_url(url: str) -> str:
    """The URL, if messages may be sent to it: by https, or by http to this machine.

    Raises:
        UserError: it is another one.
    """
    parts = urlsplit(url)
    wanted = "give --alert-url https://HOST/PATH, or http:// with an address of this machine"
    try:
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good:
        raise UserError(f"--alert-url {url!r} is no URL that messages can be sent to; {wanted}")
    if parts.username or parts.password:
        raise UserError("--alert-url has a name or a password in it, which logs would show; use --alert-secret-file")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UserError(f"--alert-url {url!r} is not encrypted; {wanted}")
    return url


def read_secret(path: Path) -> bytes:
    """The secret that messages are signed with: the content of a file without the white space around it.

    Raises:
        UserError: it cannot be read, or is too short.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"cannot read --alert-secret-file {path} ({error.strerror}); name a file with a secret"
        ) from None
    if len(secret) < _LEAST_SECRET:
        raise UserError(
            f"the secret in {path} has {len(secret)} bytes; expected at least {_LEAST_SECRET}, such as the output of: "
            "openssl rand -hex 32"
        )
    return secret


def signature(secret: bytes, sent: str, body: bytes) -> str:
    """The value of `X-Fourhands-Signature`: HMAC-SHA256 of the time of sending, a dot and the body, in hexadecimal."""
    return "sha256=" + hmac.new(secret, sent.encode() + b"." + body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class _Message:
    key: str
    body: bytes


class Webhook:
    """Sends messages one after the other, in a thread of its own.

    Args:
        url: see `check_url`.
        secret: signs the messages; None leaves them unsigned.
        post: sends one; by default over the network, without following redirects.
        wait: waits some seconds, or until the webhook is closed.
        clock: seconds since 1970.
        rng: spreads the waits, so that many services do not come back at once.

    Raises:
        UserError: see `check_url`.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None = None,
        *,
        post: Post | None = None,
        wait: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._url = check_url(url)
        self._secret = secret
        self._post = post or post_once
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._clock = clock
        self._rng = rng or random.Random()
        self._queue: deque[_Message] = deque(maxlen=HELD)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self.delivered = 0
        self.failed = 0
        """Messages that were given up or dropped."""

    def send(self, key: str, content: Mapping[str, Any]) -> None:
        """Send a message, some time.

        Args:
            key: identifies the message; a receiver can drop what it has seen already.
            content: for JSON.
        """
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        with self._changed:
            if self._closed.is_set():
                return
            self.failed += len(self._queue) == HELD
            self._queue.append(_Message(key, body))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is sent or given up; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, seconds)

    def close(self, seconds: float = 5.0) -> None:
        """Try what waits once more, for some seconds at most, and stop."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._closed.is_set())
                if not self._queue:
                    return
                message, self._busy = self._queue.popleft(), True
            if self._deliver(message):
                self.delivered += 1
            else:
                self.failed += 1

    def _deliver(self, message: _Message) -> bool:
        for attempt in range(ATTEMPTS):
            said, after = self._try(message)
            if said is None:
                return True
            last = attempt == ATTEMPTS - 1 or self._closed.is_set() or after is None
            _LOG.warning("the webhook was not reached (%s); %s", said, "given up" if last else "trying again")
            if last or after is None:
                return False
            # full jitter: anything up to the limit that doubles, but not before the receiver wants it
            self._wait(max(after, self._rng.uniform(0, min(LONGEST, FIRST * 2**attempt))))
        return False

    def _try(self, message: _Message) -> tuple[str | None, float | None]:
        """Send once: what went wrong, or None; and the seconds to wait at least, or None if it must not be repeated."""
        sent = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "fourhands",
            "Idempotency-Key": message.key,
            "X-Fourhands-Time": sent,
        }
        if self._secret is not None:
            headers["X-Fourhands-Signature"] = signature(self._secret, sent, message.body)
        try:
            status, retry_after = self._post(self._url, message.body, headers)
        except OSError as error:  # of requests, and of the socket
            return type(error).__name__, 0.0
        if 200 <= status < 300:
            return None, None
        if status in _AGAIN or status >= 500:
            return f"status {status}", _seconds(retry_after)
        return f"status {status}", None


def post_once(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
    """Send a body by POST; redirects are not followed, because they may lead anywhere."""
    import requests  # slow to import

    with requests.post(
        url, data=body, headers=dict(headers), timeout=TIMEOUT, allow_redirects=False, stream=True
    ) as answer:
        return answer.status_code, answer.headers.get("Retry-After")


def _seconds(retry_after: str | None) -> float:
    return min(LONGEST, float(retry_after)) if retry_after and retry_after.isdecimal() else 0.0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
