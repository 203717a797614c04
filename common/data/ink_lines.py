"""`ink_lines`: synthetic handwritten lines, drawn from the vector strokes of the Hershey fonts, bent per writer.

Line i of a split, its writer and its text are functions of i alone, so a larger training set holds the smaller one, and
test and validation are the same whatever is trained on. No writer and no passage is in two splits.

Source of the strokes: A. V. Hershey 1967, "Calligraphy for Computers"; public domain.
"""

# M characters, P points along the strokes of a character, F faces, H height, W width, X columns of a window

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import Charset
from common.data.ink import affine, bend
from common.data.line_image import MARGIN, crop_rows
from common.data.lines import LineDataset, LineSplit
from common.data.prepared import Line, prepare
from common.data.prose import CHARACTERS, Part, draw_text, words

TRAIN_LINES, VALIDATION_LINES, TEST_LINES = 8000, 500, 1000
LINES_PER_WRITER = 20

_VERSION = 3  # of the drawing; lines prepared by another are drawn anew
_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}
_POINTS = 64
_CAP_HEIGHT = 21  # Hershey units
_FACES = ("futural", "rowmans", "cursive", "scripts", "timesi")
_CHANCES = (0.3, 0.28, 0.14, 0.12, 0.16)
_WIDTH = 0.78  # of the fonts' own; then a character takes as many columns as in scans of handwriting
_BLUR = 0.8  # pixels at height 28


