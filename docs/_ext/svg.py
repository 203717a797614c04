"""Elements of a picture, as SVG text. Colours are CSS classes, so that a picture follows the page into dark mode."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def tag(name: str, *content: str, **attributes: object) -> str:
    """One element. `class_` sets the class, and an underscore in a name is a hyphen."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(content)}</{name}>" if content else f"<{name}{written}/>"


def text(x: float, y: float, words: str, class_: str = "", anchor: str | None = None) -> str:
    """Words with their baseline at y. `anchor` is SVG's text-anchor: start (the default), middle or end."""
    return tag("text", escape(words, quote=False), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def rect(x: float, y: float, width: float, height: float, class_: str, radius: float = 0) -> str:
    """A box from its top left corner."""
    return tag("rect", x=x, y=y, width=width, height=height, class_=class_, rx=radius or None)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Straight lines from point to point."""
    return tag("polyline", points=" ".join(f"{_short(x)},{_short(y)}" for x, y in points), class_=class_)


def arrow(*points: tuple[float, float]) -> str:
    """A line along the points, whose last piece is horizontal or vertical, with a head at its end."""
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = [(x, y), (x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx), (x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx)]
    shaft = [*points[:-1], (x - 6 * dx, y - 6 * dy)]
    shown = " ".join(f"{_short(a)},{_short(b)}" for a, b in head)
    return polyline(shaft, "arrow") + tag("polygon", points=shown, class_="arrow-head")


def group(x: float, y: float, *content: str) -> str:
    """The content with its origin at (x, y)."""
    return tag("g", *content, transform=f"translate({_short(x)} {_short(y)})")


def picture(width: float, height: float, alt: str, *content: str, class_: str = "", head: str = "") -> str:
    """The whole picture.

    Args:
        width: of the coordinates; the page scales the picture to the room that it has.
        height: in the same unit.
        alt: what a screen reader says.
        content: the elements.
        class_: of the svg element.
        head: elements before the content, such as a style.
    """
    return tag(
        "svg",
        tag("title", escape(alt, quote=False)),
        head,
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        aria_label=alt,
        class_=class_ or None,
    )


def _short(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
