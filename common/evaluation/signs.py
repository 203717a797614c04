"""Signs: what can be measured of a picture and of its lines without knowing the true text.

A profile keeps the signs of a validation split, and drift is a change of their distributions, see
`common.evaluation.profile`. Signs are plain numbers. No image and no text can be restored from them: of a text, only
the numbers of its characters are kept, and these only added up over a page.
"""

# H height, W width, P points of a polygon, R runs of pixels

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8

from common.data.xml_pages import Points
from common.errors import UserError
from common.reading.page import CutLine, Kind, PageLine, PageReading

Level = Literal["page", "line"]

_LOOKED_AT = 250_000  # pixels of a picture that are enough for its brightness
_DARKEST = 2  # percentile of the grey levels that is ink
_FEWEST = 8  # characters that a line needs for a mean width, and separate letters for a share of twins
_INK = 100  # of 255: a pixel of a normalised line that is part of a letter
# parts of the height of a line: the least height and width of a separate letter. Dots and specks are smaller
_LEAST_HEIGHT, _LEAST_WIDTH = 0.22, 0.08
_WIDEST = 3.0  # heights of the widest separate letter. Joined letters are wider
_SIDE = 12  # pixels to which letters are scaled before they are compared
_ALIKE = 0.9  # correlation of two letters that look alike
_SAME_SIZE = 0.15  # largest difference of the logarithms of their heights, and of their widths


@dataclass(frozen=True, kw_only=True)
class LineSigns:
    """The signs of one line."""

    confidence: float
    """Mean probability of its characters, 0 to 1, before any calibration."""
    characters: int
    """Characters that were read."""
    columns: float | None
    """Columns of the normalised line per character; None for a line of fewer than `_FEWEST` characters."""
    ink: float
    """Mean ink of the normalised line: 0 is paper, 1 is ink everywhere."""
    sharpness: float
    """Share of the line's contrast between neighbouring columns that a blur takes away, 0 to 1."""
    twins: float | None
    """Share of the separate letters that look like another one of the line: near 0 for handwriting, and near 1 for
    print. None for a line with fewer than `_FEWEST` separate letters."""
    height: float | None = None
    """Mean height of its outline, pixels of the picture; None if the picture shows the line alone."""


