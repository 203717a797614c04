"""The lines of a page that a person corrected: checked, brought to whole pixels, and completed with outlines."""

# H height, W width; a point is (x, y) in pixels of the picture, from its upper left corner

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from common.data.dataset import Refused
from common.data.page_files import checked_lines
from common.data.text import normalised
from common.data.xml_pages import Page, Points, TextLine
from common.errors import UserError
from common.reading.page import MAX_LINES, PageLine
from common.spec import UNetSpec

MAX_CHARACTERS = 2000
"""Characters of the longest text of a line. A line of a newspaper across two pages has about 300."""
MAX_POINTS = 4000
"""Points of the longest baseline or outline. The finder's outlines have about 100."""
NO_CONFIDENCE = math.nan
"""The confidence of a line that a person wrote: a person's text has no probability."""
_FIELDS = {"text", "baseline", "outline", "confidence", "characters"}  # the last two come back as they were sent
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEAST_LENGTH = 2.0  # pixels of a baseline from left to right
_OUTSIDE = 1.5  # pixels that a point may lie outside the picture, by rounding
_LINES_OF_PAGE = 25  # a page with one line only: its line distance is guessed as this part of the height

Picture = UInt8[np.ndarray, "H W"]


def read_lines(given: Any, size: tuple[int, int], picture: Callable[[], Picture]) -> tuple[PageLine, ...]:
    """The lines that a client sent.

    Args:
        given: a list of objects with `text`, `baseline` and `outline`, each a list of [x, y]. A line without an outline
            gets one around its baseline. A line without a baseline needs an outline.
        size: width and height of the picture, pixels.
        picture: loads the picture. It is called only if a line needs an outline.

    Returns:
        The lines in the order given: texts normalised, places in whole pixels inside the picture, baselines from left
        to right.

    Raises:
        UserError: a line that cannot be used. The message has its number, from 1.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UserError(f"`lines` is {type(given).__name__}; expected a list of lines")
    if len(given) > MAX_LINES:
        raise UserError(f"the page has {len(given):,} lines; at most {MAX_LINES:,} are kept, so remove some")
    lines = [_line(f"line {number}", each, size) for number, each in enumerate(given, start=1)]
    if any(not len(line.outline) for line in lines):
        lines = _with_outlines(lines, picture())
    _check_places(lines, size)
    return tuple(lines)


def _line(name: str, given: Any, size: tuple[int, int]) -> PageLine:
    if not isinstance(given, Mapping):
        raise UserError(f"{name} is {type(given).__name__}; expected an object with text, baseline and outline")
    if unknown := sorted(given.keys() - _FIELDS):
        raise UserError(f"{name} has an unknown field {str(unknown[0])[:40]!r}; expected text, baseline and outline")
    text = given.get("text", "")
    if not isinstance(text, str):
        raise UserError(f"{name}: its text is {type(text).__name__}; expected a string")
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{name}: its text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are kept")
    if found := _FORBIDDEN.search(text):
        raise UserError(
            f"{name}: its text has the control character U+{ord(found[0]):04X}, which XML cannot hold; remove it"
        )
    baseline = _points(name, "baseline", given.get("baseline"), size)
    outline = _points(name, "outline", given.get("outline"), size)
    if len(baseline):
        baseline = _from_left_to_right(name, baseline)
    elif not len(outline):
        raise UserError(f"{name} has neither baseline nor outline; draw its baseline")
    return place(normalised(text), baseline, outline)


def place(text: str, baseline: Points, outline: Points) -> PageLine:
    """A line of a person: without confidences."""
    return PageLine(text=text, confidence=NO_CONFIDENCE, characters=(), baseline=baseline, outline=outline)


def _points(name: str, what: str, given: Any, size: tuple[int, int]) -> Points:
    """Points in whole pixels inside the picture."""
    if given is None:
        return np.zeros((0, 2))
    expected = f"{name}: its {what} is not a list of points; expected [[x, y], ...] in pixels of the picture"
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UserError(expected)
    if len(given) > MAX_POINTS:
        raise UserError(f"{name}: its {what} has {len(given):,} points; at most {MAX_POINTS:,} are kept")
    if not given:
        return np.zeros((0, 2))
    for point in given:
        if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
            raise UserError(expected)
        for each in point:
            if isinstance(each, bool) or not isinstance(each, int | float) or not abs(each) < 1e9:
                raise UserError(expected)
    points = np.array(given, np.float64)
    limit = np.array(size)
    outside = (points < -_OUTSIDE) | (points > limit - 1 + _OUTSIDE)
    if outside.any():
        x, y = points[outside.any(axis=1)][0]
        raise UserError(
            f"{name}: its {what} has a point outside the {size[0]}×{size[1]} picture ({x:g}, {y:g}); move it inside"
        )
    whole: Points = np.clip(np.rint(points), 0, limit - 1)
    return whole


def _from_left_to_right(name: str, baseline: Points) -> Points:
    """The baseline with rising x: points that go back are left out."""
    if baseline[-1, 0] < baseline[0, 0]:
        baseline = baseline[::-1]
    furthest = np.maximum.accumulate(np.concatenate([[-1.0], baseline[:-1, 0]]))
    rising = baseline[baseline[:, 0] > furthest]
    if len(rising) < 2 or np.ptp(rising[:, 0]) < _LEAST_LENGTH:
        raise UserError(
            f"{name}: its baseline does not run from left to right; draw it under the letters, at least "
            f"{_LEAST_LENGTH:g} pixels long"
        )
    return rising


# --- outlines
def _with_outlines(lines: Sequence[PageLine], picture_HW: Picture) -> list[PageLine]:
    """The lines, with an outline around the baseline of each that has none."""
    from common.data.page_image import page_image  # imports Pillow
    from common.reading.outlines import outlines

    image_HW, scale = page_image(picture_HW, UNetSpec().side)
    marked = [i for i, line in enumerate(lines) if len(line.baseline)]
    baselines = [lines[i].baseline * scale for i in marked]
    found = outlines(baselines, image_HW, line_distance(baselines, len(image_HW)))
    height, width = picture_HW.shape
    completed = list(lines)
    for i, outline in zip(marked, found, strict=True):
        if not len(lines[i].outline):
            whole = np.clip(np.rint(outline / scale), 0, (width - 1, height - 1))
            completed[i] = place(lines[i].text, lines[i].baseline, whole)
    return completed


def line_distance(baselines: Sequence[Points], height: int) -> float:
    """The median distance from the middle of a baseline down to the next one, pixels.

    Args:
        baselines: from left to right, in pixels of the page image.
        height: of the page image. A page whose lines have no neighbours says nothing else about their distance.
    """
    steps = []
    for i, baseline in enumerate(baselines):
        x = baseline[:, 0].mean()
        own = np.interp(x, *baseline.T)
        below = [
            np.interp(x, *other.T) - own
            for j, other in enumerate(baselines)
            if j != i and other[0, 0] <= x <= other[-1, 0]
        ]
        steps += [min(each for each in below if each > 0)] if any(each > 0 for each in below) else []
    return float(np.clip(np.median(steps), 4.0, height / 2)) if steps else max(4.0, height / _LINES_OF_PAGE)


def _check_places(lines: Sequence[PageLine], size: tuple[int, int]) -> None:
    """Refuse a line that training would refuse for its place.

    Raises:
        UserError: the line's outline is empty or crosses itself.
    """
    rows = tuple(
        TextLine(number=number, text=line.text, outline=line.outline, baseline=line.baseline)
        for number, line in enumerate(lines, start=1)
    )
    for number, checked in enumerate(checked_lines("", Page(image_name="", size=size, lines=rows), size), start=1):
        if isinstance(checked, Refused):
            raise UserError(f"line {number} {checked.reason}; draw its baseline again")
