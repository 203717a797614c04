"""`ink_pages`: drawn pages of handwriting, with the text, the outline and the baseline of each line.

Page i of a split, its writer and its text depend only on i and the configuration. No writer and no sentence is in two
splits. The outlines and baselines go through the same distortion as the ink, so they are exact.

The lines are in reading order: the left column, then the notes in the margin beside it, then the right column, then the
notes beside that.

What is a line, and what is not, is as in real collections: a printed heading, a stamp, dashes that fill a line, a frame
around the text, a signature that nobody can read, and writing on the back of the sheet are no lines. A word that is
struck out is part of its line's text, between `>` and `<`.
"""

# H height, W width; points are (x, y) in pixels of the picture, from its upper left corner

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from common.data.ink_hand import Hand, Strokes, ink
from common.data.ink_layout import Words, Written, draw_plan, fill
from common.data.ink_paper import blank, draw_paper, print_heading, print_stamp, seen_from_behind, wear
from common.data.ink_photo import draw_photo, take
from common.data.xml_pages import Points, TextLine

HEIGHT = 1100
"""Of a picture, pixels, for a page of the default size."""
_LINES = (12, 36)  # fewest and most lines for which a column of that height has room
_FEWEST_LINES = (5, 8)  # the same of a small picture


def drawn_page(
    rng: np.random.Generator, hand: Hand, words: Sequence[str], height: int = HEIGHT
) -> tuple[UInt8[np.ndarray, "H W"], list[TextLine]]:
    """Draw a page, and take a picture of it.

    Args:
        rng: source of the random numbers.
        hand: the writer.
        words: the text, from which consecutive words are taken.
        height: height of the picture, pixels. A small picture has fewer lines. The width is half the height to 1.3 of
            it, usually 0.7.

    Returns:
        The picture, dark ink on light paper, and its lines in reading order.
    """
    size = (height, int(height * _proportion(rng)))
    text = Words(words, rng)
    fewest, most = (max(least, round(n * height / HEIGHT)) for n, least in zip(_LINES, _FEWEST_LINES, strict=True))
    plan = draw_plan(size, (fewest, most), rng)
    column = plan.columns[0]
    paper = draw_paper(size, column.top, column.distance, rng)
    page = fill(plan, hand, text, rng)
    cap = column.cap
    strokes = Strokes.joined([line.strokes for line in page.lines] + page.others)
    ink_HW = ink(strokes, size, cap, hand.half_pen * cap, hand.softness)

    page_HW = blank(paper, size, rng)
    if paper.show_through:
        page_HW *= 1 - np.float32(paper.show_through) * seen_from_behind(ink_HW, column.distance, rng)
    if paper.heading:
        room = max(column.top - column.distance, 0.03 * height)
        printed_HW, darkness = print_heading(size, room, column.left, [text.take() for _ in range(40)], rng)
        page_HW *= 1 - np.float32(darkness) * printed_HW
    if paper.stamp:
        page_HW *= 1 - print_stamp(size, [text.take() for _ in range(4)], rng)
    page_HW *= 1 - np.float32(rng.uniform(0.45, 0.95)) * ink_HW
    wear(paper, page_HW, rng)

    outlines = [_outline(line, hand.half_pen * line.cap + hand.softness / 2) for line in page.lines]
    photo = draw_photo(size, np.concatenate(outlines), rng)
    picture_HW = take(photo, page_HW, rng)
    return picture_HW, [
        TextLine(
            number=number,
            text=line.text,
            outline=photo.distortion.forward(outline),
            baseline=photo.distortion.forward(line.baseline),
        )
        for number, (line, outline) in enumerate(zip(page.lines, outlines, strict=True), start=1)
    ]


def _proportion(rng: np.random.Generator) -> float:
    """Width divided by height: usually that of a sheet of paper, sometimes a narrow one or one that lies across."""
    kind = rng.random()
    if kind < 0.8:
        return rng.uniform(0.66, 0.8)
    return rng.uniform(0.5, 0.66) if kind < 0.92 else rng.uniform(0.9, 1.3)


def _outline(line: Written, pen: float) -> Points:
    """A polygon around all ink of a line, on the paper: upper edge from left to right, lower edge back."""
    x, y = line.strokes.xy_LP2.reshape(-1, 2).T
    left, right = x.min() - pen, x.max() + pen
    bins = max(2, int((right - left) / (1.2 * line.cap)))
    edges = np.linspace(left, right, bins + 1)
    base = np.interp(edges, line.baseline[:, 0], line.baseline[:, 1])
    at = np.clip(((x - left) / (right - left) * bins).astype(int), 0, bins - 1)
    offset = y - np.interp(x, line.baseline[:, 0], line.baseline[:, 1])
    # at least the small letters' height, even over a gap between words
    above, below = np.full(bins, -0.6 * line.cap), np.full(bins, 0.12 * line.cap)
    np.minimum.at(above, at, offset - pen)
    np.maximum.at(below, at, offset + pen)
    # a corner between two bins has to contain both
    upper = base + np.minimum(np.append(above, above[-1]), np.append(above[0], above))
    lower = base + np.maximum(np.append(below, below[-1]), np.append(below[0], below))
    return np.concatenate([np.stack([edges, upper], axis=1), np.stack([edges, lower], axis=1)[::-1]])
