"""Figures of lines: readings with their mistakes marked, and the most frequent mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.formatting import percent
from common.metrics import Edits, edit_operations
from common.reading.result import Reading
from common.report.drawing import DPI, LITERAL, QUIET, WRONG, drawable, label

if TYPE_CHECKING:  # takes half a second to import, so only the functions that draw import it
    from matplotlib.figure import Figure

MISSED, EXTRA = "#b8860b", "#7d3c98"
# inches: width of a column of lines, indent of its images, height of an image, height of a line with its texts, height
# of the title
_COLUMN, _INDENT, _IMAGE, _PITCH, _HEAD = 6.0, 0.5, 0.42, 0.95, 0.8
_ROOM = _COLUMN - _INDENT - 0.2
_ADVANCE = 9  # pixels per character of the largest text; whole numbers, because glyphs are placed on whole pixels
_EM = 1 / 0.602  # font size of DejaVu Sans Mono in widths of a character
_ROWS = 24
Marked = list[tuple[str, str]]
"""A text in pieces, each with its kind: right, wrong, missed or extra."""


def marked(truth: str, read: str) -> tuple[Marked, Marked]:
    """The true text and the text that was read, in pieces. Neighbouring characters of the same kind are one piece."""
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
    height = _HEAD + _PITCH * rows  # in inches; all positions are set here
    figure = Figure(figsize=(2 * _COLUMN, height))
    figure.text(0.5, 1 - 0.2 / height, drawable(title, space=" "), ha="center", va="center", fontsize=12, **LITERAL)
    legend = [("[read as another]", "wrong"), ("(missed)", "missed"), ("+extra+", "extra")]
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
        f"{edits.deletions:,} missed, {edits.insertions:,} extra"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label(axes, said if total else "No mistakes", "times", "")
    axes.grid(visible=False, axis="y")
    return figure


_COLOURS = {"right": "black", "wrong": WRONG, "missed": MISSED, "extra": EXTRA}


def _mistake(true: str, read: str) -> str:
    if not true:
        return f"{drawable(read)} extra"
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
    """The pieces with signs, for readers who see no colour: [wrong], (missed), +extra+."""
    signs = {"wrong": "[{}]", "missed": "({})", "extra": "+{}+"}
    spaces = {"right": " "}  # a space that is a mistake must be visible
    return [(signs.get(kind, "{}").format(drawable(text, space=spaces.get(kind, "␣"))), kind) for text, kind in pieces]


def _line(figure: Figure, reading: Reading, left: float, top: float) -> None:
    """Draw the image and the texts of one line. `left` and `top` are the position of its corner in inches."""
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
    """Write pieces one after the other in a monospaced font, small enough to fit. `left` and `y` are in inches."""
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