@dataclass(frozen=True, kw_only=True)
class PageSigns:
    """The signs of one picture."""

    brightness: float | None
    """Median grey level, 0 black to 1 white: the level of the paper; None for a line whose picture is not known."""
    contrast: float | None
    """Grey levels from the ink to the paper, 0 to 1; None for a line whose picture is not known."""
    lines: tuple[LineSigns, ...]
    """One for each line that was read."""
    characters: Mapping[str, int]
    """How often each character was read, over all lines."""
    kind: Kind = "page"
    """What the picture was taken for."""
    upside_down: bool = False
    """Whether the page was turned by 180° to be read."""
    empty: bool = False
    """Whether the picture was refused, because no writing was found."""

    def as_json(self) -> dict[str, Any]:
        """The signs for JSON, with four significant digits."""
        page = asdict(self)
        return _shortened({**page, "characters": dict(sorted(self.characters.items()))})

    @classmethod
    def from_json(cls, content: Any) -> PageSigns:
        """The signs of `as_json`.

        Raises:
            UserError: it has another form.
        """
        try:
            lines = tuple(LineSigns(**line) for line in content["lines"])
            return cls(**{**content, "lines": lines, "characters": dict(content["characters"])})
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise UserError(f"these are no signs of a picture ({error}); expected what the service logs") from None


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A number that is measured of each page or of each line."""

    title: str
    """Its name for a person."""
    unit: str
    level: Level
    values: Callable[[PageSigns], Sequence[float | None]]
    """Its values of one page: one if the level is page, one per line otherwise. None where it cannot be measured."""


def _of_lines(name: str) -> Callable[[PageSigns], list[float | None]]:
    return lambda page: [getattr(line, name) for line in page.lines]


def _of_page(name: str) -> Callable[[PageSigns], list[float | None]]:
    return lambda page: [getattr(page, name)]


def _lines_of_page(page: PageSigns) -> list[float | None]:
    return [float(len(page.lines))] if page.kind == "page" and page.lines else []


SIGNS: dict[str, Sign] = {
    "confidence": Sign(title="confidence", unit="0 to 1", level="line", values=_of_lines("confidence")),
    "ink": Sign(title="ink density", unit="0 to 1", level="line", values=_of_lines("ink")),
    "sharpness": Sign(title="sharpness", unit="0 to 1", level="line", values=_of_lines("sharpness")),
    "twins": Sign(title="letters with a twin", unit="0 to 1", level="line", values=_of_lines("twins")),
    "height": Sign(title="line height", unit="pixels", level="line", values=_of_lines("height")),
    "columns": Sign(title="width per character", unit="columns", level="line", values=_of_lines("columns")),
    "characters": Sign(title="characters per line", unit="characters", level="line", values=_of_lines("characters")),
    "lines": Sign(title="lines per page", unit="lines", level="page", values=_lines_of_page),
    "brightness": Sign(title="brightness", unit="0 to 1", level="page", values=_of_page("brightness")),
    "contrast": Sign(title="contrast", unit="0 to 1", level="page", values=_of_page("contrast")),
}
"""Every sign that is a number, by its name in files and metrics."""
SHARES: dict[str, tuple[str, Callable[[PageSigns], bool]]] = {
    "empty": ("pictures without writing", lambda page: page.empty),
    "upside_down": ("pages upside down", lambda page: page.upside_down),
}
"""Every sign that a picture has or has not: its title, and whether a picture has it."""


def signs_of(
    picture_HW: UInt8[np.ndarray, "H W"], cut: Sequence[CutLine], reading: PageReading | None = None
) -> PageSigns:
    """The signs of a picture.

    Args:
        picture_HW: grey levels, as the picture was loaded.
        cut: the lines as they were cut out of the picture, or out of the picture turned by 180° if the reading says so.
            Lines that have no text are ignored. For a picture of one line, its prepared image alone.
        reading: what was read; None for a picture that was refused because no writing was found.
    """
    step = max(1, round((picture_HW.size / _LOOKED_AT) ** 0.5))
    darkest, paper = np.percentile(picture_HW[::step, ::step], (_DARKEST, 50)) / 255
    brightness, contrast = float(paper), float(max(0.0, paper - darkest))
    if reading is None:
        return PageSigns(brightness=brightness, contrast=contrast, lines=(), characters={}, empty=True)
    if reading.kind == "page":
        corner = np.array(reading.size) - 1
        image_of = {_key(corner - line.outline if reading.upside_down else line.outline): line for line in cut}
        images = [(line, found.image_HW) for line in reading.lines if (found := image_of.get(_key(line.outline)))]
    else:
        images = [(line, each.image_HW) for line, each in zip(reading.lines, cut, strict=False)]
    counts: Counter[str] = Counter()
    for line, _ in images:
        counts.update(line.text)
    return PageSigns(
        brightness=brightness,
        contrast=contrast,
        lines=tuple(line_signs(line, image_HW) for line, image_HW in images if line.text),
        characters=dict(counts),
        kind=reading.kind,
        upside_down=reading.upside_down,
    )


def line_signs(line: PageLine, image_HW: UInt8[np.ndarray, "H W"]) -> LineSigns:
    """The signs of a line that was read, and of its normalised image."""
    return image_signs(image_HW, len(line.text), line.confidence, _mean_height(line.outline, line.baseline))


def image_signs(
    image_HW: UInt8[np.ndarray, "H W"], characters: int, confidence: float, height: float | None = None
) -> LineSigns:
    """The signs of a normalised line.

    Args:
        image_HW: level, ink 255 on paper 0.
        characters: number of characters that were read, at least 1.
        confidence: mean probability of the characters.
        height: of the line in its picture, pixels; None if that is not known.
    """
    ink_HW = image_HW.astype(np.float32) / 255
    return LineSigns(
        confidence=confidence,
        characters=characters,
        columns=image_HW.shape[1] / characters if characters >= _FEWEST else None,
        ink=float(ink_HW.mean()),
        sharpness=_sharpness(ink_HW),
        twins=_twins(image_HW),
        height=height,
    )


def _sharpness(ink_HW: np.ndarray) -> float:
    """The share of the contrast between neighbouring columns that a blur over 5 columns takes away.

    A sharp edge loses much of its contrast, an edge that is blurred already loses little. The number depends neither on
    the darkness of the ink nor on its amount. Source: Crete et al. 2007, "The blur effect".
    """
    if ink_HW.shape[1] < 6:
        return 0.0
    before_HW = np.abs(np.diff(ink_HW, axis=1))
    sums_HW = np.cumsum(np.pad(ink_HW, ((0, 0), (3, 2)), mode="edge"), axis=1)
    blurred_HW = (sums_HW[:, 5:] - sums_HW[:, :-5]) / 5
    after_HW = np.abs(np.diff(blurred_HW, axis=1))
    total = float(before_HW.sum())
    return float(np.maximum(0, before_HW - after_HW).sum()) / total if total else 0.0


def _twins(image_HW: UInt8[np.ndarray, "H W"]) -> float | None:
    """The share of the separate letters that look like another one of the line; None if there are too few."""
    from PIL import Image

    height = len(image_HW)
    pictures, sizes = [], []
    for rows, starts, ends in connected(image_HW > _INK):
        top, left = int(rows.min()), int(starts.min())
        tall, wide = int(rows.max()) + 1 - top, int(ends.max()) - left
        if tall < _LEAST_HEIGHT * height or wide < _LEAST_WIDTH * height or wide > _WIDEST * tall:
            continue
        letter_HW = np.zeros((tall, wide), np.uint8)
        for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
            letter_HW[row - top, start - left : end - left] = image_HW[row, start:end]
        letter = Image.fromarray(letter_HW)
        pictures.append(np.asarray(letter.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64).ravel())
        sizes.append((tall, wide))
    if len(pictures) < _FEWEST:
        return None
    letters = np.array(pictures)
    letters -= letters.mean(axis=1, keepdims=True)
    letters /= np.maximum(np.linalg.norm(letters, axis=1, keepdims=True), 1e-9)
    logs = np.log(sizes)
    alike = letters @ letters.T > _ALIKE
    alike &= (np.abs(logs[:, None] - logs) < _SAME_SIZE).all(axis=2)
    np.fill_diagonal(alike, val=False)
    return float(alike.any(axis=1).mean())


Runs = tuple[Int[np.ndarray, "R"], Int[np.ndarray, "R"], Int[np.ndarray, "R"]]
"""Runs of neighbouring pixels: the row, the first column, and the column after the last one of each."""


def connected(is_ink_HW: Bool[np.ndarray, "H W"]) -> list[Runs]:
    """The pieces of ink that hang together, also by a corner.

    A process that reads starts without SciPy, whose `ndimage.label` finds the same pieces.
    """
    edges_HW = np.diff(np.pad(is_ink_HW, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row_R, start_R = np.nonzero(edges_HW == 1)
    end_R = np.nonzero(edges_HW == -1)[1]
    # runs of the row above that touch a run: their end is not before its start, and their start not after its end
    pitch = is_ink_HW.shape[1] + 2
    first_R = np.searchsorted(row_R * pitch + end_R, (row_R - 1) * pitch + start_R, side="left")
    last_R = np.searchsorted(row_R * pitch + start_R, (row_R - 1) * pitch + end_R, side="right")
    count_R = np.maximum(last_R - first_R, 0)
    below = np.repeat(np.arange(len(row_R)), count_R)
    above = np.repeat(first_R, count_R) + np.arange(len(below)) - np.repeat(np.cumsum(count_R) - count_R, count_R)
    name_R = np.arange(len(row_R))  # each piece gets the number of its first run
    while True:
        least = np.minimum(name_R[below], name_R[above])
        after_R = name_R.copy()
        np.minimum.at(after_R, below, least)
        np.minimum.at(after_R, above, least)
        after_R = after_R[after_R]
        if (after_R == name_R).all():
            break
        name_R = after_R
    order = np.argsort(name_R, kind="stable")
    borders = np.flatnonzero(np.diff(name_R[order])) + 1
    return [(row_R[own], start_R[own], end_R[own]) for own in np.split(order, borders) if len(own)]


def _mean_height(outline: Points, baseline: Points) -> float | None:
    """The area of the outline divided by the length of the baseline; None without a baseline."""
    if len(baseline) < 2 or len(outline) < 3:
        return None
    x, y = outline.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    length = float(np.linalg.norm(np.diff(baseline, axis=0), axis=1).sum())
    return area / length if length else None


def _key(outline: Points) -> bytes:
    return np.rint(outline).astype(np.int64).tobytes()


def _shortened(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    return value
