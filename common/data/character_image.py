"""Normalise an image of one character to the size, position and ink of MNIST's images."""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from common.data.threshold import ink_range, otsu
from common.errors import UserError

# MNIST: the longer side of the ink is 20 of 28 pixels
_BOX_SHARE = 20 / 28
# grey levels: an image with less contrast than this is blank. JPEG adds a few grey levels to blank paper.
_LEAST_CONTRAST = 16
# share of full ink: the crop contains all pixels above this. Fainter pixels are grain or the blur of an edge.
_EDGE = 0.2
_ENOUGH = 512  # pixels: an image with a longer side is reduced first


def to_character(image_HW: UInt8[np.ndarray, "H W"], height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Normalise an image of one character in the way MNIST was prepared.

    The image is cropped to its ink. The longer side of the ink is scaled to 20/28 of the result, and the aspect ratio
    is kept. The centre of mass moves to the pixel where MNIST has it.

    Args:
        image_HW: grey levels, dark ink on light paper or light ink on dark paper. Ink is the part, dark or light,
            that covers less of the image and of its border.
        height: height of the result, pixels.
        width: width of the result, pixels.

    Returns:
        Ink 255 on paper 0.

    Raises:
        UserError: the image has no ink.
    """
    # more pixels only add grain and time
    reduction = max(1, max(image_HW.shape) // _ENOUGH)
    ink_HW = _ink(np.asarray(Image.fromarray(image_HW).reduce(reduction)))
    mask_HW = ink_HW > _EDGE
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    cropped_HW = ink_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(height * _BOX_SHARE / cropped_HW.shape[0], width * _BOX_SHARE / cropped_HW.shape[1])
    tall, wide = (max(1, round(side * scale)) for side in cropped_HW.shape)
    picture = Image.fromarray(np.rint(255 * cropped_HW).astype(np.uint8))
    small_HW = np.asarray(picture.resize((wide, tall), Image.Resampling.LANCZOS))
    out_HW = np.zeros((height, width), dtype=np.uint8)
    top, left = _corner(small_HW, height, width)
    out_HW[top : top + tall, left : left + wide] = small_HW
    return out_HW


def _corner(small_HW: UInt8[np.ndarray, "H W"], height: int, width: int) -> tuple[int, int]:
    """Row and column of the upper left corner that puts the centre of mass in pixel 14 of 28, if the ink has room."""
    mass_HW = small_HW.astype(np.float64) / max(small_HW.sum(), 1)
    corner = []
    for side, mass, room in zip(
        (height, width), (mass_HW.sum(axis=1), mass_HW.sum(axis=0)), small_HW.shape, strict=True
    ):
        centre = (np.arange(room) + 0.5) @ mass
        corner.append(int(np.clip(round(side / 2 + 0.5 - centre), 0, side - room)))
    return corner[0], corner[1]


def _ink(image_HW: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Ink from 0 (paper and its grain) to 1."""
    height, width = image_HW.shape
    if int(image_HW.max()) - int(image_HW.min()) < _LEAST_CONTRAST:
        raise UserError(
            f"the image ({height}×{width} pixels) is blank; expected one character in ink darker or lighter than the "
            "paper, so use another image"
        )
    light_HW = image_HW > otsu(image_HW)
    border = np.concatenate([light_HW[0], light_HW[-1], light_HW[:, 0], light_HW[:, -1]])
    # the border counts too, because a bold character in a tight crop may cover more than the paper
    ink_is_light = light_HW.mean() + border.mean() < 1
    is_ink_HW = light_HW if ink_is_light else ~light_HW
    levels_HW = image_HW.astype(np.float64) if ink_is_light else 255.0 - image_HW
    floor, full = ink_range(levels_HW, is_ink_HW, percentile=90)
    ink_HW: Float[np.ndarray, "H W"] = np.clip((levels_HW - floor) / (full - floor), 0, 1)
    return ink_HW
