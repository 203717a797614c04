"""`ink`: synthetic handwriting, drawn from the strokes of the Hershey fonts, which are deformed for each writer.

Every writer writes every character once. The page of a writer depends only on the writer's number. A larger training
set therefore contains a smaller one, and the validation and test pages are always the same.

Source of the strokes: A. V. Hershey 1967, "Calligraphy for Computers"; public domain.
"""

# K classes, H height, W width, P points along the strokes of a character, S strokes of a character
# F faces (fonts), J waves of a deformation

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import ALPHANUMERIC
from common.data.characters import CharacterDataset, CharacterSplit

SIZE = 28
BOX = 20
"""Longer side of the ink, pixels, as in MNIST."""
TEST_WRITERS = 80
VALIDATION_WRITERS = 40
TRAIN_WRITERS = 323

_SEED = 19_670_801
_POINTS = 144
_CAP_HEIGHT = 21  # Hershey units
_FACES = ("futural", "rowmans", "cursive", "scripts", "timesi")
_BLUR = 0.85  # pixels: wide enough to join the points of a stroke
_GROUPS = (
    (0, 10),
    (10, 36),
    (36, 62),
)  # classes of digits, capitals, small letters: a writer has one usual face for each
# probabilities of the faces, per group: most people print digits and capitals, fewer print small letters
_FACE_CHANCES = ((0.4, 0.35, 0.0, 0.1, 0.15), (0.4, 0.4, 0.05, 0.05, 0.1), (0.3, 0.25, 0.15, 0.1, 0.2))


@cache
def _strokes() -> tuple[Float[np.ndarray, "F K P 2"], Int[np.ndarray, "F K P"]]:
    """Points at equal steps along the strokes of each character, in cap heights, and the stroke of each point."""
    from HersheyFonts import HersheyFonts  # slow to import, and only drawing needs it

    fonts = HersheyFonts()
    points = np.empty((len(_FACES), len(ALPHANUMERIC), _POINTS, 2))
    stroke_of = np.empty((len(_FACES), len(ALPHANUMERIC), _POINTS), dtype=np.int64)
    for f, face in enumerate(_FACES):
        fonts.load_default_font(face)
        glyphs = fonts.all_glyphs
        for k, character in enumerate(ALPHANUMERIC.characters):
            strokes = [np.array(stroke, dtype=float) / _CAP_HEIGHT for stroke in glyphs[character].strokes]
            points[f, k], stroke_of[f, k] = resample(strokes, _POINTS)
    return points, stroke_of


def resample(
    strokes: list[Float[np.ndarray, "_ 2"]], points: int
) -> tuple[Float[np.ndarray, "P 2"], Int[np.ndarray, "P"]]:
    """`points` points at equal steps along the strokes of a character, and the stroke of each point."""
    steps = [np.hypot(*np.diff(stroke, axis=0).T) for stroke in strokes]
    # the way of a lifted pen has no length: the next stroke starts at the length where the last one ended
    lengths = np.concatenate([np.concatenate([[0.0], step]) for step in steps]).cumsum()
    at_P = (np.arange(points) + 0.5) / points * lengths[-1]
    corners = np.concatenate(strokes)
    xy_P2 = np.stack([np.interp(at_P, lengths, corners[:, axis]) for axis in (0, 1)], axis=1)
    return xy_P2, np.searchsorted(np.cumsum([step.sum() for step in steps])[:-1], at_P)


def bend(
    xy_KP2: Float[np.ndarray, "K P 2"], size: float, frequency: float, rng: np.random.Generator, kinds: int
) -> Float[np.ndarray, "K P 2"]:
    """A smooth random displacement of each point: the sum of three plane waves.

    Args:
        xy_KP2: points of K characters, in cap heights.
        size: size of the displacement, in cap heights.
        frequency: standard deviation of the waves' frequency, per cap height.
        rng: source of the random numbers.
        kinds: K draws waves for each character, 1 draws waves for all characters together.
    """
    waves_K2J = rng.normal(0, frequency, (kinds, 2, 3))
    phases_K1J = rng.uniform(0, 2 * np.pi, (kinds, 1, 3))
    sizes_KJ2 = rng.normal(0, size / np.sqrt(3), (kinds, 3, 2))
    shift_KP2: Float[np.ndarray, "K P 2"] = np.sin(2 * np.pi * xy_KP2 @ waves_K2J + phases_K1J) @ sizes_KJ2
    return shift_KP2


def affine(
    slant: Float[np.ndarray, "K"], turn: Float[np.ndarray, "K"], width: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "K 2 2"]:
    """Matrices that widen a character, slant it to the right and rotate it; for use as `xy @ matrix`.

    Args:
        slant: shift to the right per height.
        turn: angle of the rotation, radians, clockwise.
        width: factor of the width.
    """
    one, zero = np.ones_like(slant), np.zeros_like(slant)
    lean = np.stack([width, zero, -slant, one], axis=1).reshape(-1, 2, 2)
    rotate = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], axis=1).reshape(-1, 2, 2)
    return lean @ rotate


