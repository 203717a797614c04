"""The files of a reading: valid by their official schemas, and the same lines when they are read back."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.xml_pages import read_page
from common.reading.formats import FORMATS, SUFFIXES, FormatName, Source, render
from common.reading.page import PageReading, page_line

SCHEMAS = Path(os.environ.get("FOURHANDS_SCHEMAS", Path(__file__).parents[3] / "shared" / "schemas"))
XML: list[FormatName] = ["alto", "page"]
SCHEMA_OF = {"alto": "alto-4-4.xsd", "page": "page-2019-07-15.xsd"}
# ALTO imports this schema by an address that a test must not need
XLINK = b"""<xsd:schema xmlns:xsd="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/1999/xlink">
<xsd:attributeGroup name="simpleLink"><xsd:anyAttribute processContents="skip"/></xsd:attributeGroup></xsd:schema>"""


def reading(*texts: str) -> PageReading:
    """A page of 400×300 pixels with lines that slope, one below the other."""
    lines = []
    for i, text in enumerate(texts):
        top = 20 + 50 * i
        outline = np.array([(30, top), (370, top + 10), (372, top + 45), (31, top + 38)], np.float64)
        baseline = np.array([(32, top + 28), (200, top + 31), (368, top + 36)], np.float64)
        confidences = np.linspace(0.5, 1, len(text))
        lines.append(page_line(text, confidences, outline, baseline))
    return PageReading(size=(400, 300), lines=tuple(lines), confidence=0.75)


PAGE = reading("Chère Jane, ", '  <b> & "q"', "l'été à  Évreux", "\x01 œ €")
SOURCE = Source(image="scans/letter 1.jpg", picture_HW=np.full((300, 400), 220, np.uint8))


def schema(form: str) -> "object":
    etree = pytest.importorskip("lxml.etree", reason="needs lxml: pip install lxml")
    path = SCHEMAS / SCHEMA_OF[form]
    if not path.is_file():
        pytest.skip(f"missing: {path.name}, in ../shared/schemas or where FOURHANDS_SCHEMAS points")

    class Local(etree.Resolver):
        def resolve(self, url: str, public_id: str, context: object) -> object:
            return self.resolve_string(XLINK, context) if "xlink" in url else None

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Local())
    return etree.XMLSchema(etree.parse(path, parser))


@pytest.mark.parametrize("form", XML)
@pytest.mark.parametrize("page", [PAGE, reading()], ids=["lines", "no lines"])
def test_xml_is_valid_by_its_official_schema(form: FormatName, page: PageReading) -> None:
    from lxml import etree

    checked = schema(form)
    document = etree.fromstring(render(page, SOURCE, form))
    checked.assertValid(document)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", XML)
def test_the_schema_refuses_what_is_wrong(form: FormatName) -> None:
    from lxml import etree

    checked = schema(form)
    attribute = b"CONTENT=" if form == "alto" else b'id="line'
    wrong = render(PAGE, SOURCE, form).replace(attribute, b"other=" if form == "alto" else b'other="line')
    assert not checked.validate(etree.fromstring(wrong))  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", XML)
def test_lines_are_the_same_when_the_file_is_read_back(form: FormatName, tmp_path: Path) -> None:
    (tmp_path / "page.xml").write_bytes(render(PAGE, SOURCE, form))
    back = read_page(tmp_path / "page.xml")
    assert (back.image_name, back.size) == ("letter 1.jpg", (400, 300))
    assert [line.text for line in back.lines] == ["Chère Jane,", '<b> & "q"', "l'été à Évreux", "\ufffd œ €"]
    for written, line in zip(PAGE.lines, back.lines, strict=True):
        np.testing.assert_array_equal(line.outline, written.outline)
        np.testing.assert_array_equal(line.baseline, written.baseline)


def test_json_has_each_character_and_place() -> None:
    page = json.loads(render(PAGE, SOURCE, "json"))
    assert {name: page[name] for name in ("image", "kind", "width", "height", "confidence")} == {
        "image": "scans/letter 1.jpg",
        "kind": "page",
        "width": 400,
        "height": 300,
        "confidence": 0.75,
    }
    assert page["text"].split("\n") == [line["text"] for line in page["lines"]]
    first = page["lines"][0]
    assert "".join(each["text"] for each in first["characters"]) == first["text"] == "Chère Jane,"
    assert first["characters"][0]["confidence"] == 0.5
    assert first["confidence"] == pytest.approx(np.mean([each["confidence"] for each in first["characters"]]))
    assert first["baseline"] == [[32, 48], [200, 51], [368, 56]]
    assert first["outline"][0] == [30, 20]
    assert "page" not in page


def test_json_of_a_document_has_the_number_of_the_page() -> None:
    source = Source(image="a.pdf", picture_HW=SOURCE.picture_HW, page=3, pages=9)
    assert json.loads(render(PAGE, source, "json"))["page"] == 3


def test_hocr_has_boxes_baselines_and_confidences_as_its_specification_says() -> None:
    content = render(PAGE, SOURCE, "hocr").decode()
    root = __import__("xml.etree.ElementTree", fromlist=["x"]).fromstring(content)
    tag = "{http://www.w3.org/1999/xhtml}"
    meta = {each.get("name"): each.get("content") for each in root.iter(f"{tag}meta")}
    assert {"ocr_page", "ocr_line"} <= set(str(meta["ocr-capabilities"]).split())
    assert str(meta["ocr-system"]).startswith("fourhands")
    (page,) = (each for each in root.iter(f"{tag}div") if each.get("class") == "ocr_page")
    assert page.get("title") == 'image "letter 1.jpg"; bbox 0 0 400 300; ppageno 0'
    lines = [each for each in page.iter(f"{tag}span") if each.get("class") == "ocr_line"]
    assert [each.text for each in lines] == ["Chère Jane,", '<b> & "q"', "l'été à Évreux", "\ufffd œ €"]
    said = dict(part.strip().split(" ", 1) for part in str(lines[0].get("title")).split(";"))
    assert said["bbox"] == "30 20 372 65"
    assert said["x_wconf"] == f"{100 * PAGE.lines[0].confidence:.0f}"
    slope, offset = map(float, said["baseline"].split())
    # the baseline at x is y = bottom + offset + slope · (x - left)
    for x, y in PAGE.lines[0].baseline:
        assert 65 + offset + slope * (x - 30) == pytest.approx(y, abs=1)


def test_text_has_a_line_per_line() -> None:
    assert render(PAGE, SOURCE, "text").decode().splitlines() == [line.text for line in PAGE.lines]
    assert render(reading(), SOURCE, "text") == b""


def test_the_picture_shows_outlines_and_text_where_they_are() -> None:
    picture = Image.open(io.BytesIO(render(PAGE, SOURCE, "picture")))
    assert picture.size == (400, 300)
    empty = np.asarray(Image.open(io.BytesIO(render(reading(), SOURCE, "picture")))).astype(int)
    changed_HW = (np.asarray(picture).astype(int) != empty).any(axis=2)
    assert changed_HW[20:68, 29:374].mean() > 0.05
    assert not changed_HW[225:].any()
    assert not changed_HW[:, :28].any()


def test_the_picture_of_a_large_page_is_smaller() -> None:
    page = PageReading(size=(6000, 3000), lines=(), confidence=0)
    source = Source(image="x.jpg", picture_HW=np.zeros((3000, 6000), np.uint8))
    assert Image.open(io.BytesIO(render(page, source, "picture"))).size == (2400, 1200)


def test_the_font_of_the_picture_has_accented_letters() -> None:
    from PIL import ImageFont

    from common.reading.formats.picture import _font_file

    font = ImageFont.truetype(_font_file(), 20)
    missing = font.getmask("\U0001f600")
    assert all(bytes(font.getmask(c)) != bytes(missing) for c in "éàçœÉ€")


def test_every_format_has_a_suffix() -> None:
    assert set(FORMATS) == set(SUFFIXES)
    assert all(re.fullmatch(r"\.[a-z]+", suffix) for suffix in SUFFIXES.values())
