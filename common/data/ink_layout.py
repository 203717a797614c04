"""The layout of a drawn page: which lines stand where, and the other strokes that a pen leaves on a page.

The order of the lines is the reading order: the left column from top to bottom, then the notes in the margin beside it,
then the right column, then the notes beside that.
"""

# H height, W width, L characters of a line; a point is (x, y) in pixels of the paper, from its upper left corner

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from common.data.ink_hand import WRITABLE, Hand, Strokes, width_of, write
from common.data.ink_pen import dashes, frame, signature, strike, underline
from common.data.prose import varied
from common.data.xml_pages import Points

TWO_COLUMNS = 0.12
NOTES = 0.22
FEW_LINES = 0.12
STRUCK_OUT = 0.3
DASHES = 0.15
FRAME = 0.1
SIGNATURE = 0.25
"""Shares of the pages that have each."""
_STRUCK_WORDS = 0.04  # share of the words, on pages that have some
_DASHED_LINES = 0.6  # share of the last lines of paragraphs, on pages that have some
_UNDERLINED, _UNDERLINED_TITLES = 0.01, 0.5  # shares of the lines, and of the titles, that are underlined
_VARIED = 0.25  # share of the words that may be replaced, see `prose.varied`
_HYPHENS = 0.35  # share of the words that are divided where they do not fit


@dataclass(frozen=True, kw_only=True)
class Area:
    """A column of a page, or the margin beside it."""

    left: float
    right: float
    top: float
    bottom: float
    distance: float
    """Distance between lines, pixels."""
    cap: float
    """Cap height, pixels."""


@dataclass(frozen=True, kw_only=True)
class PagePlan:
    """What is written on a page, and where."""

    size: tuple[int, int]
    """Height and width, pixels."""
    columns: tuple[Area, ...]
    notes: tuple[Area | None, ...]
    """The margin beside each column; None if it has no notes."""
    lines: int
    """Largest number of lines in a column."""
    slope: float
    """Rise of the lines, in pixels per pixel, downwards."""
    unrest: float
    """Standard deviation of a line's distance from its place, in distances between lines."""
    struck_out: bool
    dashes: bool
    frame: bool
    signature: bool


@dataclass(frozen=True, kw_only=True)
class Written:
    """A line as it was written."""

    text: str
    strokes: Strokes
    baseline: Points
    cap: float


@dataclass
class Layout:
    """All strokes of a page."""

    lines: list[Written] = field(default_factory=list)
    """In reading order."""
    others: list[Strokes] = field(default_factory=list)
    """Strokes of the same pen that are no text: dashes, frames, a signature."""


class Words:
    """Consecutive words of a text, from a random word on."""

    def __init__(self, words: Sequence[str], rng: np.random.Generator) -> None:
        self._words, self._rng = words, rng
        self._next = int(rng.integers(len(words)))
        self._left: list[str] = []

    def take(self) -> str:
        """The next word."""
        if self._left:
            return self._left.pop()
        word = self._words[self._next % len(self._words)]
        self._next += 1
        word = varied(word, self._rng) if self._rng.random() < _VARIED else word
        written = "".join(c for c in word if c in WRITABLE)
        return written or "a"

    def put_back(self, word: str) -> None:
        """Make a word the next one."""
        self._left.append(word)


