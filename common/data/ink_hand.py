"""The hand of a writer: its letters, how it writes a text along a baseline, and how its strokes become ink.

The letters are those of the Hershey fonts, with the accents of western European languages added, and deformed for the
writer. The ink is a sum of Gaussians at the points of the strokes, by the method of `common.data.ink`.

Source of the strokes: A. V. Hershey 1967, "Calligraphy for Computers"; public domain.
"""

# K characters that can be written, L characters of a text, P points along the strokes of a character
# F faces (fonts), H height, W width, X columns and Y rows of the window around a character

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from common.data.ink import affine, bend, resample
from common.data.prose import CHARACTERS
from common.data.xml_pages import Points

_POINTS = 64
_CAP_HEIGHT = 21  # Hershey units
X_HEIGHT = 14 / 21
"""Height of small letters without ascenders, in cap heights."""
_FACES = ("futural", "rowmans", "cursive", "scripts", "timesi")
_CHANCES = (0.22, 0.2, 0.24, 0.22, 0.12)  # probability of each face
_WIDTH = 0.78  # share of the fonts' own width: characters then have the mean width of scanned handwriting
_BLUR = 0.058  # cap heights: wide enough to join the points of a stroke
_CHUNK = 48  # characters drawn together: their windows fit in the processor's cache

