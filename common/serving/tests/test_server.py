"""The server with real sockets: broken and slow requests, signals, and the settings that it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.errors import UserError
from common.serving import server
from common.serving.app import create_app
from common.serving.config import ServeConfig
from common.serving.frame import HEAD_BYTES
from common.serving.tests.fake import FakeEngine, own_log

ROOT = Path(__file__).resolve().parents[3]


class Running:
    """A server in a thread."""

    def __init__(self, engine: FakeEngine, **settings: Any) -> None:
        self.engine = engine
        config = ServeConfig(port=0, **settings)
        listener = server.listen(config.host, config.port)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = create_app(config, engine, token=None)  # type: ignore[arg-type]
        self.code: int | None = None
        self.log = contextlib.ExitStack()
        self.log.enter_context(own_log())

        def run() -> None:
            self.code = server.run(app, config, listener, engine)  # type: ignore[arg-type]

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def stop(self) -> None:
        self.engine.failure = "stop"
        self.thread.join(20)
        self.log.close()
        assert not self.thread.is_alive()

    def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Send bytes, and return what comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
            return answer


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_HEAD_SECONDS", 0.4)
        service = Running(FakeEngine(), max_mb=1)
        yield service
        service.stop()


# --- requests that are none
def problem_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-security-policy: default-src 'none'" in head.lower()
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n bad\x00header\r\n\r\n",
        b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\nxx",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
    ],
    ids=["nonsense", "bad header", "two lengths", "negative length", "no host"],
)
def test_what_is_no_http_is_refused(running: Running, request_: bytes) -> None:
    status, problem = problem_of(running.raw(request_))
    assert (status, problem["type"]) == (400, "/docs#bad-request")


def test_headers_that_never_end_are_refused(running: Running) -> None:
    assert problem_of(running.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000))[0] == 400


@pytest.mark.parametrize("over", [0, 1])
def test_headers_may_be_as_long_as_the_limit(running: Running, over: int) -> None:
    parts = b"/healthz", b"host", b"localhost", b"connection", b"close", b"x"
    filled = b"x" * (HEAD_BYTES - sum(map(len, parts)) + over)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + filled + b"\r\n\r\n"
    answer = running.raw(request)
    if over:
        status, problem = problem_of(answer)
        assert (status, problem["type"], problem["limit"]) == (431, "/docs#long-head", HEAD_BYTES)
    else:
        assert answer.startswith(b"HTTP/1.1 200")


def test_a_broken_chunk_ends_the_request(running: Running) -> None:
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    asked = len(running.engine.asked)
    running.raw(head + b"nonsense\r\n")
    assert len(running.engine.asked) == asked


def test_headers_that_come_slowly_are_refused(running: Running) -> None:
    start = time.monotonic()
    status, problem = problem_of(running.raw(b"GET / HTTP/1.1\r\n", b"Host: localhost\r\n", b"X: y\r\n", pause=0.1))
    assert (status, problem["type"]) == (408, "/docs#slow-upload")
    assert time.monotonic() - start < 10


def test_a_second_request_whose_headers_come_slowly_is_refused(running: Running) -> None:
    answer = running.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /healthz HT", pause=0.1)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1 408") == 1


def test_a_connection_without_a_request_is_closed(running: Running) -> None:
    assert problem_of(running.raw())[0] == 408


def test_a_body_may_take_longer_than_headers(running: Running) -> None:
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 2\r\n"
    answer = running.raw(head + b"Connection: close\r\n\r\n", b"x", b"y", pause=0.5)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_without_a_length_is_empty(running: Running) -> None:
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n"
    status, problem = problem_of(running.raw(head))
    assert (status, "empty" in problem["detail"]) == (400, True)


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_client_that_sends_too_much_sees_why(running: Running, chunked: bool) -> None:
    body = b"x" * (5 << 20)
    content: Any = (body[start : start + 65536] for start in range(0, len(body), 65536)) if chunked else body
    response = httpx.post(f"{running.url}/v1/read", content=content, headers={"content-type": "image/png"}, timeout=20)
    assert (response.status_code, response.json()["limit"]) == (413, 1 << 20 if chunked else pytest.approx(1.4e6, 0.02))


def test_a_client_that_asks_first_is_refused_before_it_sends(running: Running) -> None:
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99999999\r\n"
    answer = running.raw(head + b"Expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = running.raw(one + one + last)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"200", b"404"]


def test_liveness_does_not_wait_for_the_reading(running: Running) -> None:
    running.engine.seconds = 5.0
    reading = threading.Thread(target=lambda: httpx.post(f"{running.url}/v1/read", files={"file": b"x"}, timeout=20))
    asked = len(running.engine.asked)
    reading.start()
    while len(running.engine.asked) == asked:
        time.sleep(0.01)
    assert httpx.get(f"{running.url}/healthz", timeout=4).status_code == 200
    assert reading.is_alive(), "the picture was read before the probe was answered: this shows nothing"
    reading.join()
    running.engine.seconds = 0.0


# --- signals
PROGRAM = """
import sys
from common.serving import logs, server
from common.serving.app import create_app
from common.serving.config import ServeConfig
from common.serving.frame import HEAD_BYTES
from common.serving.tests.fake import FakeEngine, own_log
config = ServeConfig(port=0, grace={grace})
engine = FakeEngine(seconds={seconds})
listener = server.listen(config.host, config.port)
print(listener.getsockname()[1], flush=True)
logs.set_up()
code = server.run(create_app(config, engine, token=None), config, listener, engine)
print(engine.started, engine.closed, engine.swapped, flush=True)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("seconds", "grace", "status"), [(1.0, 30.0, 200), (60.0, 0.0, 503)], ids=["finishes", "takes too long"]
)
def test_sigterm_finishes_what_is_in_flight_and_ends_with_code_0(seconds: float, grace: float, status: int) -> None:
    program = textwrap.dedent(PROGRAM).format(seconds=seconds, grace=grace)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            process.stderr.readline()  # it listens
            process.stderr.readline()  # it is ready
            got: list[httpx.Response] = []
            reading = threading.Thread(
                target=lambda: got.append(httpx.post(f"{url}/v1/read", files={"file": b"x"}, timeout=30))
            )
            reading.start()
            while 'route="/v1/model"' not in httpx.get(f"{url}/metrics").text:  # it has long taken the picture then
                httpx.get(f"{url}/v1/model")
            process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{url}/healthz")
            reading.join()
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()  # it has ended, unless something above failed
    assert got[0].status_code == status
    assert (process.returncode, out) == (0, "1 1 1\n")
    assert "Traceback" not in err
    rows = [json.loads(line) for line in err.splitlines()]
    assert {row["status"] for row in rows if row.get("route") == "/v1/read"} == {status}


def test_an_engine_that_cannot_start_ends_the_server() -> None:
    service = Running(FakeEngine())
    service.stop()
    assert (service.code, service.engine.closed) == (0, 1)


# --- settings
def test_a_port_that_is_in_use_is_refused() -> None:
    refused = pytest.raises(UserError, match=r"Address already in use.*another --port")
    with server.listen("127.0.0.1", 0) as taken, refused:
        server.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "x" * 300])
def test_a_host_that_is_none_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(UserError, match="--host"):
        server.listen(host, 0)
