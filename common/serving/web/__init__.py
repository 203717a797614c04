"""The page of the service: its HTML, styles, scripts and icon, as they are sent to a browser.

The files need no build step and nothing from another host. They are in the wheel.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Literal, NamedTuple

Mode = Literal["reader", "label"]
"""What the page at `/` is for: reading pictures, or labelling a folder."""

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_MODE = b'<meta name="fourhands-mode" content="%s">'


class Asset(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str
    """Value of its Content-Type header."""


def index(mode: Mode = "reader") -> Asset:
    """The HTML of the page at `/`. It tells the scripts the mode, so that they need not ask."""
    content, media_type = load_assets()[_INDEX]
    old, new = _MODE % b"reader", _MODE % mode.encode()
    assert old in content, f"{_INDEX} lacks {old.decode()}"
    return Asset(content.replace(old, new), media_type)


def load_assets() -> dict[str, Asset]:
    """The files of the page by name. The service sends each at `/web/NAME`, and nothing else there."""
    found = {}
    for file in files(__name__).iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _MEDIA_TYPES:
            found[file.name] = Asset(file.read_bytes(), _MEDIA_TYPES[suffix])
    return found
