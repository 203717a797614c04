"""ALTO 4.4: https://www.loc.gov/standards/alto."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

from common.data.xml_pages import Points
from common.reading.formats import Source
from common.reading.formats.xml import box, child, document, file_name, pairs, program_version
from common.reading.page import PageReading

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "https://www.loc.gov/standards/alto/v4/alto-4-4.xsd"


def render(reading: PageReading, source: Source) -> bytes:
    """The content of an ALTO file: one block, with a `TextLine` and one `String` per line."""
    width, height = reading.size
    root = Element("alto", {"xmlns": _NAMESPACE, "xmlns:xsi": _XSI, "xsi:schemaLocation": f"{_NAMESPACE} {_SCHEMA}"})
    description = child(root, "Description")
    child(description, "MeasurementUnit", "pixel")
    child(child(description, "sourceImageInformation"), "fileName", file_name(source.image))
    software = child(child(description, "Processing", ID="reading"), "processingSoftware")
    child(software, "softwareName", "fourhands")
    child(software, "softwareVersion", program_version())
    page = child(
        child(root, "Layout"),
        "Page",
        ID="page",
        PHYSICAL_IMG_NR=source.page,
        WIDTH=width,
        HEIGHT=height,
        **_confidence("PC", reading.confidence),
    )
    space = child(page, "PrintSpace", HPOS=0, VPOS=0, WIDTH=width, HEIGHT=height)
    if not reading.lines:
        return document(root)
    block = child(space, "TextBlock", ID="block", **_place((0, 0, width - 1, height - 1)))
    for number, line in enumerate(reading.lines, start=1):
        place = _place(box(line.outline))
        baseline = {"BASELINE": pairs(line.baseline)} if len(line.baseline) else {}
        element = child(block, "TextLine", ID=f"line{number}", **place, **baseline)
        _shape(element, line.outline)
        child(element, "String", ID=f"string{number}", CONTENT=line.text, **place, **_confidence("WC", line.confidence))
    return document(root)


def _confidence(name: str, value: float) -> dict[str, str]:
    """The attribute with a confidence. What a person wrote has none, which is NaN."""
    return {} if math.isnan(value) else {name: f"{value:.4f}"}


def _place(sides: tuple[int, int, int, int]) -> dict[str, int]:
    left, top, right, bottom = sides
    return {"HPOS": left, "VPOS": top, "WIDTH": right - left, "HEIGHT": bottom - top}


def _shape(parent: Element, outline: Points) -> None:
    child(child(parent, "Shape"), "Polygon", POINTS=pairs(outline))
