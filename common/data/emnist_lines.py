"""`emnist_lines`: lines composed of single handwritten characters of EMNIST, with text from Python's documentation.

Line i of a split is a function of i alone. A split's characters come from the same split of EMNIST, so no glyph is in
two. A line's characters are of many hands: EMNIST does not say who wrote what.
"""

# H height, W width

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image as pillow

from common.charset import Charset
from common.data import emnist
from common.data.characters import CharacterDataset, CharacterSplit
from common.data.line_image import to_height
from common.data.lines import LineDataset, LineSplit
from common.data.prepared import Line, prepare
from common.data.prose import Part, draw_text

TRAIN_LINES, VALIDATION_LINES, TEST_LINES = 8000, 500, 1000

_VERSION = 2  # of the composing; lines prepared by another are composed anew
_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}
_CAP_HEIGHT = 0.7  # about the share of a line's height that it will have
_BASE_LINE = 1.0  # of a canvas twice as high
# EMNIST scales every character to one size; these are above and below the base line, in cap heights
_SMALL, _DEEP, _REST = (0.66, 0.0), (0.66, 0.3), (1.0, 0.0)
_EXTENT = dict.fromkeys("acemnorsuvwxz", _SMALL) | dict.fromkeys("gpqy", _DEEP) | {"j": (0.9, 0.3)}
_NARROWEST = 9  # columns that a character moves the pen on: CTC needs one frame for each, and one between equal ones
_INK = 48  # darker than this counts as ink


def load(folder: Path | None, *, height: int, examples: int, max_characters: int) -> LineDataset:
    """So many training lines, or 8,000 for 0, with always the same validation and test lines.

    Raises:
        UserError: EMNIST's files cannot be had or are damaged.
    """
    chosen = emnist.locate(folder, "byclass")
    stats = [(path.name, path.stat()) for path in sorted(chosen.glob("emnist-byclass-*"))]
    files = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]

    @cache
    def characters() -> CharacterDataset:
        # large, and not needed if the lines are prepared
        return emnist.load("emnist", chosen, "byclass")

    def split(part: Part, count: int) -> LineSplit:
        state = [_VERSION, part, count, height, max_characters, files]
        make = lambda: _compose(part, count, height, max_characters, characters)  # noqa: E731
        lines = prepare(f"emnist_lines-{part}", state, make, total=count).lines
        return LineSplit(images=lines.images, widths_N=lines.widths_N, texts=lines.texts, names=lines.names)

    train = split("train", examples or TRAIN_LINES)
    return LineDataset(
        name="emnist_lines",
        charset=Charset.of(train.texts),
        train=train,
        validation=split("validation", VALIDATION_LINES),
        test=split("test", TEST_LINES),
    )


def _compose(
    part: Part, count: int, height: int, max_characters: int, characters: Callable[[], CharacterDataset]
) -> Iterator[Line]:
    dataset = characters()
    split = dataset.split(part)
    glyphs = {c: np.flatnonzero(split.labels_N == k) for k, c in enumerate(dataset.charset.characters)}
    # what a small split lacks, no split is to be asked for
    everywhere = set.intersection(*(set(dataset.split(name).labels_N.tolist()) for name in _SEEDS))
    known = " " + dataset.charset.text(sorted(everywhere))
    for i in range(count):
        rng = np.random.default_rng([_SEEDS[part], i, max_characters])
        text = draw_text(part, max_characters, rng, known)
        image = compose_line(text, split, glyphs, height, rng)
        yield Line(image=image, text=text, name=f"line {i + 1} of {part}", group=part)


def compose_line(
    text: str, split: CharacterSplit, glyphs: dict[str, Int[np.ndarray, "_"]], height: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W"]:
    """A glyph of each character, drawn by `rng` from those at its places in the split, side by side.

    How far neighbours stand apart, or into each other, is drawn per line.
    """
    cap = _CAP_HEIGHT * height * np.exp(rng.normal(0, 0.06))
    gap = rng.uniform(-0.12, 0.12) * cap
    space = rng.uniform(0.45, 0.8) * cap
    pen, placed = 0.0, []
    for character in text:
        if character == " ":
            pen += max(space, _NARROWEST)
            continue
        image = _scaled(split.images_NHW[rng.choice(glyphs[character])], character, cap, rng)
        advance = max(image.shape[1] + gap + rng.normal(0, 0.04) * cap, _NARROWEST)
        drift = rng.normal(0, 0.03) * cap
        top = _BASE_LINE * height + drift - _EXTENT.get(character, _REST)[0] * cap
        placed.append((round(pen + (advance - image.shape[1]) / 2), round(top), image))
        pen += advance
    first = min(left for left, _, _ in placed)
    width = max(left + image.shape[1] for left, _, image in placed) - first
    canvas = np.zeros((2 * height, width), np.uint8)
    for left, top, image in placed:
        window = canvas[top : top + len(image), left - first : left - first + image.shape[1]]
        np.maximum(window, image, out=window)  # a sum would wrap around past 255
    line = to_height(canvas, height)
    assert line is not None, "glyphs of EMNIST have ink"
    return line


def _scaled(
    image: UInt8[np.ndarray, "_ _"], character: str, cap: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "_ _"]:
    """The ink of a glyph at the height that its character has in a line."""
    rows, columns = (np.flatnonzero((image > _INK).any(axis=axis)) for axis in (1, 0))
    if len(rows):
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    above, below = _EXTENT.get(character, _REST)
    height = max(1, round((above + below) * cap))
    # a stroke that lies down would become as wide as a word
    width = min(image.shape[1] * height / len(image), 1.3 * cap) * np.exp(rng.normal(0, 0.06))
    source = pillow.fromarray(np.ascontiguousarray(image))
    return np.array(source.resize((max(1, round(width)), height), pillow.Resampling.BILINEAR))
