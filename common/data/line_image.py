"""Normalise the image of a line: level, ink 255 on paper 0, one height, cropped to its ink.

Lines of pages, photos of single lines and drawn lines are normalised in the same way. A model that was trained on one
kind can therefore read the others.
"""

# H height, W width

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from common.data.threshold import ink_range, otsu
from common.errors import UserError

Levels = UInt8[np.ndarray, "H W"]

# grey levels: an image with less contrast than this has no ink. JPEG and grain cause about this much contrast.
_LEAST_CONTRAST = 24
# the crop contains all pixels above this value (of 255). Fainter pixels are grain or the blur of an edge.
_EDGE = 50
# rows kept above and below the middle of the ink, in standard deviations of the ink's rows. The minimum keeps a line
# without tall letters from being enlarged. The maximum keeps one long flourish from shrinking the other letters.
_LEAST_REACH, _MOST_REACH = 2.4, 3.4
MARGIN = 3
"""Paper left and right of the ink of a normalised line, pixels."""
_STRIPS = 8  # vertical strips in which rows of text are counted


def darkness(image_HW: Levels, window: int) -> Levels:
    """How much darker each pixel is than the paper around it: 0 is paper, 255 is black.

    The result is relative to the level of the paper, because a shadow darkens ink and paper by the same factor.

    Args:
        image_HW: dark ink on light paper.
        window: pixels over which the level of the paper is almost constant. Blots must be smaller.
    """
    block = max(1, window // 4)
    height, width = image_HW.shape
    padded_HW = np.pad(image_HW, ((0, -height % block), (0, -width % block)), mode="edge")
    rows, columns = padded_HW.shape[0] // block, padded_HW.shape[1] // block
    blocks = padded_HW.reshape(rows, block, columns, block).swapaxes(1, 2).reshape(rows, columns, -1)
    level = block * block * 7 // 10  # a percentile above the ink and below the brightest grain
    paper = Image.fromarray(np.partition(blocks, level, axis=2)[..., level])
    # blocks full of ink get the level of their neighbours
    paper = paper.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.BoxBlur(1))
    paper_HW = np.asarray(paper.resize((columns * block, rows * block), Image.Resampling.BILINEAR))[:height, :width]
    share_HW = image_HW / np.maximum(paper_HW, np.float32(1))
    return (255 * (1 - np.minimum(share_HW, 1))).astype(np.uint8)


def full_contrast(dark_HW: Levels) -> Levels | None:
    """Stretch the contrast to ink 255 on paper 0 and remove the grain of the paper; None if there is no ink."""
    if dark_HW.size == 0 or int(dark_HW.max()) - int(dark_HW.min()) < _LEAST_CONTRAST:
        return None
    is_ink_HW = dark_HW > otsu(dark_HW)
    floor, full = ink_range(dark_HW, is_ink_HW, percentile=75, faint=0.1)
    ink_HW: Levels = np.clip((dark_HW - floor) * (255 / (full - floor)), 0, 255).astype(np.uint8)
    return ink_HW


def crop_rows(middle: float, spread: float, top: float, bottom: float) -> tuple[float, float]:
    """Upper and lower edge of a line's crop, in rows.

    The crop depends on the standard deviation of the ink's rows. Small letters therefore get about the same size in
    every line, with or without tall letters beside them.

    Args:
        middle: mean of the ink's rows.
        spread: standard deviation of the ink's rows.
        top: upper end of the ink.
        bottom: lower end of the ink.

    Source: the moment-based normalisation of Pesch et al. 2012, "Analysis of preprocessing techniques for Latin
    handwriting recognition".
    """
    above, below = (
        min(max(reach, _LEAST_REACH * spread), _MOST_REACH * spread) for reach in (middle - top, bottom - middle)
    )
    return middle - above, middle + below


