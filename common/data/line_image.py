"""The form that every line image has: level, ink 255 on paper 0, one height, cropped to its ink.

What a page's lines and a single photo go through is the same, so that a model reads the one after learning from the
other.
"""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from common.data.images import otsu
from common.errors import UserError

Levels = Float[np.ndarray, "H W"]

# grey levels between paper and ink below which there is no ink: JPEG and paper grain leave about so many
LEAST_CONTRAST = 24
# pixels left free on each side of the ink, in the finished line
_MARGIN = 1
_MARGIN_ENDS = 3
# how far the line reaches above and below the middle of its ink, in standard deviations of the ink's rows: at least, so
# that a line without tall letters is not blown up, and at most, so that one flourish does not shrink the rest
_ABOVE = (1.8, 3.4)
_BELOW = (1.8, 3.4)


def darkness(image_HW: UInt8[np.ndarray, "H W"], window: int) -> Levels:
    """How much darker each pixel is than the paper around it, in grey levels.

    Args:
        image_HW: dark ink on light paper.
        window: pixels over which the paper's level may change, larger than a blot is wide.
    """
    block = max(1, window // 4)
    height, width = image_HW.shape
    padded_HW = np.pad(image_HW, ((0, -height % block), (0, -width % block)), mode="edge")
    blocks = padded_HW.reshape(padded_HW.shape[0] // block, block, padded_HW.shape[1] // block, block)
    # ink covers less than half of a block that holds paper, and the largest of the neighbours' mends the others
    paper_HW = np.quantile(blocks, 0.7, axis=(1, 3), method="nearest").astype(np.uint8)
    paper_HW = _smoothed(_largest(paper_HW).astype(np.float32))
    size = (padded_HW.shape[1], padded_HW.shape[0])
    paper_HW = np.asarray(Image.fromarray(paper_HW).resize(size, Image.Resampling.BILINEAR))[:height, :width]
    return np.maximum(paper_HW - image_HW, 0)