@cache
def _glyphs() -> tuple[Float[np.ndarray, "F K P 2"], Int[np.ndarray, "F K P"], Float[np.ndarray, "F K"]]:
    """Of each face and character: points at equal steps along its strokes, the stroke of each, and its advance.

    In cap heights, from the middle of the character on its base line; y points down.
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
            steps = [np.hypot(*np.diff(stroke, axis=0).T) for stroke in strokes]
            # a lifted pen travels no length: the next stroke starts where the last one ended
            lengths = np.concatenate([np.concatenate([[0.0], step]) for step in steps]).cumsum()
            at = (np.arange(_POINTS) + 0.5) / _POINTS * lengths[-1]
            corners = np.concatenate(strokes)
            points[f, k] = np.stack([np.interp(at, lengths, corners[:, axis]) for axis in (0, 1)], axis=1)
            stroke_of[f, k] = np.searchsorted(np.cumsum([step.sum() for step in steps])[:-1], at)
    return points, stroke_of, advance


def draw_lines(texts: list[str], height: int, rng: np.random.Generator) -> list[UInt8[np.ndarray, "H _"]]:
    """The texts in the hand of one writer, drawn by `rng`; ink 255 on paper 0, each as wide as it comes out."""
    points, stroke_of, advance = _glyphs()
    class_of = {c: k for k, c in enumerate(CHARACTERS)}
    classes = np.array([class_of[c] for text in texts for c in text])
    line_M = np.repeat(np.arange(len(texts)), [len(text) for text in texts])

    habit, other = rng.choice(len(_FACES), 2, p=_CHANCES)
    # most people keep to one style; some characters are always the other one's
    mixed_K = rng.random(len(CHARACTERS)) < 0.12
    face_M = np.where(mixed_K[classes], other, habit)
    xy_MP2, stroke_MP = points[face_M, classes], stroke_of[face_M, classes]
    # strokes do not meet exactly where they should
    misses = rng.normal(0, rng.uniform(0.005, 0.03), (len(classes), int(stroke_MP.max()) + 1, 2))
    xy_MP2 = xy_MP2 + misses[np.arange(len(classes))[:, None], stroke_MP]
    # the writer's own forms, then what differs from one character to the next
    xy_MP2 = xy_MP2 + bend(xy_MP2, rng.uniform(0.02, 0.06), 0.5, rng, 1)
    xy_MP2 = xy_MP2 + bend(xy_MP2, rng.uniform(0.01, 0.045), 0.7, rng, len(classes))
    width = _WIDTH * np.exp(rng.normal(0, 0.12))
    xy_MP2 = xy_MP2 @ affine(
        slant=rng.normal(0.12, 0.18) + rng.normal(0, 0.04, len(classes)),
        turn=rng.normal(0, 0.03, len(classes)),
        width=width * np.exp(rng.normal(0, 0.06, len(classes))),
    )
    gap = rng.normal(0.02, 0.05)  # more or less than the font's own, in cap heights
    advance_M = np.maximum(advance[face_M, classes] * width + gap + rng.normal(0, 0.03, len(classes)), 0.24)
    space_M = classes == class_of[" "]
    advance_M = np.where(space_M, np.maximum(advance_M * rng.uniform(0.8, 1.3), 0.4), advance_M)
    end_M = np.cumsum(advance_M)
    starts = np.array([end_M[i] - advance_M[i] for i in np.searchsorted(line_M, np.arange(len(texts)))])
    middle_M = end_M - advance_M / 2 - starts[line_M]

    # the line drifts and waves
    slope, wave, phase = rng.normal(0, 0.006, len(texts)), rng.uniform(0, 0.06), rng.uniform(0, 2 * np.pi, len(texts))
    drift_M = (
        slope[line_M] * middle_M + wave * np.sin(middle_M * 0.7 + phase[line_M]) + rng.normal(0, 0.02, len(classes))
    )
    xy_MP2 = xy_MP2 + np.stack([middle_M, drift_M], axis=1)[:, None]
    half_pen = 0.06 * float(np.clip(np.exp(rng.normal(-0.05, 0.28)), 0.5, 1.6))
    softness = rng.uniform(0.8, 1.5)
    drawn_M = ~space_M
    return [
        _render(xy_MP2[own], stroke_MP[own], height, half_pen, softness)
        for own in ((line_M == i) & drawn_M for i in range(len(texts)))
    ]


def _render(
    xy_MP2: Float[np.ndarray, "M P 2"], stroke_MP: Int[np.ndarray, "M P"], height: int, half_pen: float, softness: float
) -> UInt8[np.ndarray, "H _"]:
    """Draw one line with a round pen, antialiased; see `common.data.ink` for how. Each character in its own window.

    Points and pen are in any unit: the line is scaled and placed as `line_image.to_height` would a scan of it.
    """
    step_MP = np.hypot(*np.moveaxis(np.diff(xy_MP2, axis=1, append=xy_MP2[:, -1:]), 2, 0))
    lifted_MP = np.diff(stroke_MP, axis=1, append=stroke_MP[:, -1:] + 1) != 0
    step_MP = np.where(lifted_MP, np.roll(step_MP, 1, axis=1), step_MP)

    y_MP = xy_MP2[..., 1]
    middle = float((step_MP * y_MP).sum() / step_MP.sum())
    # a round pen spreads the ink by a quarter of its half width squared
    spread = float(np.sqrt((step_MP * (y_MP - middle) ** 2).sum() / step_MP.sum() + half_pen**2 / 4))
    top, bottom = crop_rows(middle, spread, float(y_MP.min()) - half_pen, float(y_MP.max()) + half_pen)
    scale = height / (bottom - top)
    half_pen, step_MP = half_pen * scale, step_MP * scale
    left = float(xy_MP2[..., 0].min()) * scale - half_pen - MARGIN
    xy_MP2 = (xy_MP2 * scale - np.array([left, top * scale])).astype(np.float32)
    width = int(np.ceil(xy_MP2[..., 0].max() + half_pen + MARGIN))

    blur = _BLUR * height / 28
    reach = half_pen + 3 * blur
    first_M = np.floor(xy_MP2[..., 0].min(axis=1) - reach).astype(np.int64)
    window = int(np.ceil(xy_MP2[..., 0].max(axis=1) + reach - first_M).max())
    sharpness = np.float32(-0.5 / blur**2)
    columns_MPX = np.exp(
        (np.arange(window, dtype=np.float32) + np.float32(0.5) - (xy_MP2[..., 0] - first_M[:, None])[..., None]) ** 2
        * sharpness
    )
    rows_MPH = np.exp((np.arange(height, dtype=np.float32) + np.float32(0.5) - xy_MP2[..., 1, None]) ** 2 * sharpness)
    rows_MPH *= (step_MP / (blur * np.sqrt(2 * np.pi))).astype(np.float32)[..., None]
    windows_MHX = rows_MPH.transpose(0, 2, 1) @ columns_MPX
    ink_HW = np.zeros((height, width + 2 * window), np.float32)
    for start, ink_HX in zip(first_M + window, windows_MHX, strict=True):
        ink_HW[:, start : start + window] += ink_HX
    distance_HW = blur * np.sqrt(-2 * np.log(np.clip(ink_HW[:, window : window + width], 1e-6, 1)))
    cover_HW = np.clip(0.5 + (half_pen - distance_HW) / softness, 0, 1)
    image_HW: UInt8[np.ndarray, "H W"] = np.rint(255 * cover_HW).astype(np.uint8)
    return image_HW


def load(examples: int, *, height: int, max_characters: int) -> LineDataset:
    """So many training lines, or 8,000 for 0, with always the same validation and test lines."""
    train = _split("train", examples or TRAIN_LINES, height, max_characters)
    return LineDataset(
        name="ink_lines",
        charset=Charset.of(train.texts),
        train=train,
        validation=_split("validation", VALIDATION_LINES, height, max_characters),
        test=_split("test", TEST_LINES, height, max_characters),
    )


def _split(part: Part, count: int, height: int, max_characters: int) -> LineSplit:
    prose = zlib.crc32(" ".join(words(part)).encode())  # Pythons differ in theirs
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
