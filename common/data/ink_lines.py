"""`ink_lines`: synthetic handwritten lines, drawn from the strokes of the Hershey fonts, deformed for each writer.

Line i of a split, its writer and its text depend only on i and the configuration. A larger training set therefore
contains a smaller one, and the validation and test lines are always the same. No writer and no sentence is in two
splits.

Source of the strokes: A. V. Hershey 1967, "Calligraphy for Computers"; public domain.
"""

# K characters that can be drawn, L characters of the texts, P points along the strokes of a character, S strokes
# F faces (fonts), H height, W width, X columns of the window around a character

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import Charset
from common.data.ink import affine, bend, resample
from common.data.line_image import MARGIN, crop_rows
from common.data.lines import LineDataset, LineSplit
from common.data.prepared import Line, prepare
from common.data.prose import CHARACTERS, Part, draw_text, words

TRAIN_LINES, VALIDATION_LINES, TEST_LINES = 8000, 500, 1000
LINES_PER_WRITER = 20

_VERSION = 3  # of this file's algorithm; increase it to draw cached lines again
_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}
_POINTS = 64
_CAP_HEIGHT = 21  # Hershey units
_FACES = ("futural", "rowmans", "cursive", "scripts", "timesi")
_CHANCES = (0.3, 0.28, 0.14, 0.12, 0.16)  # probability of each face
_WIDTH = 0.78  # share of the fonts' own width: characters then have the mean width of scanned handwriting
_BLUR = 0.8  # pixels at height 28


@cache
def _glyphs() -> tuple[Float[np.ndarray, "F K P 2"], Int[np.ndarray, "F K P"], Float[np.ndarray, "F K"]]:
    """Points at equal steps along each character's strokes, the stroke of each point, and each character's advance.

    The unit is the cap height. The origin is the middle of the character on the base line; y points down.
    """
    from HersheyFonts import HersheyFonts  # slow to import, and only drawing needs it

    fonts = HersheyFonts()
    shape = len(_FACES), len(CHARACTERS), _POINTS
    points, stroke_of, advance = np.zeros((*shape, 2)), np.zeros(shape, np.int64), np.empty(shape[:2])
    for f, face in enumerate(_FACES):
        fonts.load_default_font(face)
        for k, character in enumerate(CHARACTERS):
            glyph = fonts.all_glyphs[character]
            advance[f, k] = glyph.char_width / _CAP_HEIGHT
            strokes = [(np.array(stroke, dtype=float) - [0, 9]) / _CAP_HEIGHT for stroke in glyph.strokes]
            if not strokes:
                continue
            points[f, k], stroke_of[f, k] = resample(strokes, _POINTS)
    return points, stroke_of, advance


def draw_lines(texts: list[str], height: int, rng: np.random.Generator) -> list[UInt8[np.ndarray, "H _"]]:
    """Draw the texts in the handwriting of one random writer.

    Args:
        texts: the texts of the lines.
        height: height of the images, pixels.
        rng: source of the random numbers.

    Returns:
        Ink 255 on paper 0. Each image has its own width.
    """
    points, stroke_of, advance = _glyphs()
    class_of = {c: k for k, c in enumerate(CHARACTERS)}
    classes = np.array([class_of[c] for text in texts for c in text])
    line_L = np.repeat(np.arange(len(texts)), [len(text) for text in texts])

    habit, other = rng.choice(len(_FACES), 2, p=_CHANCES)
    # most people have one style, but write some characters always in another one
    mixed_K = rng.random(len(CHARACTERS)) < 0.12
    face_L = np.where(mixed_K[classes], other, habit)
    xy_LP2, stroke_LP = points[face_L, classes], stroke_of[face_L, classes]
    # strokes that should meet miss each other a little
    misses = rng.normal(0, rng.uniform(0.005, 0.03), (len(classes), int(stroke_LP.max()) + 1, 2))
    xy_LP2 = xy_LP2 + misses[np.arange(len(classes))[:, None], stroke_LP]
    # the deformation of the writer, then that of each character
    xy_LP2 = xy_LP2 + bend(xy_LP2, rng.uniform(0.02, 0.06), 0.5, rng, 1)
    xy_LP2 = xy_LP2 + bend(xy_LP2, rng.uniform(0.01, 0.045), 0.7, rng, len(classes))
    width = _WIDTH * np.exp(rng.normal(0, 0.12))
    xy_LP2 = xy_LP2 @ affine(
        slant=rng.normal(0.12, 0.18) + rng.normal(0, 0.04, len(classes)),
        turn=rng.normal(0, 0.03, len(classes)),
        width=width * np.exp(rng.normal(0, 0.06, len(classes))),
    )
    gap = rng.normal(0.02, 0.05)  # change of the font's own gap, in cap heights
    advance_L = np.maximum(advance[face_L, classes] * width + gap + rng.normal(0, 0.03, len(classes)), 0.24)
    space_L = classes == class_of[" "]
    advance_L = np.where(space_L, np.maximum(advance_L * rng.uniform(0.8, 1.3), 0.4), advance_L)
    end_L = np.cumsum(advance_L)
    starts = np.array([end_L[i] - advance_L[i] for i in np.searchsorted(line_L, np.arange(len(texts)))])
    middle_L = end_L - advance_L / 2 - starts[line_L]

    # the base line slopes and waves
    slope, wave, phase = rng.normal(0, 0.006, len(texts)), rng.uniform(0, 0.06), rng.uniform(0, 2 * np.pi, len(texts))
    drift_L = (
        slope[line_L] * middle_L + wave * np.sin(middle_L * 0.7 + phase[line_L]) + rng.normal(0, 0.02, len(classes))
    )
    xy_LP2 = xy_LP2 + np.stack([middle_L, drift_L], axis=1)[:, None]
    half_pen = 0.06 * float(np.clip(np.exp(rng.normal(-0.05, 0.28)), 0.5, 1.6))
    softness = rng.uniform(0.8, 1.5)
    drawn_L = ~space_L
    return [
        _render(xy_LP2[own], stroke_LP[own], height, half_pen, softness)
        for own in ((line_L == i) & drawn_L for i in range(len(texts)))
    ]


