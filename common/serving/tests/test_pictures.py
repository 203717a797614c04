"""Pictures through the whole service, with the reader that ships: what is read, what is refused, and each limit."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.serving import openapi
from common.serving.inprocess import InProcessEngine
from common.serving.openapi import TEXT, picture
from common.serving.settings import EngineConfig, Limits
from common.serving.tests.fake import Service, refused

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = picture()
WIDTH, HEIGHT = 289, 56


@pytest.fixture(scope="module")
def service() -> Service:
    """The service with limits of the pixels of the example."""
    limits = Limits(pixels=WIDTH * HEIGHT)
    return Service(InProcessEngine(EngineConfig(limits=limits)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def large() -> Service:
    """The service with limits of three pages and four lines."""
    return Service(InProcessEngine(EngineConfig(limits=Limits(pages=3, lines=4))))  # type: ignore[arg-type]


def send(service: Service, data: bytes, **given: Any) -> Any:
    return service.read(content=data, headers={"content-type": "image/png"}, **given)


def saved(image: Image.Image, form: str, **given: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **given)
    return file.getvalue()


def example() -> Image.Image:
    return Image.open(io.BytesIO(EXAMPLE)).convert("L")


# --- examples of the description
def _media(content: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = content["application/json"]["examples"]["line"]["value"]
    return value


def test_the_example_of_read_is_answered_as_the_description_says(service: Service) -> None:
    operation = service.get("/openapi.json").json()["paths"]["/v1/read"]["post"]
    sent = _media(operation["requestBody"]["content"])
    expected = _media(operation["responses"]["200"]["content"])
    got = service.read(json=sent).json()
    assert got.keys() == expected.keys()
    for name in ("kind", "width", "height", "text"):
        assert got[name] == expected[name]
    (line,), (said,) = got["lines"], expected["lines"]
    assert line.keys() == said.keys()
    assert [each["text"] for each in line["characters"]] == [each["text"] for each in said["characters"]]
    assert (line["text"], line["baseline"], line["outline"]) == (said["text"], said["baseline"], said["outline"])
    assert got["seconds"].keys() == expected["seconds"].keys()
    text = operation["responses"]["200"]["content"]["text/plain"]["example"]
    assert service.read(json=sent, headers={"accept": "text/plain"}).text == text == TEXT + "\n"


def test_the_example_of_render_is_answered_as_the_description_says(service: Service) -> None:
    operation = service.get("/openapi.json").json()["paths"]["/v1/render"]["post"]
    sent = _media(operation["requestBody"]["content"])
    response = service.send("POST", "/v1/render?format=text", json=sent)
    assert response.text == operation["responses"]["200"]["content"]["text/plain"]["example"]


def test_each_example_of_the_description_is_tested_above(service: Service) -> None:
    description = service.get("/openapi.json").text
    assert description.count('"examples"') == 3
    assert description.count('"example"') == 2
    assert openapi.read_operation()["requestBody"]["content"]["application/json"]["examples"].keys() == {"line"}


# --- what a picture may be
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_the_type_of_a_picture_is_found_by_its_content(service: Service, form: str) -> None:
    data = saved(example(), form, **({"quality": 95} if form in ("JPEG", "WEBP") else {}))
    assert send(service, data, params={"format": "text"}).text == TEXT + "\n"


def test_a_line_a_page_and_a_document_are_told_apart(large: Service) -> None:
    assert send(large, EXAMPLE).json()["kind"] == "line"
    assert send(large, lines(4)).json()["kind"] == "page"
    assert [page["page"] for page in send(large, pdf(3)).json()["pages"]] == [1, 2, 3]


# --- pictures that are none
def png(width: int, height: int) -> bytes:
    """A PNG that says to have this size, and has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def animation(form: str) -> bytes:
    frames = [Image.new("L", (40, 30), level) for level in (0, 120, 255)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello, I am no picture", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"PK\x03\x04" + bytes(100), "not an image"),
        (b"%PDF-1.7 and no more", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (EXAMPLE[:600], "complete image file"),
        (saved(example(), "JPEG")[:1000], "complete image file"),
        (EXAMPLE[:100] + b"x" * 100 + EXAMPLE[200:], "image"),
        (png(0, 0), "image"),
        (b"GIF89a" + bytes(20), "image"),
        (animation("GIF"), "animation of 3 frames"),
        (animation("PNG"), "animation of 3 frames"),
        (animation("WEBP"), "animation of 3 frames"),
        (saved(Image.new("L", (100, 100), 255), "PNG"), "blank"),
        (saved(Image.new("L", (1, 1)), "PNG"), ""),
    ],
    ids=[
        "text",
        "svg",
        "zip",
        "pdf",
        "header",
        "cut-png",
        "cut-jpeg",
        "broken-png",
        "0x0-png",
        "0x0-gif",
        "gif",
        "apng",
        "webp",
        "blank",
        "1x1",
    ],
)
def test_a_picture_that_is_none_is_refused(service: Service, data: bytes, words: str) -> None:
    refused(send(service, data), 422, "cannot-read", words)


@pytest.mark.parametrize("by", ["bytes", "base64"])
@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (50_000, 1)])
def test_a_bomb_is_refused_before_it_is_decoded(
    service: Service, size: tuple[int, int], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("it was decoded"))
    data = png(*size)
    response = send(service, data) if by == "bytes" else service.read(json={"image": base64.b64encode(data).decode()})
    refused(response, 413, "too-large", "pixels")


# --- limits
def test_a_picture_may_have_as_many_pixels_as_the_limit(service: Service) -> None:
    assert send(service, EXAMPLE).status_code == 200
    wider = Image.new("L", (WIDTH + 1, HEIGHT), 255)
    wider.paste(example())
    refused(send(service, saved(wider, "PNG")), 413, "too-large", f"{WIDTH * HEIGHT:,}")


def pdf(pages: int) -> bytes:
    blank = [Image.new("L", (60, 40), 255) for _ in range(pages - 1)]
    return saved(example(), "PDF", save_all=True, append_images=blank, resolution=200)


def tiff(pages: int) -> bytes:
    return saved(example(), "TIFF", save_all=True, append_images=[Image.new("L", (60, 40), 255)] * (pages - 1))


@pytest.mark.parametrize("form", [pdf, tiff])
@pytest.mark.parametrize("over", [0, 1])
def test_a_document_may_have_as_many_pages_as_the_limit(
    large: Service, form: Callable[[int], bytes], over: int
) -> None:
    response = send(large, form(3 + over))
    if over:
        refused(response, 413, "too-large", "4 pages", "at most 3")
    else:
        assert len(response.json()["pages"]) == 3


def lines(count: int) -> bytes:
    """Part of the drawn page of the documentation, with four or five lines."""
    page = Image.open(ROOT / "docs" / "images" / "page.jpg").convert("L")
    return saved(page.crop((60, 150, 660, {4: 330, 5: 380}[count])), "PNG")


@pytest.mark.parametrize("over", [0, 1])
def test_a_page_may_have_as_many_lines_as_the_limit(large: Service, over: int) -> None:
    response = send(large, lines(4 + over), params={"as": "page"})
    if over:
        refused(response, 413, "too-large", "5 lines", "at most 4")
    else:
        assert len(response.json()["lines"]) == 4


def test_a_request_may_not_take_longer_than_the_limit(large: Service) -> None:
    hurried = Service(large.engine, seconds=1e-6)
    refused(send(hurried, EXAMPLE), 504, "too-late", "time limit")
    assert send(Service(large.engine, seconds=60), EXAMPLE).status_code == 200
