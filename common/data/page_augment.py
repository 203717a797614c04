"""Augmentation of pages: random changes that keep their lines.

A page is turned, scaled, stretched and cropped. Its ink gets fainter or darker, and the image blurred or noisy. The
writing of another page may show through, as on thin paper; it has no lines to find.
"""

# H height, W width; a point is (x, y) in pixels of the page image, from its upper left corner

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from common.data.xml_pages import Points

Levels = UInt8[np.ndarray, "H W"]
Other = UInt8[np.ndarray, "_ _"]

SMALLEST, LARGEST = 0.6, 1.5
"""Scales of a page: a photo may show a page with much around it, or a part of one."""
_TURN = np.deg2rad(3.0)  # largest rotation
_STRETCH = 0.1  # logarithm of the largest ratio between the scales of columns and rows


@dataclass(frozen=True, kw_only=True)
class Change:
    """A random change of a page's geometry: the new position of a point is `matrix_22 @ point + shift_2`."""

    size: tuple[int, int]
    """Rows and columns of the result, pixels."""
    matrix_22: Float[np.ndarray, "2 2"]
    shift_2: Float[np.ndarray, "2"]

    def points(self, points: Points) -> Points:
        """The new positions of points."""
        moved: Points = points @ self.matrix_22.T + self.shift_2
        return moved

    def image(self, image_HW: Levels) -> UInt8[np.ndarray, "_ _"]:
        """The changed image; paper where the page has ended."""
        inverse = np.linalg.inv(self.matrix_22)
        offset = -inverse @ self.shift_2
        coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
        rows, columns = self.size
        return np.asarray(
            Image.fromarray(image_HW).transform(
                (columns, rows), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
            )
        )


def random_change(size: tuple[int, int], largest: tuple[int, int], rng: np.random.Generator) -> Change:
    """Turn, scale, stretch and crop a page at random.

    Args:
        size: rows and columns of the page, pixels.
        largest: rows and columns of the largest result. A page that has become smaller keeps its own size.
        rng: source of the random numbers. Every call draws the same number of them.
    """
    turn, size_log, stretch, shear, down, right = rng.random(6)
    scale = SMALLEST * (LARGEST / SMALLEST) ** size_log
    across = scale * np.exp(_STRETCH * (stretch - 0.5))
    angle = _TURN * (2 * turn - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix_22 = np.array([[cos, -sin], [sin, cos]]) @ np.array([[across, 0.1 * (shear - 0.5) * scale], [0, scale]])
    tall, wide = size
    corners = np.array([(0, 0), (wide, 0), (wide, tall), (0, tall)]) @ matrix_22.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = np.array(largest[::-1]) - (high - low)
    # a larger page is cut at random, a smaller one gets no paper around it
    start = low + np.where(room < 0, -room * (right, down), 0)
    rows, columns = (
        int(min(limit, max(1, np.ceil(extent)))) for limit, extent in zip(largest, (high - low)[::-1], strict=True)
    )
    return Change(size=(rows, columns), matrix_22=matrix_22, shift_2=-start)


def crop(size: tuple[int, int], largest: tuple[int, int], rng: np.random.Generator) -> Change:
    """Crop a page at random, without any other change; the arguments are those of `random_change`."""
    rows, columns = (min(there, limit) for there, limit in zip(size, largest, strict=True))
    down, right = (int(rng.integers(there - kept + 1)) for there, kept in zip(size, (rows, columns), strict=True))
    return Change(size=(rows, columns), matrix_22=np.eye(2), shift_2=np.array([-right, -down], dtype=np.float64))


def change_ink(image_HW: Levels, through_HW: Other | None, rng: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
    """Change ink, sharpness and grain of a page at random.

    Args:
        image_HW: ink 255 on paper 0.
        through_HW: another page, whose writing shows through, mirrored; None for no such page.
        rng: source of the random numbers.
    """
    shows, blurs, grains = rng.random(3) < (0.25, 0.3, 0.5)
    opacity, sharpness, gain, gamma, grain = rng.random(5)
    if through_HW is not None and shows:
        image_HW = np.maximum(
            image_HW, _covering(through_HW[:, ::-1], image_HW.shape) * np.float32(0.1 + 0.35 * opacity)
        )
    picture = Image.fromarray(np.asarray(image_HW, dtype=np.uint8))
    if blurs:
        picture = picture.filter(ImageFilter.GaussianBlur(float(0.4 + 0.8 * sharpness)))
    levels = np.linspace(0, 1, 256) ** np.exp(0.7 * (gamma - 0.5)) * (0.45 + 0.85 * gain) * 255
    changed = levels.astype(np.float32)[np.asarray(picture)]
    if grains:
        changed = changed + rng.standard_normal(changed.shape, dtype=np.float32) * np.float32(14 * grain)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _covering(image_HW: Other, size: Sequence[int]) -> UInt8[np.ndarray, "_ _"]:
    """The upper left part of the image in this size, with paper where the image has ended."""
    rows, columns = size
    part = image_HW[:rows, :columns]
    return np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1])))
