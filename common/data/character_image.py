"""An image of one character, brought to the form that characters have in MNIST: its size, its place, its ink."""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from common.data.threshold import otsu
from common.errors import UserError

# MNIST: the longer side of the ink is 20 of 28 pixels
_BOX_SHARE = 20 / 28
# an image with less contrast between its darkest and lightest pixel is blank: JPEG leaves a few grey levels
_LEAST_CONTRAST = 16
# the ink is cropped where it is darker than this share of full ink: fainter is grain or the blur of an edge
_EDGE = 0.2
_ENOUGH = 512  # pixels of the longer side; a larger image is reduced first


def to_character(image_HW: UInt8[np.ndarray, "H W"], height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Bring an image of one character to ink 255 on 0, the way MNIST was prepared.

    The ink is cropped, its aspect kept, its longer side scaled to 20/28 of the image, its centre of mass put on the
    pixel that MNIST puts it on. Whichever side of the grey levels covers less of the image and its border is the ink.

    Raises:
        UserError: the image has no ink.
    """
    # a photo's millions of pixels only add grain and time
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
    """Where the upper left corner goes so that the centre of mass lies in pixel 14 of 28, as far as there is room."""
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
            f"the image ({height}×{width} pixels) is blank; expected one character in ink that differs from its paper"
        )
    light_HW = image_HW > otsu(image_HW)
    border = np.concatenate([light_HW[0], light_HW[-1], light_HW[:, 0], light_HW[:, -1]])
    # the border decides, for a bold character cropped tightly may cover more than its paper
    ink_is_light = light_HW.mean() + border.mean() < 1
    is_ink_HW = light_HW if ink_is_light else ~light_HW
    levels_HW = image_HW.astype(np.float64) if ink_is_light else 255.0 - image_HW
    # the edges of strokes only lift the paper's levels, so its grain shows in how far they fall below their median
    low, paper = np.percentile(levels_HW[~is_ink_HW], (5, 50))
    full = np.percentile(levels_HW[is_ink_HW], 90)
    floor = min(paper + 2 * (paper - low), (paper + full) / 2)
    ink_HW: Float[np.ndarray, "H W"] = np.clip((levels_HW - floor) / (full - floor), 0, 1)
    return ink_HW
