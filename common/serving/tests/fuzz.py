"""Mutated requests and pictures. 10,000 of them: `python -m common.serving.tests.fuzz --count 10000 --seed 1`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import logging
import os
import random
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from common.serving import logs
from common.serving.openapi import picture, reading
from common.serving.tests.fake import Service

SECONDS = 30.0  # after which a request counts as hanging
_TOKENS = [b"\x00", b"\xff", b"\r\n", b"--b", b"--b--", b'"', b"{", b"[", b"NaN", b"null", b"-1", b"1e999", b"\\ud800"]
_TOKENS += ["é".encode(), b"%00", b"../", b"A" * 300, b"\x7f", b"\xef\xbb\xbf", b"\x89PNG", b"%PDF-", b"=", b"&", b";"]
_WORDS = b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\x00\x01\x00\x00"


@dataclass(frozen=True)
class Mutant:
    """A request that is probably wrong."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Outcome:
    """What came of many requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


# --- making them
def _pictures() -> list[bytes]:
    image = Image.open(io.BytesIO(picture())).convert("L")
    small = image.resize((60, 12))
    made = [picture()]
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "PDF", "ICO", "TGA", "JPEG2000", "PCX", "SGI"):
        file = io.BytesIO()
        small.save(file, form)
        made.append(file.getvalue())
    for mode in ("RGBA", "P", "1", "I;16", "F", "CMYK", "LA"):
        file = io.BytesIO()
        small.convert(mode).save(file, "TIFF")
        made.append(file.getvalue())
    file = io.BytesIO()
    small.save(file, "TIFF", save_all=True, append_images=[small, small], compression="tiff_lzw")
    made.append(file.getvalue())
    file = io.BytesIO()
    small.save(file, "PDF", save_all=True, append_images=[small])
    return [*made, file.getvalue()]


def _mutated(data: bytes, rng: random.Random, most: int = 8) -> bytes:
    content = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at, length = rng.randint(0, len(content)), rng.choice((1, 1, 2, 4, 30))
        match rng.randrange(7):
            case 0:
                content[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = rng.choice(_TOKENS)
            case 3:
                content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                del content[at:]
            case 5:
                content[at : at + 4] = rng.choice(_WORDS)
            case 6:
                if at < len(content):
                    content[at] ^= 1 << rng.randrange(8)
    return bytes(content)


def _json_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return [_json_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return {rng.choice(("image", "lines", "text", "", "é", "pages")): _json_value(rng, depth + 1) for _ in range(3)}
    return rng.choice((None, True, 0, -1, 10**30, 1.5, "", "eA==", "x" * 500, "\ud800", "https://a.example/b", 1e308))


def _changed(content: Any, rng: random.Random) -> Any:
    """JSON with a value somewhere replaced, removed or added."""
    if isinstance(content, dict) and content and rng.random() < 0.9:
        name = rng.choice(list(content))
        if rng.random() < 0.15:
            return {key: value for key, value in content.items() if key != name}
        if rng.random() < 0.1:
            return content | {rng.choice(("x", "", "text", "pages")): _json_value(rng)}
        return content | {name: _changed(content[name], rng)}
    if isinstance(content, list) and content and rng.random() < 0.8:
        at = rng.randrange(len(content))
        return [*content[:at], _changed(content[at], rng), *content[at + 1 :]]
    return _json_value(rng)


def mutants(count: int, seed: int) -> Iterator[Mutant]:
    """Requests, the same for a seed."""
    rng, pictures = random.Random(seed), _pictures()
    for _ in range(count):
        yield rng.choice((_of_picture, _of_picture, _of_form, _of_json, _of_render, _of_head))(rng, pictures)


def _query(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(("", "?as=line", "?as=page", "?format=text", "?format=alto", "?format=page", "?format=hocr"))
    return "?" + _mutated(b"as=line&format=alto", rng, 3).decode("latin-1").replace("#", "")


def _of_picture(rng: random.Random, pictures: list[bytes]) -> Mutant:
    media = rng.choice((b"image/png", b"image/jpeg", b"application/pdf", b"application/octet-stream"))
    body = _mutated(rng.choice(pictures), rng)
    return Mutant("POST", "/v1/read" + _query(rng), ((b"content-type", media),), body)


def _of_form(rng: random.Random, pictures: list[bytes]) -> Mutant:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    data = rng.choice(pictures)
    if rng.random() < 0.5:
        head = _mutated(head, rng, 3)
    tail = b"\r\n--b--\r\n" if rng.random() < 0.7 else _mutated(b"\r\n--b--\r\n", rng, 2)
    media = b"multipart/form-data; boundary=b"
    if rng.random() < 0.2:
        media = _mutated(media, rng, 2)
    return Mutant("POST", "/v1/read" + _query(rng), ((b"content-type", media),), head + data + tail)


def _of_json(rng: random.Random, pictures: list[bytes]) -> Mutant:
    data = rng.choice(pictures)
    sent: Any = {"image": base64.b64encode(data if rng.random() < 0.5 else _mutated(data, rng)).decode()}
    if rng.random() < 0.5:
        sent = _changed(sent, rng)
    body = json.dumps(sent).encode()
    if rng.random() < 0.5:
        body = _mutated(body, rng, 3)
    return Mutant("POST", "/v1/read" + _query(rng), ((b"content-type", b"application/json"),), body)


def _of_render(rng: random.Random, _: list[bytes]) -> Mutant:
    sent: Any = reading() if rng.random() < 0.7 else {"pages": [reading(), reading()]}
    for _again in range(rng.randint(0, 3)):
        sent = _changed(sent, rng)
    body = json.dumps(sent).encode()
    if rng.random() < 0.3:
        body = _mutated(body, rng, 3)
    form = rng.choice(("text", "alto", "page", "hocr", "json", "x"))
    return Mutant("POST", f"/v1/render?format={form}", ((b"content-type", b"application/json"),), body)


def _of_head(rng: random.Random, pictures: list[bytes]) -> Mutant:
    method = rng.choice(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"))
    paths = ("/", "/docs", "/healthz", "/readyz", "/metrics", "/v1/model", "/v1/read", "/web/docs.js", "/openapi.json")
    path = rng.choice(paths)
    if rng.random() < 0.6:
        path = "/" + _mutated(path.encode(), rng, 3).decode("latin-1")
    headers = []
    for name, value in (
        (b"accept", b"application/json, text/html;q=0.5"),
        (b"authorization", b"Bearer abc"),
        (b"content-type", b"image/png"),
        (b"x-request-id", b"abc"),
        (b"origin", b"http://localhost:8000"),
        (b"host", b"localhost"),
        (b"if-none-match", b'"abc"'),
        (b"content-length", b"12"),
        (b"sec-fetch-site", b"same-origin"),
    ):
        if rng.random() < 0.4:
            headers.append((name, value if rng.random() < 0.5 else _mutated(value, rng, 2)))
    return Mutant(method, path, tuple(headers), rng.choice((b"", b"x", rng.choice(pictures))))


# --- sending them
def send_all(service: Service, count: int, seed: int, said: Callable[[int], None] = lambda _: None) -> Outcome:
    """Send mutants one after another, and look at each answer, the log and the disk."""
    outcome, errors = Outcome(), _Errors()
    logger = logging.getLogger("fourhands")
    logger.addHandler(errors)
    usual = tempfile.tempdir
    try:
        # the folders that a careless program writes to
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            tempfile.tempdir = folder
            asyncio.run(_send_all(service, mutants(count, seed), outcome, errors, said))
            outcome.faults += [f"a file was left: {name}" for name in sorted(os.listdir(folder))]
    finally:
        tempfile.tempdir = usual
        logger.removeHandler(errors)
    return outcome


async def _send_all(
    service: Service, made: Iterator[Mutant], outcome: Outcome, errors: _Errors, said: Callable[[int], None]
) -> None:
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    for number, mutant in enumerate(made):
        start = time.monotonic()
        try:
            async with asyncio.timeout(SECONDS):
                fault = await _send(transport, mutant, outcome)
        except TimeoutError:
            fault = "it hangs"
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
        logged = "; ".join(errors.taken())
        if fault or logged:
            sent = f"{mutant.method} {mutant.path!r} {mutant.headers} {mutant.body[:300]!r}"
            outcome.faults.append(f"{number}: {fault} {logged}: {sent}")
        said(number)


async def _send(transport: httpx.ASGITransport, mutant: Mutant, outcome: Outcome) -> str:
    path, _, query = mutant.path.partition("?")
    url = httpx.URL("http://localhost:8000").copy_with(raw_path=_raw(path, query))
    headers = [(b"host", b"localhost")] if b"host" not in dict(mutant.headers) else []
    request = httpx.Request(mutant.method, url, headers=[*headers, *mutant.headers], content=mutant.body)
    response = await transport.handle_async_request(request)
    content = await response.aread()
    status = response.status_code
    outcome.statuses[status] += 1
    if status >= 500:
        return f"status {status}: {content[:300]!r}"
    if b"Traceback" in content or b'File "' in content:
        return "a traceback"
    if "content-security-policy" not in response.headers or "x-request-id" not in response.headers:
        return "no headers of security"
    if status >= 400 and mutant.method != "HEAD":
        problem = json.loads(content)
        if response.headers["content-type"] != "application/problem+json" or not problem["detail"].strip():
            return "no problem"
        if problem["status"] != status or "\n" in problem["detail"]:
            return "a problem that is none"
    return ""


def _raw(path: str, query: str) -> bytes:
    def clean(text: str) -> bytes:
        return b"".join(
            b"%%%02X" % each if each <= 32 or each >= 127 else bytes([each]) for each in text.encode("latin-1")
        )

    return clean(path) + (b"?" + clean(query) if query else b"")


class _Errors(logging.Handler):
    """Keeps what the log says about unexpected errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.getMessage())

    def taken(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def main() -> None:
    """Send many, and say what came of it."""
    from common.serving.inprocess import InProcessEngine
    from common.serving.settings import EngineConfig

    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    service = Service(InProcessEngine(EngineConfig()))  # type: ignore[arg-type]
    start = time.process_time()

    def said(number: int) -> None:
        if number % 500 == 499:
            print(f"{number + 1:,} of {given.count:,}, {time.process_time() - start:.0f} s of a processor", flush=True)  # noqa: T201

    logs.set_up()
    for name in ("fourhands", "fourhands.serving"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    outcome = send_all(service, given.count, given.seed, said)
    print(f"statuses: {dict(sorted(outcome.statuses.items()))}; slowest {outcome.slowest:.2f} s")  # noqa: T201
    print("\n".join(outcome.faults[:50]) or "no faults")  # noqa: T201
    raise SystemExit(bool(outcome.faults))


if __name__ == "__main__":
    main()
