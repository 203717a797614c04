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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from common.charset import Charset
from common.data.ink_hand import Hand, Strokes, draw_hand, ink
from common.data.ink_layout import Words, Written, draw_plan, fill
from common.data.ink_paper import PaperPlan, blank, draw_paper, print_heading, print_stamp, seen_from_behind, wear
from common.data.ink_photo import PhotoPlan, draw_photo, take
from common.data.page_dataset import LazyImages, PageDataset, PageSplit, Picture, page_split
from common.data.page_image import page_scale
from common.data.prose import Part, words, words_of_file
from common.data.xml_pages import Points, TextLine

TRAIN_PAGES, VALIDATION_PAGES, TEST_PAGES = 600, 40, 80
PAGES_PER_WRITER = 4
HEIGHT = 1100
"""Of a picture, pixels, for page images of the default size."""
_PER_SIDE = HEIGHT / 672  # height of a picture for each pixel of `UNetSpec.side`
_LINES = (12, 36)  # fewest and most lines for which a column of that height has room
_FEWEST_LINES = (5, 8)  # the same of a small picture
_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Everything that is on a page, before its pixels are drawn. Lengths are in pixels of the paper."""

    size: tuple[int, int]
    """Height and width of the picture, and of the paper."""
    lines: tuple[TextLine, ...]
    """In reading order; points in pixels of the picture."""
    strokes: Strokes
    """All that a pen wrote."""
    cap: float
    """Cap height."""
    distance: float
    """Distance between lines."""
    left: float
    """x where the lines start."""
    half_pen: float
    softness: float
    darkness: float
    """Of the ink, from 0 (none) to 1 (black)."""
    paper: PaperPlan
    photo: PhotoPlan
    printed: tuple[str, ...]
    """Words for what is printed."""
    heading_room: float
    """y above which a printed heading has to end."""
    seed: int
    """Of the pixels: grain, noise and light."""


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
    page = sketch(rng, hand, words, height)
    return paint(page), list(page.lines)


def sketch(rng: np.random.Generator, hand: Hand, words: Sequence[str], height: int) -> Sketch:
    """Decide what is on a page, and where. It takes a tenth of the time that drawing the pixels takes.

    The arguments are those of `drawn_page`.
    """
    size = _size(height, rng)  # first: `_split` draws it alone
    text = Words(words, rng)
    fewest, most = (max(least, round(n * height / HEIGHT)) for n, least in zip(_LINES, _FEWEST_LINES, strict=True))
    plan = draw_plan(size, (fewest, most), rng)
    column = plan.columns[0]
    paper = draw_paper(size, column.top, column.distance, rng)
    page = fill(plan, hand, text, rng)
    outlines = [_outline(line, hand.half_pen * line.cap + hand.softness / 2) for line in page.lines]
    photo = draw_photo(size, np.concatenate(outlines), rng)
    lines = [
        TextLine(
            number=number,
            text=line.text,
            outline=photo.distortion.forward(outline),
            baseline=photo.distortion.forward(line.baseline),
        )
        for number, (line, outline) in enumerate(zip(page.lines, outlines, strict=True), start=1)
    ]
    return Sketch(
        size=size,
        lines=tuple(lines),
        strokes=Strokes.joined([line.strokes for line in page.lines] + page.others),
        cap=column.cap,
        distance=column.distance,
        left=column.left,
        half_pen=hand.half_pen * column.cap,
        softness=hand.softness,
        darkness=rng.uniform(0.45, 0.95),
        paper=paper,
        photo=photo,
        printed=tuple(text.take() for _ in range(40)),
        heading_room=max(column.top - column.distance, 0.03 * height),
        seed=int(rng.integers(1 << 62)),
    )


def paint(page: Sketch) -> UInt8[np.ndarray, "H W"]:
    """Draw the pixels of a page, and take a picture of it."""
    rng = np.random.default_rng(page.seed)
    ink_HW = ink(page.strokes, page.size, page.cap, page.half_pen, page.softness)
    page_HW = blank(page.paper, page.size, rng)
    if page.paper.show_through:
        page_HW *= 1 - np.float32(page.paper.show_through) * seen_from_behind(ink_HW, page.distance, rng)
    if page.paper.heading:
        page_HW *= 1 - print_heading(page.size, page.heading_room, page.left, page.printed, rng)
    if page.paper.stamp:
        page_HW *= 1 - print_stamp(page.size, page.printed[-4:], rng)
    page_HW *= 1 - np.float32(page.darkness) * ink_HW
    wear(page.paper, page_HW, rng)
    return take(page.photo, page_HW, rng)


def _size(height: int, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width: usually those of a sheet of paper, sometimes of a narrow one or one that lies across."""
    kind = rng.random()
    if kind < 0.8:
        proportion = rng.uniform(0.66, 0.8)
    else:
        proportion = rng.uniform(0.5, 0.66) if kind < 0.92 else rng.uniform(0.9, 1.3)
    return height, int(height * proportion)


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


def load(examples: int, *, side: int, text: Path | None = None) -> PageDataset:
    """The data set. Its pictures are drawn when they are needed. The validation and test pages are always the same.

    Args:
        examples: number of training pages; 0 means 600.
        side: size of the page images, see `UNetSpec.side`. The height of the pictures is in proportion to it: 1,100
            pixels for the default, 320 for 196.
        text: a text file, UTF-8, whose sentences are written; None for English prose.

    Raises:
        UserError: the text cannot be used, see `words_of_file`.
    """
    return PageDataset(
        name="ink_pages",
        charset=Charset(()),  # a finder reads no text
        train=_split("train", examples or TRAIN_PAGES, side, text),
        validation=_split("validation", VALIDATION_PAGES, side, text),
        test=_split("test", TEST_PAGES, side, text),
    )


class _Lines(Sequence[tuple[TextLine, ...]]):
    """The lines of each page, which are laid out when they are first needed."""

    def __init__(self, count: int, page: Callable[[int], Sketch]) -> None:
        self._count, self._page = count, page
        self._known: dict[int, tuple[TextLine, ...]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[TextLine, ...]:  # type: ignore[override]  # no slices
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index not in self._known:
            self._known[index] = self._page(index).lines
        return self._known[index]


def _split(part: Part, count: int, side: int, text: Path | None) -> PageSplit:
    prose = words(part) if text is None else words_of_file(text, part)
    height = round(side * _PER_SIDE)

    def seeded(index: int) -> np.random.Generator:
        return np.random.default_rng([_SEEDS[part], index // PAGES_PER_WRITER, index % PAGES_PER_WRITER])

    def page(index: int) -> Sketch:
        hand = draw_hand(np.random.default_rng([_SEEDS[part], index // PAGES_PER_WRITER]))
        return sketch(seeded(index), hand, prose, height)

    def maker(index: int) -> Callable[[], Picture]:
        return lambda: paint(page(index))  # sketched again: the strokes of all pages would take much memory

    sizes = [_size(height, seeded(index)) for index in range(count)]
    return page_split(
        pictures=LazyImages([maker(i) for i in range(count)], keep=False),
        side=side,
        scales=[page_scale(size[::-1], side) for size in sizes],
        lines=_Lines(count, page),
        names=[f"page {i % PAGES_PER_WRITER + 1} of {part} writer {i // PAGES_PER_WRITER + 1}" for i in range(count)],
        writers_N=np.arange(count) // PAGES_PER_WRITER,
    )