def draw_plan(size: tuple[int, int], lines: tuple[int, int], rng: np.random.Generator) -> PagePlan:
    """Draw what is written on a page, and where.

    Args:
        size: height and width of the paper, pixels.
        lines: fewest and most lines that a full column has room for.
        rng: source of the random numbers.
    """
    height, width = size
    # a page that lies across has room for fewer lines
    most = max(lines[0] + 1, lines[1] * min(1.0, 0.85 * height / width))
    room = float(np.exp(rng.uniform(np.log(lines[0]), np.log(most))))
    top, bottom = height * rng.uniform(0.05, 0.14), height * rng.uniform(0.92, 0.97)
    distance = (bottom - top) / room
    cap = distance * rng.uniform(0.34, 0.68)
    left, right = width * rng.uniform(0.04, 0.15), width * rng.uniform(0.88, 0.97)
    two = rng.random() < TWO_COLUMNS
    noted = rng.random() < NOTES
    margin = width * (rng.uniform(0.12, 0.17) if two else rng.uniform(0.18, 0.28)) if noted else 0.0
    on_left = rng.random() < 0.6
    narrow = min(1.0, (right - left - (1 + two) * margin) / ((1 + two) * 10 * cap))
    cap, distance = cap * narrow, distance * narrow  # a line has room for some words
    gap = width * rng.uniform(0.04, 0.07)

    def area(left: float, right: float) -> Area:
        return Area(left=left, right=right, top=top + distance, bottom=bottom, distance=distance, cap=cap)

    def note(left: float, right: float) -> Area:
        small = rng.uniform(0.55, 0.75)
        start = rng.uniform(top, top + 0.6 * (bottom - top))
        return Area(left=left, right=right, top=start, bottom=bottom, distance=distance * small * 1.1, cap=cap * small)

    columns: list[Area] = []
    notes: list[Area | None] = []
    if two:
        inner = right - left - gap - (2 * margin if noted else 0)
        first_right = left + margin + inner / 2
        columns = [area(left + margin, first_right), area(first_right + gap, first_right + gap + inner / 2)]
        if noted:
            notes = [note(left * 0.4, left + margin * 0.92), note(right - margin * 0.92, width - 0.2 * (width - right))]
        else:
            notes = [None, None]
    elif noted and on_left:
        columns, notes = [area(left + margin, right)], [note(left * 0.4, left + margin * 0.9)]
    elif noted:
        columns = [area(left, right - margin)]
        notes = [note(right - margin * 0.9, width - 0.4 * (width - right))]
    else:
        columns, notes = [area(left, right)], [None]
    return PagePlan(
        size=size,
        columns=tuple(columns),
        notes=tuple(notes),
        lines=int(rng.integers(1, 6)) if rng.random() < FEW_LINES else 99,
        slope=rng.normal(0, 0.012),
        unrest=rng.uniform(0.01, 0.09),
        struck_out=rng.random() < STRUCK_OUT,
        dashes=rng.random() < DASHES,
        frame=rng.random() < FRAME,
        signature=rng.random() < SIGNATURE,
    )


def fill(plan: PagePlan, hand: Hand, words: Words, rng: np.random.Generator) -> Layout:
    """Write the lines of a page, and its other strokes."""
    page = Layout()
    for column, margin in zip(plan.columns, plan.notes, strict=True):
        first = len(page.lines)
        end = _column(page, plan, column, hand, words, rng)
        if plan.frame:
            around = np.concatenate([line.strokes.xy_LP2.reshape(-1, 2) for line in page.lines[first:]])
            page.others.append(frame(around, column.distance * rng.uniform(0.3, 0.6), column.cap, rng))
        if margin is not None:
            for _ in range(int(rng.integers(1, 4))):
                lines = int(rng.integers(1, 6))
                if margin.top + lines * margin.distance > margin.bottom:
                    break
                reach = _block(page, replace(plan, dashes=False), margin, hand, words, lines, rng)
                margin = replace(margin, top=reach + margin.distance * rng.uniform(1, 5))
    if plan.signature and end + column.distance < column.bottom:
        width = min(column.cap * rng.uniform(5, 11), 0.8 * (column.right - column.left))
        left = rng.uniform(column.left, column.right - width)
        page.others.append(signature(left, end - 0.3 * column.distance, width, column.cap, rng))
    return page


def _column(page: Layout, plan: PagePlan, column: Area, hand: Hand, words: Words, rng: np.random.Generator) -> float:
    """Write paragraphs from the top of the column on; the y where they end."""
    y, left_over = column.top, plan.lines
    space = float(rng.random() < 0.4)  # an empty line between paragraphs
    if rng.random() < 0.3:  # a date or a place, at the right
        left_over -= _block(page, plan, replace(column, top=y), hand, words, 1, rng, align="right") > y
        y += column.distance * (1 + space)
    if rng.random() < 0.25:  # a title
        left_over -= _block(page, plan, replace(column, top=y), hand, words, 1, rng, align="centre") > y
        y += column.distance * (1 + space)
    indent = rng.choice([0.0, rng.uniform(0.5, 3)]) * column.distance
    while left_over > 0 and y <= column.bottom:
        lines = min(int(rng.integers(1, 11)), left_over)
        y = _block(page, plan, replace(column, top=y), hand, words, lines, rng, indent=indent)
        left_over -= lines
        y += column.distance * space
    return y


