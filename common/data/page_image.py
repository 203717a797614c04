"""The image of a page as the finder of lines sees it: ink on paper, at one size."""

# H height, W width

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from common.data.pages import page_darkness

Levels = UInt8[np.ndarray, "H W"]


def page_scale(size: tuple[int, int], side: int) -> float:
    """Pixels of the page image per pixel of the picture.

    Args:
        size: width and height of the picture, pixels.
        side: the page image has about side² pixels.
    """
    return side / math.sqrt(size[0] * size[1])


def page_image(picture_HW: Levels, side: int) -> tuple[UInt8[np.ndarray, "_ _"], float]:
    """Scale a picture of a page to about side² pixels, and make it independent of the level of its paper.

    The picture is scaled first: the level of the paper takes much longer to find in a large picture, and is the same.

    Args:
        picture_HW: grey levels of the page; dark ink on light paper, or the reverse.
        side: see `UNetSpec.side`.

    Returns:
        The page image, ink 255 on paper 0, with the aspect ratio of the picture; and the scale. A point (x, y) of the
        picture is the point (x * scale, y * scale) of the page image.
    """
    height, width = picture_HW.shape
    scale = page_scale((width, height), side)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(picture_HW).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return page_darkness(np.asarray(picture)), scale
