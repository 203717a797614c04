"""Plain text: a line per line of the page, UTF-8."""

from __future__ import annotations

from common.reading.formats import Source
from common.reading.page import PageReading


def render(reading: PageReading, source: Source) -> bytes:  # noqa: ARG001
    """The content of a text file."""
    return "".join(f"{line.text}\n" for line in reading.lines).encode()
