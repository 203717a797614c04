"""A page's reader: the lines of a page are found, cut, read, and kept with their places."""

# H height, W width; a point is (x, y) in pixels of the picture, from its upper left corner

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from jaxtyping import UInt8

from common.charset import Charset
from common.data.line_batches import line_batch
from common.data.lines import Image
from common.data.xml_pages import Points
from common.errors import UserError
from common.reading.lines import LineReading, read_batch, spec_of
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer

Kind = Literal["page", "line", "character"]
"""What a picture shows."""
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_LINES = 1000
"""Lines of the fullest page that is read. A page of a newspaper has fewer."""
BATCH_SIZE = 8
_COLUMNS = 2  # heights of a line: the width of a batch is a multiple of it


class Found(Protocol):
    """A line that was found on a page; see `common.reading.finding.FoundLine`."""

    @property
    def baseline(self) -> Points:
        """Polyline under its letters, from left to right."""

    @property
    def outline(self) -> Points:
        """Polygon around its ink."""


class CutLine(NamedTuple):
    """A line that was cut out of a page."""

    image_HW: Image
    """Level, ink 255 on paper 0."""
    outline: Points
    baseline: Points


class ReadCharacter(NamedTuple):
    """A character of a line."""

    text: str
    confidence: float
    """Its probability, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class PageLine:
    """The text of one line of a page, and its place."""

    text: str
    confidence: float
    """Mean probability of its characters, 0 to 1."""
    characters: tuple[ReadCharacter, ...]
    baseline: Points
    """Polyline under its letters, from left to right, whole pixels; empty if the line was not found on a page."""
    outline: Points
    """Polygon around its ink, whole pixels."""


@dataclass(frozen=True, kw_only=True)
class PageReading:
    """What was read from one picture: a page with its lines, or a picture of one line or of one character."""

    size: tuple[int, int]
    """(width, height) of the picture, pixels."""
    lines: tuple[PageLine, ...]
    """In reading order."""
    confidence: float
    """A page: mean probability of its characters. A line or a character: the probability of its text."""
    kind: Kind = "page"
    """What the picture was taken for."""
    upside_down: bool = False
    """Whether the page was turned by 180° to be read. The places are those of the picture as it came."""

    @property
    def text(self) -> str:
        """The text, one line per line of the page."""
        return "\n".join(line.text for line in self.lines)


def read_page(
    finder: Recognizer,
    recognizer: Recognizer,
    charset: Charset,
    picture_HW: UInt8[np.ndarray, "H W"],
    search: Search = BEST_PATH,
) -> PageReading:
    """Find the lines of a page and read them.

    Args:
        finder: a trained `unet`.
        recognizer: a model that reads lines.
        charset: the characters of `recognizer`.
        picture_HW: grey levels, dark ink on light paper.
        search: turns CTC's scores into text.

    Returns:
        The lines that have text, in reading order; none if the page has no writing.

    Raises:
        UserError: more than `MAX_LINES` lines were found.
    """
    from common.reading.finding import find_lines  # imports SciPy

    return read_found(find_lines(finder, picture_HW), recognizer, charset, picture_HW, search)


def read_found(
    found: Sequence[Found],
    recognizer: Recognizer,
    charset: Charset,
    picture_HW: UInt8[np.ndarray, "H W"],
    search: Search = BEST_PATH,
) -> PageReading:
    """Read lines that were found already; see `read_page`."""
    cut = cut_lines(found, picture_HW, spec_of(recognizer).height)
    return read_cut(cut, picture_HW, recognizer, charset, search)


def cut_lines(found: Sequence[Found], picture_HW: UInt8[np.ndarray, "H W"], height: int) -> list[CutLine]:
    """Cut lines out of a page, as training pages are cut. Lines without ink are left out.

    Raises:
        UserError: more than `MAX_LINES` lines.
    """
    from common.data.pages import cut_line, page_darkness  # imports Pillow

    if len(found) > MAX_LINES:
        raise UserError(
            f"the picture seems to have {len(found):,} lines of text; at most {MAX_LINES:,} are read, so cut it in "
            "parts"
        )
    if not found:
        return []
    tall, wide = picture_HW.shape
    dark_HW = page_darkness(picture_HW)
    cut = []
    for line in found:
        # whole pixels before cutting: a line that a file describes in whole pixels is then cut alike
        outline, baseline = (_whole(points, wide, tall) for points in (line.outline, line.baseline))
        image_HW = cut_line(dark_HW, outline, baseline, height)
        if image_HW is not None:
            cut.append(CutLine(image_HW, outline, baseline))
    return cut


def read_cut(
    cut: Sequence[CutLine],
    picture_HW: UInt8[np.ndarray, "H W"],
    recognizer: Recognizer,
    charset: Charset,
    search: Search = BEST_PATH,
) -> PageReading:
    """Read lines that were cut out of a page. Lines without text are left out."""
    return page_of_lines(cut, read_images(recognizer, charset, [line.image_HW for line in cut], search), picture_HW)


def page_of_lines(
    cut: Sequence[CutLine], readings: Sequence[LineReading], picture_HW: UInt8[np.ndarray, "H W"]
) -> PageReading:
    """The reading of a page from the readings of its lines. Lines without text are left out."""
    lines = [
        page_line(reading.text, reading.character_confidences, line.outline, line.baseline)
        for reading, line in zip(readings, cut, strict=True)
        if reading.text.strip()
    ]
    height, width = picture_HW.shape
    return PageReading(size=(width, height), lines=tuple(lines), confidence=mean_confidence(lines))


def read_images(
    recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
) -> list[LineReading]:
    """Read the lines of one page, the widest first, in batches of few different shapes.

    Some frameworks compile once per shape. The width of a batch is therefore a multiple of two heights. Its number of
    lines is a power of two: the last batch, of the narrowest lines, is filled up with copies.
    """
    order = sorted(range(len(images)), key=lambda i: -images[i].shape[1])
    readings: dict[int, LineReading] = {}
    step = _COLUMNS * spec_of(recognizer).height
    nothing = np.zeros(0, np.int32)
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        filled = chosen + chosen[-1:] * ((1 << (len(chosen) - 1).bit_length()) - len(chosen))
        width = -(-images[chosen[0]].shape[1] // step) * step
        batch = line_batch([images[i] for i in filled], [nothing] * len(filled), width)
        readings |= zip(chosen, read_batch(recognizer, charset, batch, search), strict=False)  # not the copies
    return [readings[i] for i in range(len(images))]


def page_line(text: str, confidences: Iterable[float], outline: Points, baseline: Points) -> PageLine:
    """A line with its place, with one space between words and none at the ends, as files keep it."""
    characters: list[ReadCharacter] = []
    for each in (ReadCharacter(*pair) for pair in zip(text, confidences, strict=True)):
        if not each.text.isspace() or (characters and not characters[-1].text.isspace()):
            characters.append(each)
    if characters and characters[-1].text.isspace():
        characters.pop()
    return PageLine(
        text="".join(each.text for each in characters),
        confidence=float(np.mean([each.confidence for each in characters])) if characters else 0.0,
        characters=tuple(characters),
        baseline=baseline,
        outline=outline,
    )


def whole_outline(picture_HW: UInt8[np.ndarray, "H W"]) -> Points:
    """The outline of a whole picture."""
    right, bottom = picture_HW.shape[1] - 1, picture_HW.shape[0] - 1
    return np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)], np.float64)


def whole_picture(reading: Reading | LineReading, picture_HW: UInt8[np.ndarray, "H W"], kind: Kind) -> PageReading:
    """The reading of a picture of one line or one character, in the form of a page's reading."""
    height, width = picture_HW.shape
    confidences = reading.character_confidences or (reading.confidence,) * len(reading.text)
    line = page_line(reading.text, confidences, whole_outline(picture_HW), np.zeros((0, 2)))
    return PageReading(size=(width, height), lines=(line,), confidence=reading.confidence, kind=kind)


def mean_confidence(lines: Iterable[PageLine]) -> float:
    """Mean probability of the characters of lines, 0 to 1; 0 if there is none."""
    confidences = [each.confidence for line in lines for each in line.characters]
    return float(np.mean(confidences)) if confidences else 0.0


def _whole(points: Points, width: int, height: int) -> Points:
    """The points rounded to pixels of the picture."""
    return np.clip(np.rint(points), 0, (width - 1, height - 1))
