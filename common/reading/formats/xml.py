"""What ALTO, PAGE and hOCR share: building elements, boxes, and characters that XML allows."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from common.data.xml_pages import Points

# all but the characters of XML 1.0
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def child(parent: Element, tag: str, text: str = "", /, **attributes: object) -> Element:
    """Add an element with a text and attributes. A trailing underscore of an attribute's name is left out."""
    element = SubElement(parent, tag, {name.rstrip("_"): xml_text(str(value)) for name, value in attributes.items()})
    if text:
        element.text = xml_text(text)
    return element


def document(root: Element, doctype: str = "") -> bytes:
    """The content of a file with this root."""
    indent(root, " ")
    content = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{doctype}{content}\n'.encode()


def xml_text(text: str) -> str:
    """The text, with U+FFFD in place of each character that XML does not allow."""
    return _FORBIDDEN.sub("\ufffd", text)


def box(outline: Points) -> tuple[int, int, int, int]:
    """Left, top, right and bottom pixel of an outline."""
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    return int(left), int(top), int(right), int(bottom)


def pairs(points: Points) -> str:
    """Points as `x,y x,y`."""
    return " ".join(f"{int(x)},{int(y)}" for x, y in points)


def file_name(image: str) -> str:
    """The name of a file without its folder. A reader of the XML looks for the image beside the XML."""
    return PurePath(image).name


def program_version() -> str:
    """The version of this package."""
    try:
        return version("fourhands")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def now() -> str:
    """The present time, UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