def to_height(ink_HW: Levels, height: int) -> UInt8[np.ndarray, "{height} _"] | None:
    """Crop a level line to its ink and scale it to `height` rows with the same aspect ratio; None if it has no ink."""
    dark_HW = np.where(ink_HW > _EDGE, ink_HW, 0)
    rows, columns = np.flatnonzero(dark_HW.any(axis=1)), np.flatnonzero(dark_HW.any(axis=0))
    if not len(rows):
        return None
    share_H = dark_HW.sum(axis=1, dtype=np.float64)
    share_H /= share_H.sum()
    row_H = np.arange(len(share_H)) + 0.5
    middle = float(share_H @ row_H)
    spread = max(float(np.sqrt(share_H @ (row_H - middle) ** 2)), 1.0)
    top, bottom = crop_rows(middle, spread, float(rows[0]), float(rows[-1] + 1))
    scale = height / (bottom - top)
    ends = MARGIN / scale
    left, right = columns[0] - ends, columns[-1] + 1 + ends
    room = int(np.ceil(max(ends, -top, bottom - len(ink_HW), 0))) + 1
    picture = Image.fromarray(np.pad(ink_HW, room))
    box = (left + room, top + room, right + room, bottom + room)
    width = max(1, round((right - left) * scale))
    small_HW = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=box))
    # scaling has made thin strokes fainter
    full = float(np.percentile(small_HW[small_HW > _EDGE], 90)) if (small_HW > _EDGE).any() else 255.0
    line_HW: UInt8[np.ndarray, "{height} _"] = np.clip(small_HW * (255 / full), 0, 255).astype(np.uint8)
    return line_HW


def to_line(image_HW: Levels, height: int) -> UInt8[np.ndarray, "{height} _"]:
    """Normalise an image of one line, dark on light or light on dark, to `height` rows.

    An image that is already normalised and has this height is returned unchanged.

    Raises:
        UserError: the image has no ink.
    """
    if len(image_HW) == height and image_HW.max() > _EDGE and float((image_HW == 0).mean()) > 0.5:
        return image_HW
    line_HW = None
    ink_HW = full_contrast(darkness(_dark_on_light(image_HW), 2 * len(image_HW)))
    if ink_HW is not None:
        line_HW = to_height(ink_HW, height)
    if line_HW is None:
        raise UserError(
            f"the image ({image_HW.shape[0]}×{image_HW.shape[1]} pixels) is blank; expected one line in ink darker or "
            "lighter than the paper, so use another image"
        )
    return line_HW


def rows_of_text(image_HW: Levels) -> int:
    """Count the rows of text in an image. The count cannot reliably distinguish 1 from 2.

    The ink is divided into `_STRIPS` vertical strips, because lines of a page may slope. In each strip, every line is a
    band in the profile of the rows. Bands at the upper and lower edge of the image are not counted, because they are
    parts of neighbouring lines. The result is the median over the strips. If the ink is higher than wide, the result is
    the largest count, because some strips may be empty.

    Measured on 406 lines that were cut out by their boxes from 42 pages of three collections, see docs/log.md.
    """
    height, width = image_HW.shape
    ink_HW = full_contrast(darkness(_dark_on_light(image_HW), min(2 * height, max(16, width // 20))))
    if ink_HW is None:
        return 0
    mask_HW = ink_HW > _EDGE
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not len(rows):
        return 0
    tall, wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    reach = max(1, tall // 60)
    counts = []
    for strip in np.array_split(np.arange(columns[0], columns[-1] + 1), _STRIPS):
        if not len(strip):
            continue
        share_H = np.convolve(mask_HW[:, strip].mean(axis=1), np.ones(reach) / reach, "same")
        if not share_H.any():
            continue
        edges = np.diff((share_H > 0.35 * np.quantile(share_H[share_H > 0], 0.9)).astype(np.int8), prepend=0, append=0)
        bands = list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True))
        mass = [float(share_H[top:bottom].sum()) for top, bottom in bands]
        counts.append(
            sum(
                ink >= max(mass) / 4 and top > 0.02 * height and bottom < 0.98 * height
                for (top, bottom), ink in zip(bands, mass, strict=True)
            )
        )
    if not counts:
        return 0
    return int(max(counts) if tall > wide else np.median(counts))


def _dark_on_light(image_HW: Levels) -> Levels:
    """The image or its negative. Ink is the side of the median, dark or light, with the larger deviations."""
    # in pieces, because the light may change along the line
    pieces = np.array_split(image_HW, max(1, image_HW.shape[1] // len(image_HW)), axis=1)
    skew = sum(float(((piece - np.median(piece)) ** 3).sum()) for piece in pieces)
    return 255 - image_HW if skew > 0 else image_HW
