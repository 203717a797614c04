"""`emnist_lines`: lines composed of EMNIST's characters, with text from Python's documentation.

Line i of a split depends only on i and the configuration. The characters of a split come from the same split of EMNIST,
so no image of a character is in two splits. The characters of one line are by many writers, because EMNIST does not
name its writers.
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
from common.data.prepared import Line, file_states, prepare
from common.data.prose import Part, draw_text

TRAIN_LINES, VALIDATION_LINES, TEST_LINES = 8000, 500, 1000

_VERSION = 2  # of this file's algorithm; increase it to compose cached lines again
_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}
_CAP_HEIGHT = 0.7  # share of the line's height, approximately
_BASE_LINE = 1.0  # share of the line's height, from the top of a canvas that is twice as high
# EMNIST scales all characters to one size. These are their true extents above and below the base line, in cap heights.
_SMALL, _DEEP, _REST = (0.66, 0.0), (0.66, 0.3), (1.0, 0.0)
_EXTENT = dict.fromkeys("acemnorsuvwxz", _SMALL) | dict.fromkeys("gpqy", _DEEP) | {"j": (0.9, 0.3)}
_NARROWEST = 9  # columns, the smallest advance: CTC needs a frame for each character and one between equal ones
_INK = 48  # a pixel above this value is ink


def load(folder: Path | None, *, height: int, examples: int, max_characters: int) -> LineDataset:
    """Compose the lines, or read them from the cache. The validation and test lines do not depend on `examples`.

    Args:
        folder: the folder with EMNIST's files; None uses the data root, the cache or a download.
        height: height of the lines, pixels.
        examples: number of training lines; 0 means 8,000.
        max_characters: maximum length of a line, characters.

    Raises:
        UserError: EMNIST's files cannot be downloaded or are damaged.
    """
    chosen = emnist.locate(folder, "byclass")
    files = file_states(chosen, sorted(chosen.glob("emnist-byclass-*")))

    @cache
    def characters() -> CharacterDataset:
        # large, and not needed if the lines are in the cache
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
    # only characters that every split has: a small split may lack some
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
    """Compose a line from a random glyph of each character, side by side.

    Each line has a random gap between its glyphs. A negative gap lets them overlap.

    Args:
        text: the line's text.
        split: the glyphs.
        glyphs: indices in the split of each character's glyphs.
        height: height of the result, pixels.
        rng: source of the random numbers.
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
        np.maximum(window, image, out=window)  # a sum would overflow above 255
    line = to_height(canvas, height)
    assert line is not None, "EMNIST's glyphs have ink"
    return line


def _scaled(
    image: UInt8[np.ndarray, "_ _"], character: str, cap: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "_ _"]:
    """Scale the ink of a glyph to the height that its character has in a line."""
    rows, columns = (np.flatnonzero((image > _INK).any(axis=axis)) for axis in (1, 0))
    if len(rows):
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    above, below = _EXTENT.get(character, _REST)
    height = max(1, round((above + below) * cap))
    # the limit is for flat glyphs, which would become as wide as a word
    width = min(image.shape[1] * height / len(image), 1.3 * cap) * np.exp(rng.normal(0, 0.06))
    source = pillow.fromarray(np.ascontiguousarray(image))
    return np.array(source.resize((max(1, round(width)), height), pillow.Resampling.BILINEAR))
