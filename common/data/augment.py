"""Augmentation: random changes of a line's image that keep its text.

The changes are: width of the pen, width and height of the writing, slant, rotation, position, a bent base line, an
elastic distortion, and darkness of the ink.

Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks applied to visual document
analysis", for the bends. Wigington et al. 2017, "Data augmentation for recognition of handwritten words and lines", for
the elastic distortion.
"""

# H height, W width, X columns of the new image

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image as pillow
from PIL import ImageFilter

from common.data.lines import Image

NARROWEST, WIDEST = 0.85, 1.2
"""Smallest and largest horizontal scale of a line."""
_INK = 64  # a pixel above this value is ink
_GRID = 0.4  # distance between the points of the elastic grid, in heights of the line


def augment_line(
    image: Image, rng: np.random.Generator, width: int, *, shear: float = 0.25, elastic: float = 0.0
) -> Image:
    """Change a line's pen, shape and ink at random. The height stays the same.

    Args:
        image: uint8, ink 255 on paper 0.
        rng: source of the random numbers.
        width: maximum width of the result, pixels; not less than the image's width. The minimum is `NARROWEST` times
            the image's width.
        shear: largest slant that is added, columns per row.
        elastic: standard deviation of the points of the elastic grid in both directions, in heights of the line.
    """
    geometry, pen, ink = rng.random(3) < (0.8, 0.5, 0.5)
    drawn_11 = rng.uniform(-1, 1, 11)
    thicker, gain, gamma = rng.uniform(-1, 1, 3)
    if pen:
        image = _change_pen(image, thicker)
    if geometry:
        image = _remap(image, drawn_11, width, shear, elastic, rng)
    if ink:
        levels = np.linspace(0, 1, 256) ** np.exp(0.4 * gamma) * (0.8 + 0.2 * gain) * 255
        image = np.rint(levels).astype(np.uint8)[image]
    return image


def _change_pen(image: Image, thicker: float) -> Image:
    """Make strokes thicker (`thicker` up to 1, by grey dilation) or thinner (down to -1, by grey erosion)."""
    height = len(image)
    side = 2 * max(1, round(height / 48)) + 1
    kind = ImageFilter.MaxFilter if thicker > 0 else ImageFilter.MinFilter
    source = pillow.fromarray(image)
    # a blend, because a full erosion would remove thin strokes
    changed = pillow.blend(source, source.filter(kind(side)), 0.6 * thicker if thicker > 0 else -0.4 * thicker)
    return np.array(changed)


def _remap(
    image: Image, drawn_11: Float[np.ndarray, "11"], width: int, shear: float, elastic: float, rng: np.random.Generator
) -> Image:
    """Stretch, shear, rotate, shift, bend and distort a line, with one resampling.

    But for the elastic distortion, the old position of a new pixel is a function of its column plus a function of its
    row. An outer sum therefore gives the old positions of all pixels.
    """
    stretch, slant, tall, turn, shift, wave, wave_length, wave_phase, sway, sway_length, sway_phase = drawn_11
    height, old = image.shape
    unit = height / 28  # the sizes below were chosen for lines of 28 rows
    # shearing moves the ends of the line out of the image: add paper for them, as far as `width` allows
    lean = shear * slant
    pad = min(abs(lean) * height / 2, (width - NARROWEST * old) / 2)
    scale = min(1 + (0.2 * stretch if stretch > 0 else 0.15 * stretch), (width - 2 * pad) / old)
    new = int(np.clip(round(scale * old + 2 * pad), np.ceil(NARROWEST * old), width))

    inked = np.flatnonzero((image > _INK).any(axis=1))
    top, bottom = (inked[0], inked[-1] + 1) if len(inked) else (0, height)
    middle = (top + bottom) / 2
    size = min(1 + 0.1 * tall, max(1.0, (height - 1) / (bottom - top)))
    room = max(0.0, (height - size * (bottom - top)) / 2)
    # the new middle of the ink: the ink must stay inside the image
    centre = np.clip(middle + 2.5 * unit * shift, height / 2 - room, height / 2 + room)

    x_X = np.arange(new) + 0.5 - new / 2
    y_H = np.arange(height) + 0.5 - centre
    slope = np.clip(3 * unit * turn / old, -0.03, 0.03)  # the ends move by at most 1.5 units
    period = height * np.exp2(2 + wave_length)
    bend_X = unit * wave * np.sin(2 * np.pi * (x_X / period + wave_phase))
    # the local scale changes by at most an eighth
    sway_period = height * np.exp2(1 + sway_length)
    sway_X = sway * sway_period / (16 * np.pi) * np.sin(2 * np.pi * (x_X / sway_period + sway_phase))
    from_x = (x_X / scale + sway_X + old / 2)[None, :] + (lean * y_H)[:, None]
    from_y = (slope * x_X + bend_X + middle)[None, :] + (y_H / size)[:, None]
    if elastic:
        from_x += _displacement(height, new, elastic * height, rng)
        from_y += _displacement(height, new, elastic * height, rng)
    return _sample(image, from_x - 0.5, from_y - 0.5)


def _displacement(height: int, columns: int, spread: float, rng: np.random.Generator) -> Float[np.ndarray, "H X"]:
    """Displacement of each pixel: normal at the points of a grid, bilinear between them, with deviation `spread`."""
    step = _GRID * height
    grid = rng.normal(0, spread, (int(np.ceil(height / step)) + 1, int(np.ceil(columns / step)) + 1))
    y_H, x_X = np.arange(height) / step, np.arange(columns) / step
    row_H, column_X = y_H.astype(np.intp), x_X.astype(np.intp)
    low_H1, right_X = (y_H - row_H)[:, None], x_X - column_X
    rows = grid[row_H] * (1 - low_H1) + grid[row_H + 1] * low_H1
    between: Float[np.ndarray, "H X"] = rows[:, column_X] * (1 - right_X) + rows[:, column_X + 1] * right_X
    return between


def _sample(image: Image, x_HX: Float[np.ndarray, "H X"], y_HX: Float[np.ndarray, "H X"]) -> Image:
    """Sample the image bilinearly at positions in pixels. Whole numbers are centres of pixels; outside is paper."""
    height, width = image.shape
    padded = np.zeros((height + 3, width + 3), np.float32)  # a border of paper: a position may lie outside
    padded[1:-2, 1:-2] = image
    x_HX, y_HX = (np.clip(at + 1, 0, size + 1).astype(np.float32) for at, size in ((x_HX, width), (y_HX, height)))
    column_HX, row_HX = x_HX.astype(np.intp), y_HX.astype(np.intp)
    right_HX, low_HX = x_HX - column_HX, y_HX - row_HX
    flat, at_HX = padded.ravel(), row_HX * (width + 3) + column_HX
    above_HX = flat[at_HX] * (1 - right_HX) + flat[at_HX + 1] * right_HX
    at_HX += width + 3
    below_HX = flat[at_HX] * (1 - right_HX) + flat[at_HX + 1] * right_HX
    sampled: Image = np.rint(above_HX + low_HX * (below_HX - above_HX)).astype(np.uint8)
    return sampled
