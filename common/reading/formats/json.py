"""JSON: the text, and each line with its characters, confidences and place."""

from __future__ import annotations

import json
from typing import Any

from common.data.xml_pages import Points
from common.reading.formats import Source
from common.reading.page import PageLine, PageReading


def render(reading: PageReading, source: Source) -> bytes:
    """The content of a JSON file: the object that `as_json` describes."""
    return (json.dumps(as_json(reading, source), ensure_ascii=False) + "\n").encode()


def as_json(reading: PageReading, source: Source) -> dict[str, Any]:
    """A reading for JSON.

    `image`, `page` (of a document with several), `kind`, `width` and `height` describe the picture; `text` and
    `confidence` what was read; `lines` where. A picture of one line also has `character_confidences`.
    """
    (width, height), pages = reading.size, source.pages > 1
    row: dict[str, Any] = {"image": source.image} | ({"page": source.page} if pages else {})
    row |= {"kind": reading.kind, "width": width, "height": height}
    row |= {"text": reading.text, "confidence": reading.confidence}
    if reading.kind == "line":
        row["character_confidences"] = [each.confidence for line in reading.lines for each in line.characters]
    if reading.upside_down:
        row["upside_down"] = True
    return row | {"lines": [_line(line) for line in reading.lines]}


def _line(line: PageLine) -> dict[str, Any]:
    return {
        "text": line.text,
        "confidence": line.confidence,
        "characters": [each._asdict() for each in line.characters],
        "baseline": _points(line.baseline),
        "outline": _points(line.outline),
    }


def _points(points: Points) -> list[list[int]]:
    return [[int(x), int(y)] for x, y in points]