def _render(
    xy_LP2: Float[np.ndarray, "L P 2"], stroke_LP: Int[np.ndarray, "L P"], height: int, half_pen: float, softness: float
) -> UInt8[np.ndarray, "H _"]:
    """Draw one line with a round pen, antialiased, by the method of `common.data.ink`, each character in a window.

    The line is scaled and placed in the same way as `line_image.to_height` normalises a scan.

    Args:
        xy_LP2: points, in any unit.
        stroke_LP: the stroke of each point.
        height: height of the result, pixels.
        half_pen: half the width of the pen, in the unit of the points.
        softness: width of the blurred edge, pixels.
    """
    step_LP = np.hypot(*np.moveaxis(np.diff(xy_LP2, axis=1, append=xy_LP2[:, -1:]), 2, 0))
    lifted_LP = np.diff(stroke_LP, axis=1, append=stroke_LP[:, -1:] + 1) != 0
    step_LP = np.where(lifted_LP, np.roll(step_LP, 1, axis=1), step_LP)

    y_LP = xy_LP2[..., 1]
    middle = float((step_LP * y_LP).sum() / step_LP.sum())
    # a round pen increases the variance of the ink by a quarter of the square of its half width
    spread = float(np.sqrt((step_LP * (y_LP - middle) ** 2).sum() / step_LP.sum() + half_pen**2 / 4))
    top, bottom = crop_rows(middle, spread, float(y_LP.min()) - half_pen, float(y_LP.max()) + half_pen)
    scale = height / (bottom - top)
    half_pen, step_LP = half_pen * scale, step_LP * scale
    left = float(xy_LP2[..., 0].min()) * scale - half_pen - MARGIN
    xy_LP2 = (xy_LP2 * scale - np.array([left, top * scale])).astype(np.float32)
    width = int(np.ceil(xy_LP2[..., 0].max() + half_pen + MARGIN))

    blur = _BLUR * height / 28
    reach = half_pen + 3 * blur
    first_L = np.floor(xy_LP2[..., 0].min(axis=1) - reach).astype(np.int64)
    window = int(np.ceil(xy_LP2[..., 0].max(axis=1) + reach - first_L).max())
    sharpness = np.float32(-0.5 / blur**2)
    columns_LPX = np.exp(
        (np.arange(window, dtype=np.float32) + np.float32(0.5) - (xy_LP2[..., 0] - first_L[:, None])[..., None]) ** 2
        * sharpness
    )
    rows_LPH = np.exp((np.arange(height, dtype=np.float32) + np.float32(0.5) - xy_LP2[..., 1, None]) ** 2 * sharpness)
    rows_LPH *= (step_LP / (blur * np.sqrt(2 * np.pi))).astype(np.float32)[..., None]
    windows_LHX = rows_LPH.transpose(0, 2, 1) @ columns_LPX
    ink_HW = np.zeros((height, width + 2 * window), np.float32)
    for start, ink_HX in zip(first_L + window, windows_LHX, strict=True):
        ink_HW[:, start : start + window] += ink_HX
    distance_HW = blur * np.sqrt(-2 * np.log(np.clip(ink_HW[:, window : window + width], 1e-6, 1)))
    cover_HW = np.clip(0.5 + (half_pen - distance_HW) / softness, 0, 1)
    image_HW: UInt8[np.ndarray, "H W"] = np.rint(255 * cover_HW).astype(np.uint8)
    return image_HW


def load(examples: int, *, height: int, max_characters: int) -> LineDataset:
    """Draw the lines, or read them from the cache. The validation and test lines do not depend on `examples`.

    Args:
        examples: number of training lines; 0 means 8,000.
        height: height of the lines, pixels.
        max_characters: maximum length of a line, characters.
    """
    train = split("train", examples or TRAIN_LINES, height, max_characters)
    return LineDataset(
        name="ink_lines",
        charset=Charset.of(train.texts),
        train=train,
        validation=split("validation", VALIDATION_LINES, height, max_characters),
        test=split("test", TEST_LINES, height, max_characters),
    )


def split(part: Part, count: int, height: int, max_characters: int) -> LineSplit:
    """Draw the lines of one split, or read them from the cache; see `load`."""
    prose = zlib.crc32(" ".join(words(part)).encode())  # the documentation differs between versions of Python
    state = [_VERSION, prose, part, count, height, max_characters]
    return prepare(f"ink_lines-{part}", state, lambda: _draw(part, count, height, max_characters), total=count).lines


def _draw(part: Part, count: int, height: int, max_characters: int) -> Iterator[Line]:
    for writer in range(-(-count // LINES_PER_WRITER)):
        rng = np.random.default_rng([_SEEDS[part], writer, max_characters])
        texts = [draw_text(part, max_characters, rng) for _ in range(LINES_PER_WRITER)]
        images = draw_lines(texts, height, rng)
        for i, (image, text) in enumerate(zip(images, texts, strict=True)):
            if writer * LINES_PER_WRITER + i < count:
                name = f"line {i + 1} of {part} writer {writer + 1}"
                yield Line(image=image, text=text, name=name, group=f"{part} {writer}")
