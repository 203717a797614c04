"""The files that a page's reading is written to."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from common.reading.page import PageReading

# H height, W width

FormatName = Literal["text", "json", "alto", "page", "hocr", "picture"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
SUFFIXES: dict[FormatName, str] = {
    "text": ".txt",
    "json": ".json",
    "alto": ".xml",
    "page": ".xml",
    "hocr": ".html",
    "picture": ".png",
}
"""Suffix of the files of each format."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The picture that was read, and where it came from."""

    image: str
    """Name of its file, as the person gave it."""
    picture_HW: UInt8[np.ndarray, "H W"]
    page: int = 1
    """Number of the page in its document, from 1."""
    pages: int = 1
    """Pages of the document."""


Render = Callable[[PageReading, Source], bytes]


def render(reading: PageReading, source: Source, form: FormatName) -> bytes:
    """The content of a file with a reading."""
    module = importlib.import_module(f"common.reading.formats.{form}")  # on demand: some import Pillow
    content: bytes = module.render(reading, source)
    return content
