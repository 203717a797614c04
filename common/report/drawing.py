"""Parts that all figures share: colours, labels, characters that the font can draw, and PNG.

Figures are created as objects of Matplotlib, without pyplot, because pyplot keeps every figure in a global list. Text
is drawn literally, so `$` and backslash never start a formula.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

from common.formatting import visible

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
RIGHT, WRONG, QUIET = "#1f77b4", "#c0392b", "#9aa5b1"
LITERAL: dict[str, Any] = {"parse_math": False}


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a date or a version, so the same input has the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Add a title, the names of the axes, and a light grid."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if axes.get_images():
        return
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e8ec", linewidth=0.7)
    axes.set_axisbelow(True)


@cache
def _has_glyph(character: str) -> bool:
    from matplotlib import font_manager, ft2font

    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    return bool(font.get_char_index(ord(character)))


def drawable(text: str, space: str = "␣") -> str:
    """The text with a code such as U+4E2D for each character that the font lacks or that is invisible.

    Args:
        text: the text.
        space: what to write for a space.
    """
    shown = (c if c == " " or not c.isprintable() or _has_glyph(c) else f"U+{ord(c):04X}" for c in text)
    return visible("".join(shown)).replace("␣", space)
