"""A local stand-in for the runtime API of AWS Lambda, and the events that an HTTP API sends.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_VERSION = "/2018-06-01/runtime"


class RuntimeAPI:
    """Hands events to one function, and takes its answers."""

    def __init__(self, *, seconds: float = 30.0) -> None:
        """Listen on a free port of this machine.

        Args:
            seconds: time limit of a call.
        """
        self.seconds = seconds
        self.first_next: float | None = None
        """`time.monotonic()` when the function asked for its first event: from then on it is initialized."""
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """What `AWS_LAMBDA_RUNTIME_API` holds."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def send(self, event: Mapping[str, Any]) -> str:
        """Queue an event; its request id."""
        request_id = str(uuid.uuid4())
        self._events.put((request_id, json.dumps(event).encode()))
        return request_id

    def answer(self, timeout: float = 60.0) -> tuple[str, str, Any]:
        """What the function sent next: response, error or init, the request id, and the content."""
        return self._answers.get(timeout=timeout)

    def call(self, event: Mapping[str, Any], timeout: float = 60.0) -> dict[str, Any]:
        """The function's response to an event."""
        request_id = self.send(event)
        kind, answered, content = self.answer(timeout)
        assert (kind, answered) == ("response", request_id), f"{kind} for {answered}: {content}"
        return content  # type: ignore[no-any-return]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"{_VERSION}/invocation/next", self.path
                if api.first_next is None:
                    api.first_next = time.monotonic()
                request_id, body = api._events.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(1000 * (time.time() + api.seconds))))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:local:0:function:fourhands")
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0;Sampled=0")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                *_, request_id, kind = self.path.removeprefix(_VERSION).split("/")
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                api._answers.put(("init", "", content) if request_id == "init" else (kind, request_id, content))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                pass

        return Handler


@contextlib.contextmanager
def function(
    api: RuntimeAPI, python: str | Path = sys.executable, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the runtime interface client with the service as its function, as Lambda starts one."""
    # the function refuses settings that it does not know: those of the person who runs this are none of its own
    own = {name: value for name, value in os.environ.items() if not name.startswith("FOURHANDS_")}
    given = own | {"AWS_LAMBDA_RUNTIME_API": api.address, "AWS_LAMBDA_FUNCTION_NAME": "fourhands"} | environment
    process = subprocess.Popen(
        [python, "-m", "awslambdaric", "common.serving.aws.handler"],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def http_event(
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> dict[str, Any]:
    """The event that an HTTP API or a function URL sends (payload format 2.0).

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    host = "abcdefghij.lambda-url.local"
    length = {"content-length": str(len(body))} if body else {}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": host, "x-forwarded-proto": "https", **length, **(headers or {})},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghij",
            "domainName": host,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(1000 * time.time()),
        },
        "isBase64Encoded": bool(body),
    }
    return event | ({"body": base64.b64encode(body).decode()} if body else {})


def body_of(response: Mapping[str, Any]) -> bytes:
    """The body of a function's response."""
    body = response.get("body") or ""
    return base64.b64decode(body) if response.get("isBase64Encoded") else body.encode()
