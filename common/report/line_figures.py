"""Pictures of lines: what was read with its mistakes marked, and which mistakes are most frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.formatting import percent
from common.metrics import Edits, edit_operations
from common.reading.result import Reading
from common.report.drawing import DPI, LITERAL, QUIET, WRONG, drawable, label

if TYPE_CHECKING:  # half a second to import, so only the functions that draw do
    from matplotlib.figure import Figure

MISSED, EXTRA = "#b8860b", "#7d3c98"
# inches: a column of lines, the image in it, a line with its texts, what stands above
_COLUMN, _INDENT, _IMAGE, _PITCH, _HEAD = 6.0, 0.5, 0.42, 0.95, 0.8
_ROOM = _COLUMN - _INDENT - 0.2
_ADVANCE = 9  # pixels from one character to the next in the largest text; whole ones, as glyphs stand on whole pixels
_EM = 1 / 0.602  # of DejaVu Sans Mono, in advances
_ROWS = 24
Marked = list[tuple[str, str]]
"""A text in pieces, each with what it is: right, wrong, missed, extra."""


def marked(truth: str, read: str) -> tuple[Marked, Marked]:
    """The true text and what was read, piece by piece: an edit of a run of characters is one piece."""
    truth_kinds, read_kinds = ["right"] * len(truth), ["right"] * len(read)
    for true, said, i, j in edit_operations(truth, read):
        if true:
            truth_kinds[i] = "wrong" if said else "missed"
        if said:
            read_kinds[j] = "wrong" if true else "extra"
    return _pieces(truth, truth_kinds), _pieces(read, read_kinds)


def sheet_of_lines(readings: Sequence[Reading], title: str) -> Figure:
    """Two columns of lines: the image, the true text, and what was read."""
    from matplotlib.figure import Figure

    rows = max(1, -(-len(readings) // 2))
    height = _HEAD + _PITCH * rows  # placed by hand, in inches
    figure = Figure(figsize=(2 * _COLUMN, height))
    figure.text(0.5, 1 - 0.2 / height, drawable(title, space=" "), ha="center", va="center", fontsize=12, **LITERAL)
    legend = [("[read as another]", "wrong"), ("(missed)", "missed"), ("+read, nothing there+", "extra")]
    for column, (text, kind) in enumerate(legend):
        _text(figure, "", [(text, kind)], 1.6 * column, height - 0.5)
    for i, reading in enumerate(readings):
        _line(figure, reading, _COLUMN * (i // rows), height - _HEAD - _PITCH * (i % rows))
    return figure


def sheet_of_mistakes(edits: Edits) -> Figure:
    """The most frequent mistakes as bars."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    worst = edits.most_confused(_ROWS)
    figure = Figure(figsize=(7, 1.4 + 0.25 * max(4, len(worst))), layout="constrained")
    axes = figure.subplots()
    total = edits.substitutions + edits.insertions + edits.deletions
    names = [_mistake(true, read) for true, read, _ in worst]
    kinds = ["extra" if not true else "missed" if not read else "wrong" for true, read, _ in worst]
    bars = axes.barh(
        range(len(worst)), [times for *_, times in worst], color=[_COLOURS[kind] for kind in kinds], height=0.7
    )
    axes.bar_label(bars, fontsize=8, padding=2)
    axes.set_yticks(range(len(worst)), names, fontsize=9, **LITERAL)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    said = (
        f"{total:,} mistakes: {edits.substitutions:,} characters read as others,\n"
        f"{edits.deletions:,} missed, {edits.insertions:,} read that are not there"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label(axes, said if total else "No mistakes", "times", "")
    axes.grid(visible=False, axis="y")
    return figure


_COLOURS = {"right": "black", "wrong": WRONG, "missed": MISSED, "extra": EXTRA}


def _mistake(true: str, read: str) -> str:
    if not true:
        return f"{drawable(read)} read, nothing there"
    return f"{drawable(true)} missed" if not read else f"{drawable(true)} read as {drawable(read)}"


def _pieces(text: str, kinds: Sequence[str]) -> Marked:
    pieces: Marked = []
    for character, kind in zip(text, kinds, strict=True):
        if pieces and pieces[-1][1] == kind:
            pieces[-1] = pieces[-1][0] + character, kind
        else:
            pieces.append((character, kind))
    return pieces


def _bracketed(pieces: Marked) -> list[tuple[str, str]]:
    """Marked for eyes that see no colour: [wrong], (missed), +extra+."""
    signs = {"wrong": "[{}]", "missed": "({})", "extra": "+{}+"}
    spaces = {"right": " "}  # a space that is a mistake must be seen
    return [(signs.get(kind, "{}").format(drawable(text, space=spaces.get(kind, "␣"))), kind) for text, kind in pieces]


def _line(figure: Figure, reading: Reading, left: float, top: float) -> None:
    """One line's image and texts, from this corner, in inches."""
    wide, high = figure.get_size_inches()
    rows, columns = reading.image_HW.shape
    shown = min(_ROOM, _IMAGE * columns / rows)
    axes = figure.add_axes(((left + _INDENT) / wide, (top - _IMAGE) / high, shown / wide, _IMAGE / high))
    axes.imshow(reading.image_HW, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(color=QUIET, linewidth=0.5)
    wrong = reading.truth is not None and reading.truth != reading.text
    sign, colour = ("", "black") if reading.truth is None else ("✗", WRONG) if wrong else ("✓", "black")
    at = (left + 0.13) / wide, (top - _IMAGE / 2) / high
    figure.text(*at, sign, color=colour, fontsize=12, va="center")
    truth, read = marked(reading.text if reading.truth is None else reading.truth, reading.text)
    if wrong:
        _text(figure, "true", _bracketed(truth), left, top - _IMAGE - 0.12)
    said = [*_bracketed(read), (f"   {percent(reading.confidence, 0)} sure", "quiet")]
    _text(figure, "read", said, left, top - _IMAGE - (0.28 if wrong else 0.12))


def _text(figure: Figure, name: str, pieces: list[tuple[str, str]], left: float, y: float) -> None:
    """Pieces one after the other, small enough to fit, in a face whose characters are all as wide; in inches."""
    wide, high = figure.get_size_inches()
    fits = int(DPI * _ROOM) // max(1, sum(len(text) for text, _ in pieces))
    advance = max(1, min(_ADVANCE, fits))
    figure.text((left + 0.13) / wide, y / high, name, fontsize=7, color=QUIET, va="center")
    x = left + _INDENT
    for text, kind in pieces:
        weight = "normal" if kind in ("right", "quiet") else "bold"
        style: dict[str, Any] = {
            "family": ["DejaVu Sans Mono", "DejaVu Sans"],
            "weight": weight,
            "color": _COLOURS.get(kind, QUIET),
        }
        figure.text(x / wide, y / high, text, fontsize=72 * advance * _EM / DPI, va="center", **style, **LITERAL)
        x += len(text) * advance / DPI