# Unicode's combining accents: strokes in cap heights; the origin is the middle of the letter's upper (or lower) end
_ACCENTS = {
    "\u0300": ([(-0.16, -0.3), (0.08, -0.1)],),
    "\u0301": ([(0.16, -0.3), (-0.08, -0.1)],),
    "\u0302": ([(-0.18, -0.1), (0.0, -0.3), (0.18, -0.1)],),
    "\u0303": ([(-0.2, -0.14), (-0.08, -0.24), (0.08, -0.14), (0.2, -0.24)],),
    "\u0308": ([(-0.15, -0.2), (-0.13, -0.16)], [(0.15, -0.2), (0.13, -0.16)]),
    "\u0327": ([(0.0, 0.0), (0.05, 0.1), (0.0, 0.2), (-0.12, 0.2)],),
}
_BELOW = "\u0327"
# characters that are drawn as others
_ALIKE = {
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "–": "-",
    "—": "-",
    "œ": "oe",
    "Œ": "OE",
    "æ": "ae",
    "«": "<<",
    "»": ">>",
}
WRITABLE = (
    frozenset(CHARACTERS) | frozenset("<>[]") | frozenset(_ALIKE) | frozenset("ÀÂÄÇÈÉÊËÎÏÑÔÖÙÛÜàáâäçèéêëíîïñóòôöúùûüãõ")
)
"""The characters that a hand can write."""
_ORDER = "".join(sorted(WRITABLE))
_CLASS_OF = {character: k for k, character in enumerate(_ORDER)}


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """Strokes of a pen, in pieces of 64 points."""

    xy_LP2: Float[np.ndarray, "L P 2"]
    """(x, y) in pixels."""
    stroke_LP: Int[np.ndarray, "L P"]
    """Number of the stroke of each point, within its piece."""

    @staticmethod
    def joined(parts: list[Strokes]) -> Strokes:
        """All strokes together."""
        if not parts:
            return Strokes(xy_LP2=np.zeros((0, _POINTS, 2)), stroke_LP=np.zeros((0, _POINTS), np.int64))
        return Strokes(
            xy_LP2=np.concatenate([part.xy_LP2 for part in parts]),
            stroke_LP=np.concatenate([part.stroke_LP for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A writer's letters and habits. Lengths are in cap heights."""

    points_KP2: Float[np.ndarray, "K P 2"]
    stroke_KP: Int[np.ndarray, "K P"]
    advance_K: Float[np.ndarray, "K"]
    """Distance from the middle of the gap before a letter to that after it."""
    half_pen: float
    softness: float
    """Width of the blurred edge of a stroke, pixels."""
    care: float
    """Factor of the deformation of each single letter: 1 is usual, less is more regular."""


@cache
def _glyphs() -> tuple[Float[np.ndarray, "F K P 2"], Int[np.ndarray, "F K P"], Float[np.ndarray, "F K"]]:
    """Points at equal steps along each character's strokes, the stroke of each point, and each character's advance.

    The unit is the cap height. The origin is the middle of the character on the base line; y points down.
    """
    from HersheyFonts import HersheyFonts  # slow to import, and only drawing needs it

    fonts = HersheyFonts()
    shape = len(_FACES), len(_ORDER), _POINTS
    points, stroke_of, advance = np.zeros((*shape, 2)), np.zeros(shape, np.int64), np.empty(shape[:2])
    for f, face in enumerate(_FACES):
        fonts.load_default_font(face)
        for k, character in enumerate(_ORDER):
            strokes, advance[f, k] = _composed(fonts.all_glyphs, character)
            if strokes:
                points[f, k], stroke_of[f, k] = resample(strokes, _POINTS)
    return points, stroke_of, advance


def _composed(glyphs: dict[str, Any], character: str) -> tuple[list[Float[np.ndarray, "_ 2"]], float]:
    """Strokes and advance of one character, in cap heights, from one or two letters and an accent."""
    letter, *accents = list(unicodedata.normalize("NFD", character))
    parts = _ALIKE.get(letter, letter)
    size = 0.6 if character in "«»" else 1.0
    strokes, advance = [], 0.0
    overlap = 0.12 if len(parts) > 1 else 0.0
    widths = [(glyphs[part].char_width / _CAP_HEIGHT - overlap) * size for part in parts]
    for part, width in zip(parts, widths, strict=True):
        middle = advance + width / 2 - sum(widths) / 2
        for stroke in glyphs[part].strokes:
            points = (np.array(stroke, dtype=float) - [0, 9]) / _CAP_HEIGHT * size + [middle, 0.2 * (size - 1)]
            # an accent replaces the dot of an i
            if not (accents and part == "i" and points[:, 1].max() < -0.75):
                strokes.append(points)
        advance += width
    for accent in accents:
        edge = 0.0 if accent == _BELOW else min(float(stroke[:, 1].min()) for stroke in strokes)
        strokes += [np.array(stroke) + np.array([0.03, edge]) for stroke in _ACCENTS[accent]]
    return strokes, advance


def draw_hand(rng: np.random.Generator) -> Hand:
    """Draw a writer."""
    points, stroke_of, advance = _glyphs()
    habit, other = rng.choice(len(_FACES), 2, p=_CHANCES)
    # most people have one style, but write some characters always in another one
    face_K = np.where(rng.random(len(_ORDER)) < 0.12, other, habit)
    classes_K = np.arange(len(_ORDER))
    width = _WIDTH * np.exp(rng.normal(0, 0.12))
    xy_KP2 = points[face_K, classes_K]
    xy_KP2 = xy_KP2 + bend(xy_KP2, rng.uniform(0.02, 0.06), 0.5, rng, 1)
    xy_KP2 = xy_KP2 + bend(xy_KP2, 0.03, 0.7, rng, len(_ORDER))
    one = np.ones(1)
    xy_KP2 = xy_KP2 @ affine(slant=one * rng.normal(0.16, 0.2), turn=one * 0, width=one * width)
    gap = rng.normal(0.0, 0.05)  # change of the font's own gap
    advance_K = np.maximum(advance[face_K, classes_K] * width + gap, 0.22)
    advance_K[_CLASS_OF[" "]] = max(advance_K[_CLASS_OF[" "]] * rng.uniform(0.8, 1.4), 0.4)
    return Hand(
        points_KP2=xy_KP2,
        stroke_KP=stroke_of[face_K, classes_K],
        advance_K=advance_K,
        half_pen=0.055 * float(np.clip(np.exp(rng.normal(0, 0.3)), 0.5, 1.6)),
        softness=rng.uniform(0.9, 1.6),
        care=float(np.exp(rng.normal(0, 0.3))),
    )


def width_of(hand: Hand, text: str) -> float:
    """Width of a text, in cap heights."""
    return float(hand.advance_K[[_CLASS_OF[c] for c in text]].sum())


def write(
    hand: Hand, text: str, cap: float, x: float, height_of: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> tuple[Strokes, Float[np.ndarray, "L 2"]]:
    """Write a text along a baseline.

    Args:
        hand: the writer.
        text: characters of `WRITABLE`.
        cap: cap height, pixels.
        x: left end of the text, pixels.
        height_of: y of the baseline at each x, pixels.
        rng: source of the random numbers.

    Returns:
        The strokes, and the left and right end of each character, in pixels.
    """
    classes_L = np.array([_CLASS_OF[c] for c in text])
    xy_LP2, stroke_LP = hand.points_KP2[classes_L], hand.stroke_KP[classes_L]
    # strokes that should meet miss each other a little
    misses = rng.normal(0, 0.015 * hand.care, (len(text), int(stroke_LP.max()) + 1, 2))
    xy_LP2 = xy_LP2 + misses[np.arange(len(text))[:, None], stroke_LP]
    xy_LP2 = xy_LP2 + bend(xy_LP2, 0.025 * hand.care, 0.7, rng, len(text))
    xy_LP2 = xy_LP2 @ affine(
        slant=rng.normal(0, 0.04, len(text)),
        turn=rng.normal(0, 0.03, len(text)),
        width=np.exp(rng.normal(0, 0.06, len(text))),
    )
    advance_L = np.maximum(hand.advance_K[classes_L] + rng.normal(0, 0.03, len(text)), 0.2)
    end_L = np.cumsum(advance_L)
    xy_LP2[..., 0] += (end_L - advance_L / 2)[:, None]
    xy_LP2[..., 1] += rng.normal(0, 0.02, (len(text), 1))
    xy_LP2 = xy_LP2 * cap + [x, 0]
    xy_LP2[..., 1] += height_of(xy_LP2[..., 0])
    drawn_L = classes_L != _CLASS_OF[" "]
    ends_L2 = x + cap * np.stack([end_L - advance_L, end_L], axis=1)
    return Strokes(xy_LP2=xy_LP2[drawn_L], stroke_LP=stroke_LP[drawn_L]), ends_L2


def stroke_along(polyline: Points, step: float) -> Strokes:
    """One stroke along a polyline, with points at most `step` pixels from each other."""
    length = float(np.hypot(*np.diff(polyline, axis=0).T).sum())
    pieces = max(1, int(np.ceil(length / (step * _POINTS))))
    xy_P2, _ = resample([polyline], pieces * _POINTS)
    return Strokes(xy_LP2=xy_P2.reshape(pieces, _POINTS, 2), stroke_LP=np.zeros((pieces, _POINTS), np.int64))


def ink(
    strokes: Strokes, size: tuple[int, int], cap: float, half_pen: float, softness: float
) -> Float[np.ndarray, "H W"]:
    """Draw strokes with a round pen, antialiased.

    Args:
        strokes: the strokes, pixels.
        size: height and width of the result, pixels.
        cap: cap height of the letters, pixels. The steps between points are in proportion to it.
        half_pen: half the width of the pen, pixels.
        softness: width of the blurred edge, pixels.

    Returns:
        The share of each pixel that ink covers, float32.
    """
    height, width = size
    blur = max(_BLUR * cap, 0.6)
    reach = half_pen + 3 * blur
    xy_LP2, stroke_LP = strokes.xy_LP2, strokes.stroke_LP
    step_LP = np.hypot(*np.moveaxis(np.diff(xy_LP2, axis=1, append=xy_LP2[:, -1:]), 2, 0))
    lifted_LP = np.diff(stroke_LP, axis=1, append=stroke_LP[:, -1:] + 1) != 0
    step_LP = np.where(lifted_LP, np.roll(step_LP, 1, axis=1), step_LP)
    weight_LP = (step_LP / (blur * np.sqrt(2 * np.pi))).astype(np.float32)
    first_L2 = np.floor(xy_LP2.min(axis=1) - reach).astype(np.int64)
    last_L2 = np.ceil(xy_LP2.max(axis=1) + reach).astype(np.int64)
    inside_L = ((last_L2 > 0) & (first_L2 < [width, height])).all(axis=1)
    order_L = np.flatnonzero(inside_L)
    # windows of a chunk have one size: put characters of similar size together
    order_L = order_L[np.argsort((last_L2 - first_L2)[order_L].max(axis=1), kind="stable")]
    room = int((last_L2 - first_L2)[order_L].max()) if len(order_L) else 0
    ink_HW = np.zeros((height + 2 * room, width + 2 * room), np.float32)
    sharpness = np.float32(-0.5 / blur**2)
    for start in range(0, len(order_L), _CHUNK):
        own = order_L[start : start + _CHUNK]
        across, down = (last_L2 - first_L2)[own].max(axis=0)
        local = (xy_LP2[own] - first_L2[own, None]).astype(np.float32)
        columns_LPX, rows_LPY = (
            np.exp((np.arange(count, dtype=np.float32) + np.float32(0.5) - local[..., axis, None]) ** 2 * sharpness)
            for axis, count in ((0, int(across)), (1, int(down)))
        )
        rows_LPY *= weight_LP[own][..., None]
        windows_LYX = rows_LPY.transpose(0, 2, 1) @ columns_LPX
        for (left, top), window_YX in zip((first_L2[own] + room).tolist(), windows_LYX, strict=True):
            part = ink_HW[top : top + down, left : left + across]
            part += window_YX[: part.shape[0], : part.shape[1]]
    cover_HW = np.zeros((height, width), np.float32)
    inked_HW = ink_HW[room : room + height, room : room + width]
    # most pixels have no ink: solve for the distance at the others only
    near_HW = inked_HW > np.exp(-0.5 * ((half_pen + softness / 2) / blur) ** 2)
    distance = blur * np.sqrt(-2 * np.log(np.clip(inked_HW[near_HW], 1e-6, 1)))
    cover_HW[near_HW] = np.clip(0.5 + (half_pen - distance) / softness, 0, 1)
    return cover_HW
