"""Text of labels: reading it from a file, and normalising it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from common.errors import UserError


def read_utf8(path: Path) -> str:
    """A file's text, without a byte order mark.

    Raises:
        UserError: the file is not UTF-8. The message names the line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path.name}, line {line}: byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def normalised(text: str) -> str:
    """The text in Unicode's form NFC, with one space for each run of white space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())
