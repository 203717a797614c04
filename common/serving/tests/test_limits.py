"""Bodies that are too large, too slow, or no bodies at all. Each limit is tested at it and over it."""

from __future__ import annotations

import asyncio
import base64
import builtins
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.serving.body import JSON_BYTES, decode_base64, json_limit
from common.serving.problems import Problem
from common.serving.tests.fake import FakeEngine, Service, by_hand, refused

LIMIT = 3000
SETTINGS = {"max_mb": LIMIT / (1 << 20)}
IMAGE = {"content-type": "image/png"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


def form(data: bytes, head: bytes = b'Content-Disposition: form-data; name="file"; filename="a"') -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + data + b"\r\n--b--\r\n"


def in_chunks(data: bytes, size: int = 100) -> Any:
    async def chunks() -> Any:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return chunks()


# --- bytes
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize(
    "given",
    [
        lambda data: {"content": data, "headers": IMAGE},
        lambda data: {"content": in_chunks(data), "headers": IMAGE},
        lambda data: {"files": {"file": ("a.png", data)}},
        lambda data: {"content": in_chunks(form(data)), "headers": FORM},
        lambda data: {"json": {"image": base64.b64encode(data).decode()}},
    ],
    ids=["image", "image in chunks", "form", "form in chunks", "base64"],
)
def test_a_picture_may_have_as_many_bytes_as_the_limit(given: Callable[[bytes], dict[str, Any]], over: int) -> None:
    service = Service(**SETTINGS)
    response = service.read(**given(b"x" * (LIMIT + over)))
    if over:
        assert refused(response, 413, "too-large", "3,000 bytes", "smaller")["limit"] == LIMIT
        assert service.engine.asked == []
    else:
        assert response.status_code == 200, response.text
        assert len(service.engine.asked[0][0]) == LIMIT


@pytest.mark.parametrize("over", [0, 1])
def test_a_body_may_declare_as_many_bytes_as_the_limit(over: int) -> None:
    declared = json_limit(LIMIT) + over
    received = []

    async def receive() -> dict[str, Any]:
        received.append(1)
        if len(received) > 1:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"x", "more_body": False}

    headers = {"content-length": str(declared), "content-type": "image/png", "expect": "100-continue"}
    status, _ = by_hand(Service(**SETTINGS).app, headers, receive)
    assert status == (413 if over else 200)
    if over:
        assert received == [], "the body was asked for"


def test_a_body_that_lies_about_its_length_is_counted() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}  # for ever

    service = Service(**SETTINGS)
    status, body = by_hand(service.app, {"content-type": "image/png", "content-length": "10"}, receive)
    assert (status, b"too-large" in body) == (413, True)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("length", range(3000, 3004))