def draw_page(writer: int) -> UInt8[np.ndarray, "K H W"]:
    """Draw the page of one writer: every character of `ALPHANUMERIC`, ink 255 on paper 0."""
    rng = np.random.default_rng([_SEED, writer])
    points, stroke_of = _strokes()
    classes = np.arange(len(ALPHANUMERIC))

    face_K = np.empty(len(classes), dtype=np.int64)
    for (start, stop), chances in zip(_GROUPS, _FACE_CHANCES, strict=True):
        habit = rng.choice(len(_FACES), p=chances)
        other_K = rng.choice(len(_FACES), size=stop - start, p=chances)
        face_K[start:stop] = np.where(rng.random(stop - start) < 0.85, habit, other_K)
    xy_KP2, stroke_KP = points[face_K, classes], stroke_of[face_K, classes]

    # strokes that should meet miss each other a little
    misses_KS2 = rng.normal(0, rng.uniform(0.01, 0.04), (len(classes), stroke_KP.max() + 1, 2))
    xy_KP2 = xy_KP2 + misses_KS2[classes[:, None], stroke_KP]
    # the deformation of the writer, then that of each character, then a trembling pen
    xy_KP2 = xy_KP2 + bend(xy_KP2, rng.uniform(0.03, 0.075), 0.5, rng, 1)
    xy_KP2 = xy_KP2 + bend(xy_KP2, rng.uniform(0.03, 0.07), 0.7, rng, len(classes))
    xy_KP2 = xy_KP2 + bend(xy_KP2, rng.uniform(0.0, 0.012), 3.0, rng, len(classes))
    xy_KP2 = xy_KP2 @ affine(
        slant=rng.normal(0.1, 0.2) + rng.normal(0, 0.07, len(classes)),
        turn=rng.normal(0, 0.06) + rng.normal(0, 0.07, len(classes)),
        width=np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.08, len(classes))),
    )
    half_pen = float(np.clip(np.exp(rng.normal(0.05, 0.3)), 0.6, 2.0))
    return _render(_place(xy_KP2, half_pen), stroke_KP, half_pen, softness=rng.uniform(1.0, 1.6))


def _place(xy_KP2: Float[np.ndarray, "K P 2"], half_pen: float) -> Float[np.ndarray, "K P 2"]:
    """Scale to pixels: the longer side fills the box, and the centre of mass is the middle of pixel 14, as in MNIST."""
    low_K2, high_K2 = xy_KP2.min(axis=1), xy_KP2.max(axis=1)
    scale_K = (BOX - 2 * half_pen) / (high_K2 - low_K2).max(axis=1)
    xy_KP2 = xy_KP2 * scale_K[:, None, None]
    low_K2, high_K2 = low_K2 * scale_K[:, None], high_K2 * scale_K[:, None]
    # the margin has priority over the centre of mass
    lowest_K2, highest_K2 = half_pen + 1 - low_K2, SIZE - half_pen - 1 - high_K2
    shift_K2 = np.clip((SIZE + 1) / 2 - xy_KP2.mean(axis=1), lowest_K2, highest_K2)
    placed_KP2: Float[np.ndarray, "K P 2"] = xy_KP2 + shift_K2[:, None, :]
    return placed_KP2


def _render(
    xy_KP2: Float[np.ndarray, "K P 2"], stroke_KP: Int[np.ndarray, "K P"], half_pen: float, softness: float
) -> UInt8[np.ndarray, "K H W"]:
    """Draw with a round pen, antialiased, as a sum of Gaussians at the points.

    A Gaussian is the product of a function of the row and one of the column, so a matrix product adds them up. Along a
    straight stroke, the sum at distance d is exp(-d²/2σ²). It is solved for d, and the edge of the stroke is where d is
    half the width of the pen.

    Args:
        xy_KP2: points, pixels.
        stroke_KP: the stroke of each point.
        half_pen: half the width of the pen, pixels.
        softness: width of the blurred edge, pixels.
    """
    xy_KP2 = xy_KP2.astype(np.float32)
    step_KP = np.hypot(*np.moveaxis(np.diff(xy_KP2, axis=1, append=xy_KP2[:, -1:]), 2, 0))
    lifted_KP = np.diff(stroke_KP, axis=1, append=stroke_KP[:, -1:] + 1) != 0
    step_KP = np.where(lifted_KP, np.roll(step_KP, 1, axis=1), step_KP)
    pixels = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    columns_KPW, rows_KPH = (
        np.exp((pixels - xy_KP2[:, :, axis, None]) ** 2 * np.float32(-0.5 / _BLUR**2)) for axis in (0, 1)
    )
    rows_KPH *= (step_KP / np.float32(_BLUR * np.sqrt(2 * np.pi)))[:, :, None]
    ink_KHW = rows_KPH.transpose(0, 2, 1) @ columns_KPW
    distance_KHW = _BLUR * np.sqrt(-2 * np.log(np.clip(ink_KHW, 1e-6, 1)))
    cover_KHW = np.clip(0.5 + (half_pen - distance_KHW) / softness, 0, 1)
    images_KHW: UInt8[np.ndarray, "K H W"] = np.rint(255 * cover_KHW).astype(np.uint8)
    return images_KHW


def _pages(first: int, examples: int) -> CharacterSplit:
    """`examples` examples, page after page, by the writers from number `first` on."""
    classes = len(ALPHANUMERIC)
    writers = -(-examples // classes)
    images_NHW = np.concatenate([draw_page(writer) for writer in range(first, first + writers)])
    labels_N = np.tile(np.arange(classes), writers)
    writers_N = np.repeat(np.arange(first, first + writers), classes)
    return CharacterSplit(
        images_NHW=images_NHW[:examples], labels_N=labels_N[:examples], writers_N=writers_N[:examples]
    )


def load(examples: int) -> CharacterDataset:
    """Draw the data set. The validation and test examples are always the same.

    Args:
        examples: number of training examples; 0 means 20,026, the pages of 323 writers.
    """
    per_writer = len(ALPHANUMERIC)
    return CharacterDataset(
        name="ink",
        charset=ALPHANUMERIC,
        train=_pages(TEST_WRITERS + VALIDATION_WRITERS, examples or TRAIN_WRITERS * per_writer),
        validation=_pages(TEST_WRITERS, VALIDATION_WRITERS * per_writer),
        test=_pages(0, TEST_WRITERS * per_writer),
    )
