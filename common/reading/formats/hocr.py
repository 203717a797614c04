"""hOCR 1.2: http://kba.github.io/hocr-spec/1.2."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from common.data.xml_pages import Points
from common.reading.formats import Source
from common.reading.formats.xml import box, child, document, file_name, program_version
from common.reading.page import PageReading

_XHTML = "http://www.w3.org/1999/xhtml"
_DOCTYPE = "<!DOCTYPE html>\n"


def render(reading: PageReading, source: Source) -> bytes:
    """The content of an hOCR file: an `ocr_page`, with an `ocr_line` per line.

    A line's `baseline` is the straight line through its own with the least squares: its slope, and its height at the
    left edge of the box above the box's lower edge. `x_wconf` is the line's confidence in percent.
    """
    width, height = reading.size
    root = Element("html", {"xmlns": _XHTML})
    head = child(root, "head")
    child(head, "title", file_name(source.image))
    child(head, "meta", charset="utf-8")
    child(head, "meta", name="ocr-system", content=f"fourhands {program_version()}")
    child(head, "meta", name="ocr-capabilities", content="ocr_page ocr_line ocrp_poly ocrp_wconf")
    image = file_name(source.image).replace('"', "'")
    page = child(
        child(root, "body"),
        "div",
        class_="ocr_page",
        id="page",
        title=f'image "{image}"; bbox 0 0 {width} {height}; ppageno {source.page - 1}',
    )
    for number, line in enumerate(reading.lines, start=1):
        sides = box(line.outline)
        said = ["bbox {} {} {} {}".format(*sides)]
        if len(line.baseline) > 1:
            said.append("baseline {:.4g} {:.4g}".format(*_straight(line.baseline, sides)))
        said += [f"poly {' '.join(f'{int(x)} {int(y)}' for x, y in line.outline)}"]
        said += [f"x_wconf {100 * line.confidence:.0f}"]
        child(page, "span", line.text, class_="ocr_line", id=f"line{number}", title="; ".join(said))
        child(page, "br")
    return document(root, _DOCTYPE)


def _straight(baseline: Points, sides: tuple[int, int, int, int]) -> tuple[float, float]:
    """Slope and height at the lower left corner of a box, as hOCR describes a baseline."""
    left, _, _, bottom = sides
    x, y = baseline[:, 0] - left, baseline[:, 1] - bottom
    if np.ptp(x) == 0:
        return 0.0, float(y.mean())
    slope, height = np.polyfit(x, y, 1)
    return float(slope), float(height)
