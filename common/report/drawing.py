"""What every picture needs: colours, labels, characters that the font can draw, and PNG.

Matplotlib's Figure is used as an object, without pyplot, which would keep every figure in a global list. Text is drawn
literally: nothing is taken for mathematics, whatever `$` or backslash it holds.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

from common.formatting import visible

if TYPE_CHECKING:  # half a second to import, so only the functions that draw do
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
RIGHT, WRONG, QUIET = "#1f77b4", "#c0392b", "#9aa5b1"
LITERAL: dict[str, Any] = {"parse_math": False}


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a date or a version: the same input gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, names of the axes, and a light grid."""
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
    """The text with U+4E2D for every character that the font lacks, or that is invisible."""
    shown = (c if c == " " or not c.isprintable() or _has_glyph(c) else f"U+{ord(c):04X}" for c in text)
    return visible("".join(shown)).replace("␣", space)