def test_base64_is_measured_before_it_is_decoded(length: int, over: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = base64.b64encode(b"x" * (length + over)).decode()
    if not over:
        assert len(decode_base64(text, length)) == length
        return
    monkeypatch.setattr(base64, "b64decode", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(Problem) as caught:
        decode_base64(text, length)
    assert caught.value.status_code == 413


@pytest.mark.parametrize("over", [0, 1])
def test_other_bodies_have_a_limit_too(over: int) -> None:
    body = b'{"lines":[],"width":1,"height":1}'.ljust(JSON_BYTES + over)
    response = Service().send(
        "POST", "/v1/render?format=text", content=body, headers={"content-type": "application/json"}
    )
    if over:
        refused(response, 413, "too-large")
    else:
        assert response.status_code == 200, response.text


def test_bodies_of_all_requests_together_have_a_limit() -> None:
    service = Service()
    limit = service.app.user_middleware[-1].kwargs["held"]
    arrived = 0

    async def receive() -> dict[str, Any]:
        nonlocal arrived
        arrived += 1
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    statuses: list[int] = []
    size = json_limit(service.config.max_bytes)
    scope = {"type": "http", "method": "POST", "path": "/v1/read", "query_string": b"", "root_path": ""}
    headers = [(b"host", b"localhost"), (b"content-type", b"image/png"), (b"content-length", b"%d" % size)]

    async def crowd(count: int) -> None:
        each = (service.app({**scope, "headers": [*headers, (b"expect", b"")]}, receive, send) for _ in range(count))
        await asyncio.gather(*each)

    fit = limit // size
    asyncio.run(crowd(fit))
    assert (arrived, statuses) == (fit, [])
    asyncio.run(crowd(fit + 2))  # what the first ones held is free again
    assert (arrived, statuses) == (2 * fit, [503, 503])


# --- time
@pytest.mark.parametrize("late", [False, True])
def test_a_body_may_take_as_long_as_the_limit(late: bool) -> None:
    parts = iter([b"x", b"y"])

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        if part is None:
            await asyncio.sleep(60)
        await asyncio.sleep(0.5 if late and part == b"y" else 0)
        return {"type": "http.request", "body": part, "more_body": part == b"x"}

    status, body = by_hand(Service(upload_seconds=0.2).app, IMAGE, receive)
    assert status == (408 if late else 200)
    assert (b"slow-upload" in body) is late


def test_the_time_of_the_body_does_not_limit_the_reading() -> None:
    assert Service(FakeEngine(seconds=0.3), upload_seconds=0.1).read().status_code == 200


# --- clients that leave
def test_a_client_that_leaves_while_its_picture_is_read_cancels_the_reading() -> None:
    parts = iter([{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(parts)

    service = Service(FakeEngine(seconds=60))
    assert by_hand(service.app, IMAGE, receive) == (0, b"")
    assert service.engine.cancelled == 1
    assert b'status="499"' in service.get("/metrics").content


def test_a_client_that_leaves_within_its_body_costs_nothing() -> None:
    parts = iter([{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(parts)

    service = Service()
    assert by_hand(service.app, IMAGE, receive) == (0, b"")
    assert service.engine.asked == []


# --- bodies that are none
@pytest.mark.parametrize(
    ("given", "status", "kind", "words"),
    [
        ({"content": b"", "headers": IMAGE}, 400, "bad-request", "empty"),
        ({"content": b"", "headers": {"content-type": "application/json"}}, 400, "bad-request", "empty"),
        ({"content": b"x", "headers": {}}, 415, "wrong-type", "none"),
        ({"content": b"x", "headers": {"content-type": "text/html"}}, 415, "wrong-type", "'text/html'"),
        ({"content": b"a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, "wrong-type", ""),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad-request", "not JSON"),
        ({"content": b"\xff", "headers": {"content-type": "application/json"}}, 400, "bad-request", "UTF-8"),
        ({"json": ["image"]}, 422, "wrong-value", "not an object"),
        ({"json": {}}, 422, "wrong-value", "neither"),
        ({"json": {"image": "eA==", "url": "https://a.b/c"}}, 422, "wrong-value", "both"),
        ({"json": {"image": "eA==", "imgae": 1}}, 422, "wrong-value", "unknown field 'imgae'"),
        ({"json": {"image": 3}}, 422, "wrong-value", "image is no text"),
        ({"json": {"image": None}}, 422, "wrong-value", "image is no text"),
        ({"json": {"image": ""}}, 422, "wrong-value", "image is empty"),
        ({"json": {"image": "eA=="}, "params": {"as": "book"}}, 422, "wrong-value", "as is 'book'; choose one of page"),
        ({"json": {"image": "eA=="}, "params": {"form": "x"}}, 422, "wrong-value", "unknown parameter 'form'"),
        ({"json": {"image": "eA=="}, "params": {"as": ["page", "line"]}}, 422, "wrong-value", "twice"),
        ({"json": {"image": "eA=="}, "params": {"format": "pdf"}}, 422, "wrong-value", "format is 'pdf'"),
        ({"json": {"image": "data:image/png;base64,eA=="}}, 422, "wrong-value", "no base64"),
        ({"json": {"image": "eA=\n="}}, 422, "wrong-value", "no base64"),
        ({"json": {"image": "é"}}, 422, "wrong-value", "no base64"),
        ({"json": {"url": "https://a.b/c"}}, 403, "url-refused", "fetches no URLs"),
        ({"files": {"picture": ("a.png", b"x")}}, 422, "wrong-value", "unknown field 'picture'"),
        ({"files": [("file", b"x"), ("file", b"y")]}, 422, "wrong-value", "several fields"),
        ({"files": {"file": ("a.png", b"")}}, 422, "wrong-value", "file is empty"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "bad-request", "boundary"),
        ({"content": b"x", "headers": FORM}, 400, "bad-request", "damaged"),
        ({"content": b"", "headers": FORM}, 400, "bad-request", "cut off"),
        ({"content": b"--b--\r\n", "headers": FORM}, 422, "wrong-value", "no field"),
        ({"content": form(b"x")[:-9], "headers": FORM}, 400, "bad-request", "cut off"),
        ({"content": form(b"x", b"X: y"), "headers": FORM}, 422, "wrong-value", "unknown field ''"),
        ({"content": form(b"x", b"x" * 9000), "headers": FORM}, 400, "bad-request", ""),
        ({"content": form(b"x", b"X: y\r\n" * 900), "headers": FORM}, 400, "bad-request", ""),
    ],
)
def test_a_body_that_is_none_is_refused(given: dict[str, Any], status: int, kind: str, words: str) -> None:
    service = Service()
    refused(service.read(**given), status, kind, words)
    assert service.engine.asked == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"image": "eA==", "image": "eQ=="}', "'image' twice"),
        (b'{"image": NaN}', "NaN"),
        (b'{"image": -Infinity}', "-Infinity"),
        (b'{"image": 1e999}', "too large"),
        (b'{"image": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested"),
        (b'{"image": "eA=="} x', "line 1, column 19"),
        (b'\xef\xbb\xbf{"image": "eA=="}', "not JSON"),
        (b'{"image": "\\ud800"}', "no base64"),
    ],
    ids=["twice", "NaN", "infinity", "overflow", "long", "deep list", "deep object", "rest", "mark", "surrogate"],
)
def test_json_is_parsed_strictly(body: bytes, words: str) -> None:
    response = Service().read(content=body, headers={"content-type": "application/json"})
    kind = "wrong-value" if response.status_code == 422 else "bad-request"
    refused(response, 422 if words == "no base64" else 400, kind, words)


def test_a_length_that_is_no_number_is_refused() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    for length in ("-1", "1e3", "9" * 30, "١"):
        status, body = by_hand(Service().app, {"content-type": "image/png", "content-length": length}, receive)
        assert (status, b"Content-Length" in body) == (400, True), length


# --- no file
@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing open or make a file for writing."""
    opened = builtins.open

    def only_reading(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        assert not set(mode) & set("wax+"), f"{file} was opened for writing"
        return opened(file, mode, *given, **named)

    monkeypatch.setattr(builtins, "open", only_reading)
    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: pytest.fail("a temporary file was made"))
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", lambda *_, **__: pytest.fail("spooled"))
    before = set(os.listdir(tempfile.gettempdir()))
    yield
    assert set(os.listdir(tempfile.gettempdir())) <= before | set()


@pytest.mark.usefixtures("no_files")
def test_a_large_form_makes_no_file() -> None:
    data = os.urandom(3 << 20)
    service = Service()
    assert service.read(files={"file": ("a.png", data)}).status_code == 200
    assert service.engine.asked[0][0] == data