def _block(
    page: Layout,
    plan: PagePlan,
    area: Area,
    hand: Hand,
    words: Words,
    lines: int,
    rng: np.random.Generator,
    indent: float = 0.0,
    align: str = "left",
) -> float:
    """Write a paragraph. Its last line is short.

    Returns:
        y of the next line.
    """
    y = area.top
    drift = rng.normal(0, 0.05) * area.distance  # change of the left margin from line to line
    for i in range(lines):
        if y > area.bottom:
            break
        left = area.left + (indent if i == 0 else 0.0) + abs(drift) * i + abs(rng.normal(0, 0.08)) * area.distance
        last = i == lines - 1
        room = (area.right - left) * (rng.uniform(0.25, 1) if last or align != "left" else 1)
        texts = _words_for(room / area.cap, hand, words, rng)
        length = width_of(hand, " ".join(texts)) * area.cap
        if align == "right":
            left = max(left, area.right - length * 1.05)
        elif align == "centre":
            left = max(left, (area.left + area.right - length) / 2)
        line, right = _line(plan, area, hand, texts, left, y + rng.normal(0, plan.unrest) * area.distance, rng)
        page.lines.append(line)
        if rng.random() < (_UNDERLINED_TITLES if align == "centre" else _UNDERLINED):
            page.others.append(underline(line.baseline, area.cap, rng))
        if plan.dashes and last and align == "left" and right < area.right - area.cap and rng.random() < _DASHED_LINES:
            start, end = right + area.cap * rng.uniform(0.3, 1), area.right - area.cap * rng.uniform(0, 0.5)
            height = line.baseline[-1, 1] - area.cap * rng.uniform(0.1, 0.4)
            page.others.append(dashes(start, height, max(end, start + 0.3 * area.cap), area.cap, rng))
        y += area.distance
    return y


def _words_for(room: float, hand: Hand, words: Words, rng: np.random.Generator) -> list[str]:
    """As many words as there is room for, in cap heights; at least a part of one."""
    texts: list[str] = []
    used, space = 0.0, width_of(hand, " ")
    while True:
        word = words.take()
        width = width_of(hand, word) + (space if texts else 0.0)
        if used + width <= room:
            texts.append(word)
            used += width
            continue
        part = len(word) // 2
        divided = len(word) > 5 and word.isalpha() and rng.random() < _HYPHENS
        if divided and used + width_of(hand, word[:part] + "-") + space <= room:
            texts.append(word[:part] + "-")
            words.put_back(word[part:])
        elif not texts:  # one long word: as much of it as fits
            fitting = [n for n in range(1, len(word) + 1) if width_of(hand, word[:n]) <= room]
            texts.append(word[: max(fitting, default=1)])
        else:
            words.put_back(word)
        return texts


def _line(
    plan: PagePlan,
    area: Area,
    hand: Hand,
    texts: list[str],
    left: float,
    y: float,
    rng: np.random.Generator,
) -> tuple[Written, float]:
    """Write one line, and strike out some of its words; also the right end of the line."""
    slope = plan.slope + rng.normal(0, 0.15 * plan.unrest)
    wave, length, phase = area.cap * rng.uniform(0, 0.12), area.cap * rng.uniform(12, 40), rng.uniform(0, 2 * np.pi)

    def height_of(x: np.ndarray) -> np.ndarray:
        return y + slope * (x - left) + wave * np.sin((x - left) / length * 2 * np.pi + phase)

    strokes, ends_L2 = write(hand, " ".join(texts), area.cap, left, height_of, rng)
    parts, first, marked = [strokes], 0, list(texts)
    for i, text in enumerate(texts):
        if plan.struck_out and rng.random() < _STRUCK_WORDS:
            parts += strike(ends_L2[first, 0], ends_L2[first + len(text) - 1, 1], area.cap, height_of, rng)
            marked[i] = f">{text}<"
        first += len(text) + 1
    joined = Strokes.joined(parts)
    across = strokes.xy_LP2[..., 0]
    x = np.linspace(across.min(), across.max(), 3 + len(strokes.xy_LP2) // 4)
    baseline = np.stack([x, height_of(x)], axis=1)
    return Written(text=" ".join(marked), strokes=joined, baseline=baseline, cap=area.cap), float(x[-1])
