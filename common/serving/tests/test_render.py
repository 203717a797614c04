"""`POST /v1/render`: a corrected reading becomes a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from common.serving.openapi import reading as example
from common.serving.tests.fake import FakeEngine, Service, reading, refused

ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"


def render(content: Any, form: str = "text", **given: Any) -> Any:
    return Service().send("POST", "/v1/render", params={"format": form}, json=content, **given)


@pytest.mark.parametrize("form", ["text", "alto", "page", "hocr"])
@pytest.mark.parametrize("pages", [1, 2])
def test_what_read_answers_can_be_rendered_as_it_is(form: str, pages: int) -> None:
    service = Service(FakeEngine(*[reading(f"page {n}") for n in range(pages)]))
    response = service.send("POST", "/v1/render", params={"format": form}, json=service.read().json())
    expected = service.read(params={"format": form})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == expected.headers["content-type"]
    if form != "page" and (pages == 1 or form == "text"):  # PAGE has the time, and so has a ZIP of it
        assert response.content == expected.content


def test_a_corrected_line_without_a_confidence_counts_as_sure() -> None:
    content = example()
    content["lines"][0] |= {"text": "a  <b> &\tline\n", "confidence": None, "characters": []}
    (string,) = fromstring(render(content, "alto").content).iter(f"{ALTO}String")
    assert (string.get("CONTENT"), string.get("WC")) == ("a <b> & line", "1.0000")


def test_characters_that_xml_does_not_know_do_not_break_the_file() -> None:
    content = example()
    content["lines"][0]["text"] = "a\x00\x0b\ufffeb"
    for form in ("alto", "page", "hocr"):
        fromstring(render(content, form).content)
    assert render(content).status_code == 200


@pytest.mark.parametrize("form", ["text", "alto", "page", "hocr"])
@pytest.mark.parametrize("where", ["line", "name"])
def test_half_a_character_is_refused(form: str, where: str) -> None:
    content = example()
    (content["lines"][0] if where == "line" else content)["text" if where == "line" else "image"] = "a\ud800b"
    body = json.dumps(content).encode()
    response = Service().send(
        "POST", "/v1/render", params={"format": form}, content=body, headers={"content-type": "application/json"}
    )
    refused(response, 422, "wrong-value", "text" if where == "line" else "image")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lines": None}, "lines"),
        ({"lines": [{}]}, "lines.0.text"),
        ({"unknown": 1}, "unknown field 'unknown'"),
        ({"width": 0}, "width"),
        ({"width": 1e9}, "width"),
        ({"width": "3"}, "width"),
        ({"width": True}, "width"),
        ({"kind": "book"}, "kind"),
        ({"confidence": 1.5}, "confidence"),
        ({"pages": []}, ""),
        ({"lines": [{"text": "a", "outline": [[0, 0]]}]}, "outline"),
        ({"lines": [{"text": "a", "outline": [[0, 0], [1, 1], [2, -2]]}]}, "outline"),
        ({"lines": [{"text": "a", "outline": [[0, 0], [1, 1], [2]]}]}, "outline"),
        ({"lines": [{"text": "a" * 10_001, "outline": [[0, 0], [1, 1], [2, 2]]}]}, "text"),
        ({"lines": [{"text": "a", "outline": [[0, 0], [1, 1], [2, 2]]}] * 1001}, "lines"),
    ],
)
def test_what_is_no_reading_is_refused(change: dict[str, Any], words: str) -> None:
    refused(render(example() | change), 422, "wrong-value", words)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_lines_and_texts_may_be_as_long_as_the_limit(count: int) -> None:
    line = {"text": "a", "outline": [[0, 0], [1, 1], [2, 2]]}
    lines = [line] * count if count == 1000 else [line | {"text": "a" * count}]
    assert render(example() | {"lines": lines}).status_code == 200


def test_the_format_and_the_type_must_be_named() -> None:
    service = Service()
    refused(service.send("POST", "/v1/render", json=example()), 422, "wrong-value", "format is missing")
    refused(service.send("POST", "/v1/render?format=json", json=example()), 422, "wrong-value", "choose one of text")
    refused(service.send("POST", "/v1/render?format=text&x=1", json=example()), 422, "wrong-value", "'x'")
    refused(service.send("POST", "/v1/render?format=text", content=b"{}"), 415, "wrong-type")


def test_a_name_of_the_picture_with_folders_is_shortened() -> None:
    response = render(example() | {"image": "../../etc/a.png"}, "alto")
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''a.xml"
    assert b"../" not in response.content
