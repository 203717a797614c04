"""The body of a request: limited while it comes in, kept in memory, and parsed strictly."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.serving.problems import Problem

FIELD = "file"
JSON_BYTES = 8 << 20
"""Largest body of a request that carries no picture."""
_AROUND = 16 << 10  # bytes of a body around a picture: boundaries, headers, names and quotes
_NAME_LENGTH = 100
_DRAINED_SECONDS = 2.0  # how long the rest of a refused body is read, so that the client sees the answer


@dataclass(frozen=True)
class Upload:
    """A picture or a document as it came."""

    data: bytes
    name: str = "image"
    """Last part of its file name, for the files of the answer. It never reaches the file system."""


def json_limit(max_bytes: int) -> int:
    """Bytes of a JSON body with a picture of `max_bytes` in base64."""
    return 4 * -(-max_bytes // 3) + _AROUND


def too_large(limit: int, what: str = "the body") -> Problem:
    """The problem of a body, a picture or a file of more than `limit` bytes."""
    return Problem(
        "too-large",
        f"{what} has more than {limit:,} bytes; send a smaller picture, for example as JPEG, or fewer pages",
        limit=limit,
    )


# --- the limit on all bodies
class LimitBody:
    """ASGI middleware: limits the bytes of a body and the time that it takes, before anything is stored or parsed."""

    def __init__(self, app: ASGIApp, *, limits: dict[str, int], default: int, seconds: float, held: int) -> None:
        """Make the middleware.

        Args:
            app: what to call.
            limits: bytes of the largest body by path.
            default: bytes of the largest body of another path.
            seconds: time limit for a body.
            held: bytes of all bodies that are in memory at one time.
        """
        self.app, self.limits, self.default, self.seconds, self.held = app, limits, default, seconds, held
        self.holding = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.get(scope["path"], self.default)
        declared = _declared(scope, limit)
        body = _Body(self, receive, limit, asyncio.get_running_loop().time() + self.seconds)
        body.hold(declared)
        try:
            await self.app(scope, body.receive, send)
        finally:
            body.release()


class _Body:
    """The body of one request while it comes in."""

    def __init__(self, limits: LimitBody, receive: Receive, limit: int, end: float) -> None:
        self._limits, self._receive, self._limit, self._end = limits, receive, limit, end
        self._held = self._size = 0
        self._complete = False

    def hold(self, size: int) -> None:
        """Count bytes as in memory.

        Raises:
            Problem: the bodies of all requests would be too large.
        """
        if size <= self._held:
            return
        if self._limits.holding + size - self._held > self._limits.held:
            raise Problem(
                "busy", "too many large bodies are coming in at once; try again shortly", headers={"Retry-After": "2"}
            )
        self._limits.holding += size - self._held
        self._held = size

    def release(self) -> None:
        """Count nothing any more."""
        self._limits.holding -= self._held
        self._held = 0

    async def receive(self) -> Message:
        """The next part of the body, or the news that the client has left."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError:
            seconds = self._limits.seconds
            raise Problem(
                "slow-upload",
                f"the body was not complete after {seconds:g} s; send a smaller picture or use a faster connection",
                limit=seconds,
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._size > self._limit:
                raise too_large(self._limit)
            self.hold(self._size)
        return message


def _declared(scope: Scope, limit: int) -> int:
    """The bytes that a body says to have; 0 if it does not say."""
    text = Headers(scope=scope).get("content-length")
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem("bad-request", "Content-Length is no number of bytes; send the length of the body, or none")
    if int(text) > limit:
        raise too_large(limit)
    return int(text)


async def drain(scope: Scope, receive: Receive, most: int) -> None:
    """Read and forget what is left of a body, so that a client that is still sending it sees the answer.

    A client that waits for `100 Continue` has not begun to send.
    """
    if "expect" in Headers(scope=scope):
        return
    size = 0
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            while size <= most:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


# --- reading it
async def read_all(receive: Receive, limit: int, what: str = "the body") -> bytes:
    """A whole body of at most `limit` bytes."""
    parts, size = [], 0
    async for chunk in _chunks(receive):
        size += len(chunk)
        if size > limit:
            raise too_large(limit, what)
        parts.append(chunk)
    return b"".join(parts)


async def read_multipart(receive: Receive, content_type: str, limit: int) -> Upload:
    """The only file of a multipart form, which is its only field. It is kept in memory.

    Raises:
        Problem: no multipart form, another field, no file, two files, or a file of more than `limit` bytes.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046
        raise _no_form("has no boundary of 1 to 70 characters")
    form = _Form(limit)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in _chunks(receive):
            parser.write(chunk)
        parser.finalize()
    except MultipartParseError:
        raise _no_form("is damaged") from None
    if not form.complete:
        raise _no_form("is cut off")
    if not form.parts:
        raise Problem("wrong-value", f"the form has no field; send a picture or a PDF file in the field {FIELD}")
    if not form.data:
        raise Problem("wrong-value", f"the field {FIELD} is empty; send a picture or a PDF file in it")
    return Upload(bytes(form.data), form.name)


class _Form:
    """What a multipart parser finds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = bytearray()
        self.name = "image"
        self.complete = False
        self.parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""

    def callbacks(self) -> dict[str, Any]:
        """The functions that the parser calls."""
        return {
            "on_part_begin": self.begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self.header,
            "on_headers_finished": self.headers,
            "on_part_data": self.part,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self.parts += 1
        self._disposition = b""
        if self.parts > 1:
            raise Problem("wrong-value", f"the form has several fields; send one, {FIELD}, and parameters in the query")

    def header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            raise Problem(
                "wrong-value",
                f"the form has the unknown field {short(field)}; send the picture as {FIELD}, and parameters in the "
                "query",
            )
        self.name = file_name(options.get(b"filename", b"").decode("utf-8", "replace"))

    def part(self, data: bytes, start: int, end: int) -> None:
        if len(self.data) + end - start > self.limit:
            raise too_large(self.limit, f"the field {FIELD}")
        self.data += data[start:end]

    def end(self) -> None:
        self.complete = True


def _no_form(what: str) -> Problem:
    return Problem(
        "bad-request", f"the multipart form {what}; send a form with the picture in the field {FIELD}, as curl -F does"
    )


async def _chunks(receive: Receive) -> Any:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


class ClientLeft(Exception):
    """The client closed the connection."""


# --- JSON
def parse_json(body: bytes) -> dict[str, Any]:
    """An object of JSON, strictly: UTF-8, no field twice, no NaN and no infinity.

    Raises:
        Problem: it is none.
    """
    if not body:
        raise Problem("bad-request", "the body is empty; send a JSON object, with its length or in chunks")
    try:
        content = json.loads(
            body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_float, object_pairs_hook=_object
        )
    except UnicodeDecodeError:
        raise Problem("bad-request", "the JSON is not UTF-8; encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Problem(
            "bad-request", f"the body is not JSON ({error.msg}, line {error.lineno}, column {error.colno}); correct it"
        ) from None
    except RecursionError:
        raise Problem("bad-request", "the JSON is nested too deeply; send one flat object") from None
    except ValueError:  # an integer of thousands of digits
        raise Problem("bad-request", "the JSON has a number that is too long; shorten it") from None
    if not isinstance(content, dict):
        raise Problem("wrong-value", 'the JSON is not an object; send one, such as {"image": "..."}')
    return content


def _refuse_constant(name: str) -> float:
    raise Problem("bad-request", f"the JSON has {name}, which JSON does not know; send a number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Problem("bad-request", "the JSON has a number that is too large; send a smaller one")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Problem("bad-request", f"the JSON has the field {short(twice)} twice; send it once")
    return content


def decode_base64(text: str, limit: int) -> bytes:
    """The bytes of a picture in base64, whose size is known before it is decoded.

    Raises:
        Problem: it is no base64, or of more than `limit` bytes.
    """
    size = 3 * (len(text) // 4) - (text.endswith("=") + text.endswith("=="))
    if size > limit:
        raise too_large(limit, "the picture in base64")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters that are not ASCII
        raise Problem(
            "wrong-value",
            "image is no base64; send the bytes of the file in base64 (RFC 4648), without line breaks and without "
            "data:...;base64,",
        ) from None
    if not data:
        raise Problem("wrong-value", "image is empty; send the bytes of a picture or a PDF file in base64")
    return data


# --- names
def file_name(name: str) -> str:
    """The last part of a file name that a client sent, without signs that steer a terminal; `image` if none is left."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(sign for sign in last if sign.isprintable()).strip(" .")
    return kept[-_NAME_LENGTH:] or "image"


def short(text: str) -> str:
    """A text that a client sent, quoted for a sentence."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
