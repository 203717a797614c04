"""PAGE 2019: https://github.com/PRImA-Research-Lab/PAGE-XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from common.reading.formats import Source
from common.reading.formats.xml import child, document, file_name, now, pairs, program_version
from common.reading.page import PageReading

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def render(reading: PageReading, source: Source) -> bytes:
    """The content of a PAGE file: one region, with a `TextLine` per line."""
    width, height = reading.size
    root = Element(
        "PcGts",
        {"xmlns": _NAMESPACE, "xmlns:xsi": _XSI, "xsi:schemaLocation": f"{_NAMESPACE} {_NAMESPACE}/pagecontent.xsd"},
    )
    metadata = child(root, "Metadata")
    time = now()
    child(metadata, "Creator", f"fourhands {program_version()}")
    child(metadata, "Created", time)
    child(metadata, "LastChange", time)
    page = child(root, "Page", imageFilename=file_name(source.image), imageWidth=width, imageHeight=height)
    if not reading.lines:
        return document(root)
    order = child(child(page, "ReadingOrder"), "OrderedGroup", id="order")
    child(order, "RegionRefIndexed", index=0, regionRef="region")
    region = child(page, "TextRegion", id="region")
    right, bottom = width - 1, height - 1
    child(region, "Coords", points=pairs(np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)])))
    for number, line in enumerate(reading.lines, start=1):
        element = child(region, "TextLine", id=f"line{number}")
        child(element, "Coords", points=pairs(line.outline))
        if len(line.baseline):
            child(element, "Baseline", points=pairs(line.baseline))
        child(child(element, "TextEquiv", conf=f"{line.confidence:.4f}"), "Unicode", line.text)
    return document(root)
