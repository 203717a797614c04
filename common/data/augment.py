"""Changes to a line that leave its text alone: another slant, pen, width, ink and a bent base line.

Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks applied to visual document
analysis", for the bends; Wigington et al. 2017, "Data augmentation for recognition of handwritten words and lines".
"""

# H height, W width, V new width

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image as pillow
from PIL import ImageFilter

from common.data.lines import Image

NARROWEST, WIDEST = 0.85, 1.2
"""Share of its width that a line may be pressed or stretched to."""
_INK = 64  # darker than this counts as ink


def augment_line(image: Image, rng: np.random.Generator, width: int) -> Image:
    """The line with another pen, shape and ink, all drawn by `rng`; its height is kept.

    Args:
        image: uint8, ink 255 on paper 0.
        rng: what to draw from; a fixed number of draws whatever is done.
        width: most columns of the result, at least the image's own; it has at least `NARROWEST` of those too.
    """
    geometry, pen, ink = rng.random(3) < (0.8, 0.5, 0.5)
    drawn_11 = rng.uniform(-1, 1, 11)
    thicker, gain, gamma = rng.uniform(-1, 1, 3)
    if pen:
        image = _change_pen(image, thicker)
    if geometry:
        image = _remap(image, drawn_11, width)
    if ink:
        levels = np.linspace(0, 1, 256) ** np.exp(0.4 * gamma) * (0.8 + 0.2 * gain) * 255
        image = np.rint(levels).astype(np.uint8)[image]
    return image


def _change_pen(image: Image, thicker: float) -> Image:
    """Towards the grey dilation of the image (1), or its erosion (-1)."""
    height = len(image)
    side = 2 * max(1, round(height / 48)) + 1
    kind = ImageFilter.MaxFilter if thicker > 0 else ImageFilter.MinFilter
    source = pillow.fromarray(image)
    # eroding a thin stroke whole would take it away
    changed = pillow.blend(source, source.filter(kind(side)), 0.6 * thicker if thicker > 0 else -0.4 * thicker)
    return np.array(changed)


def _remap(image: Image, drawn_11: Float[np.ndarray, "11"], width: int) -> Image:
    """Stretch, shear, rotate, shift and bend, resampled once.

    Every change adds something that depends on the column alone to something that depends on the row alone, so the
    place in the image of each new pixel is an outer sum.
    """
    stretch, shear, tall, turn, shift, wave, wave_length, wave_phase, sway, sway_length, sway_phase = drawn_11
    height, old = image.shape
    unit = height / 28
    # shearing pushes the ends out of the image: room for them, as far as the width goes
    lean = 0.25 * shear
    pad = min(abs(lean) * height / 2, (width - NARROWEST * old) / 2)
    scale = min(1 + (0.2 * stretch if stretch > 0 else 0.15 * stretch), (width - 2 * pad) / old)
    new = int(np.clip(round(scale * old + 2 * pad), np.ceil(NARROWEST * old), width))

    inked = np.flatnonzero((image > _INK).any(axis=1))
    top, bottom = (inked[0], inked[-1] + 1) if len(inked) else (0, height)
    middle = (top + bottom) / 2
    size = min(1 + 0.1 * tall, max(1.0, (height - 1) / (bottom - top)))
    room = max(0.0, (height - size * (bottom - top)) / 2)
    # the middle of the ink, after: as far up or down as leaves the ink inside
    centre = np.clip(middle + 2.5 * unit * shift, height / 2 - room, height / 2 + room)

    x_V = np.arange(new) + 0.5 - new / 2
    y_H = np.arange(height) + 0.5 - centre
    slope = np.clip(3 * unit * turn / old, -0.03, 0.03)  # at most 1.5 pixels up or down at the ends
    period = height * np.exp2(2 + wave_length)
    bend_V = unit * wave * np.sin(2 * np.pi * (x_V / period + wave_phase))
    # nowhere more than an eighth closer together
    sway_period = height * np.exp2(1 + sway_length)
    sway_V = sway * sway_period / (16 * np.pi) * np.sin(2 * np.pi * (x_V / sway_period + sway_phase))
    from_x = (x_V / scale + sway_V + old / 2)[None, :] + (lean * y_H)[:, None]
    from_y = (slope * x_V + bend_V + middle)[None, :] + (y_H / size)[:, None]
    return _sample(image, from_x - 0.5, from_y - 0.5)


def _sample(image: Image, x_HV: Float[np.ndarray, "H V"], y_HV: Float[np.ndarray, "H V"]) -> Image:
    """Bilinear; paper outside the image. Coordinates are in pixels, whole numbers in the middle of one."""
    height, width = image.shape
    padded = np.zeros((height + 3, width + 3), np.float32)  # paper enough for both neighbours of the last place
    padded[1:-2, 1:-2] = image
    x_HV, y_HV = (np.clip(at + 1, 0, size + 1).astype(np.float32) for at, size in ((x_HV, width), (y_HV, height)))
    column_HV, row_HV = x_HV.astype(np.intp), y_HV.astype(np.intp)
    right_HV, low_HV = x_HV - column_HV, y_HV - row_HV
    flat, at_HV = padded.ravel(), row_HV * (width + 3) + column_HV
    above_HV = flat[at_HV] * (1 - right_HV) + flat[at_HV + 1] * right_HV
    at_HV += width + 3
    below_HV = flat[at_HV] * (1 - right_HV) + flat[at_HV + 1] * right_HV
    sampled: Image = np.rint(above_HV + low_HV * (below_HV - above_HV)).astype(np.uint8)
    return sampled
