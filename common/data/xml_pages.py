"""Read ALTO 2 to 4 and PAGE 2013 to 2019: XML files with the position and the text of each line on a page image.

Sources: https://www.loc.gov/standards/alto and https://github.com/PRImA-Research-Lab/PAGE-XML.
"""

# P points of a polyline or polygon: (x, y) in pixels of the image, from its upper left corner

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError  # the error only; defusedxml parses

import numpy as np
from jaxtyping import Float

from common.data.text import normalised
from common.errors import UserError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ALTO = re.compile(r"http://www\.loc\.gov/standards/alto/ns-v[234]([.-]\d+)*#?")
_PAGE = re.compile(r"http://schema\.primaresearch\.org/PAGE/gts/pagecontent/201[3-9]-\d\d-\d\d")

Points = Float[np.ndarray, "_ 2"]  # not "P 2": an outline and its baseline have different numbers of points


@dataclass(frozen=True, kw_only=True)
class TextLine:
    """A line of a page, as its file describes it."""

    number: int
    """Number of the line in the file, from 1."""
    text: str
    """In Unicode's form NFC, without white space at its ends; may be empty."""
    outline: Points
    """Corners of the polygon around its ink, or of its box if there is no polygon; empty if there is neither."""
    baseline: Points
    """Polyline under its letters, in either direction; empty if the file has none."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page and its lines, in the order of the file."""

    image_name: str
    """Name of the image's file; empty if the XML has none."""
    size: tuple[int, int] | None
    """(width, height) of the image in pixels; None if the XML has none."""
    lines: tuple[TextLine, ...]


def read_page(path: Path) -> Page:
    """Read an ALTO or PAGE file.

    Raises:
        UserError: the file cannot be read, is not well-formed XML, declares entities, has another schema, has not
            exactly one page, or has a coordinate that is not a number.
    """
    # slow to import, and most data does not need it
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        root = parse(path).getroot()
    except DefusedXmlException as error:
        raise UserError(
            f"{path.name} declares entities ({type(error).__name__}); ALTO and PAGE do not need them, and attacks use "
            "them, so remove the file or its declarations"
        ) from None
    except (ParseError, LookupError, ValueError) as error:  # the last two: an unknown encoding
        raise UserError(f"{path.name} is not well-formed XML ({error}); export or copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    assert root is not None, "a parsed document has a root"
    namespace = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    _strip_namespace(root)
    if root.tag == "alto" and _ALTO.fullmatch(namespace):
        return _alto(path, root)
    if root.tag == "PcGts" and _PAGE.fullmatch(namespace):
        return _page(path, root)
    raise UserError(
        f"{path.name} is <{root.tag}> in the schema {namespace or 'without a name'!r}; expected ALTO 2 to 4 or PAGE "
        "2013 to 2019, export it as one of these or move it to another folder"
    )


def _strip_namespace(root: Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]


def _alto(path: Path, root: Element) -> Page:
    unit = (root.findtext("Description/MeasurementUnit") or "pixel").strip()
    if unit != "pixel":
        raise UserError(f"{path.name} measures in {unit}; expected pixels, export it with the unit 'pixel'")
    page = _only_page(path, root)
    return Page(
        image_name=(root.findtext("Description/sourceImageInformation/fileName") or "").strip(),
        size=_size(path, page.get("WIDTH"), page.get("HEIGHT")),
        lines=tuple(_alto_line(path, number, line) for number, line in enumerate(page.iter("TextLine"), start=1)),
    )


def _alto_line(path: Path, number: int, line: Element) -> TextLine:
    where = f"{path.name}, line {number}"
    box = [line.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    polygon = line.find("Shape/Polygon")
    outline = points_of(where, "" if polygon is None else polygon.get("POINTS", ""))
    if not len(outline) and None not in box:
        left, top, width, height = numbers_of(where, " ".join(filter(None, box)))
        outline = np.array([(left, top), (left + width, top), (left + width, top + height), (left, top + height)])
    baseline = line.get("BASELINE", "")
    if baseline and len(numbers_of(where, baseline)) == 1:  # ALTO up to 4.0: one number, the y of a level line
        ends = (outline[:, 0].min(), outline[:, 0].max()) if len(outline) else ()
        baseline = " ".join(f"{x} {baseline}" for x in ends)
    return TextLine(
        number=number, text=normalised(_alto_text(line)), outline=outline, baseline=points_of(where, baseline)
    )


def _alto_text(line: Element) -> str:
    parts = []
    # many programs write ALTO without the spaces between words
    between = "" if line.find("SP") is not None else " "
    for element in line:
        if element.tag == "String":
            parts.append(between + element.get("CONTENT", ""))
        elif element.tag == "SP":
            parts.append(" ")
        elif element.tag == "HYP":
            parts.append(element.get("CONTENT", "-"))
    return "".join(parts)


def _page(path: Path, root: Element) -> Page:
    page = _only_page(path, root)
    return Page(
        image_name=page.get("imageFilename", "").strip(),
        size=_size(path, page.get("imageWidth"), page.get("imageHeight")),
        lines=tuple(_page_line(path, number, line) for number, line in enumerate(page.iter("TextLine"), start=1)),
    )


def _page_line(path: Path, number: int, line: Element) -> TextLine:
    where = f"{path.name}, line {number}"
    coordinates, baseline = (line.find(name) for name in ("Coords", "Baseline"))
    # alternatives have an index, from the best on; one of them may have none, and is the best
    readings = sorted(line.findall("TextEquiv"), key=lambda reading: _index(where, reading))
    return TextLine(
        number=number,
        text=normalised(readings[0].findtext("Unicode") or "") if readings else "",
        outline=points_of(where, "" if coordinates is None else coordinates.get("points", "")),
        baseline=points_of(where, "" if baseline is None else baseline.get("points", "")),
    )


def _index(where: str, reading: Element) -> float:
    index = reading.get("index")
    return -1.0 if index is None else numbers_of(where, index)[0]


def _only_page(path: Path, root: Element) -> Element:
    pages = list(root.iter("Page"))
    if len(pages) != 1:
        raise UserError(
            f"{path.name} describes {len(pages)} pages; expected one page per file, so export each page on its own"
        )
    return pages[0]


def _size(path: Path, width: str | None, height: str | None) -> tuple[int, int] | None:
    if width is None or height is None:
        return None
    across, down = numbers_of(path.name, f"{width} {height}")
    return round(across), round(down)


def numbers_of(where: str, text: str) -> list[float]:
    """The numbers in `text`, separated by commas or spaces.

    Args:
        where: the file and the line, for messages.
        text: the numbers.

    Raises:
        UserError: a word is not a finite number.
    """
    return list(_numbers(where, text))


def _numbers(where: str, text: str) -> Iterator[float]:
    for word in text.replace(",", " ").split():
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(
                f"{where}: {word!r} is not a coordinate; expected numbers such as '12,40 310,42', correct it"
            )
        yield number


def points_of(where: str, text: str) -> Points:
    """The points in `text`, written as `x,y x,y` or `x y x y`.

    Args:
        where: the file and the line, for messages.
        text: the points.

    Raises:
        UserError: the text is not pairs of numbers.
    """
    numbers = numbers_of(where, text)
    if len(numbers) % 2:
        raise UserError(f"{where}: {len(numbers)} coordinates; expected pairs of x and y, so add or remove one")
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)
