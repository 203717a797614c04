"""Any image file a person has, brought to the form that characters have in the data."""

# H height, W width

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import UserError

# MNIST: the longer side of the ink is 20 of 28 pixels
_BOX_SHARE = 20 / 28
# below this difference between darkest and lightest an image is taken to be blank: JPEG leaves a few grey levels
_LEAST_CONTRAST = 16
# the ink is cropped where it is darker than this share of full ink: fainter is grain or the blur of an edge
_EDGE = 0.2
_ENOUGH = 512  # pixels of the longer side; a larger image is reduced first


def load_image(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The image as grey levels, upright, white 255 on black 0; of an animation the first frame.

    Raises:
        UserError: the file is missing, no image, damaged, or has so many pixels that it must be a decompression bomb.
    """
    try:
        with warnings.catch_warnings():
            # Pillow judges the size by the header, before it decodes anything
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _grey(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; expected one character, crop or reduce the image"
        ) from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name an image file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the image files in it") from None
    except UnidentifiedImageError:
        what = "is empty" if path.stat().st_size == 0 else "is no image that can be read"
        raise UserError(f"{path} {what}; expected PNG, JPEG, GIF, WebP, TIFF or BMP") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise for damaged files
        raise UserError(
            f"{path} cannot be read ({error}); expected a whole image file, save or copy it again"
        ) from None


def _grey(image: Image.Image) -> UInt8[np.ndarray, "H W"]:
    if image.mode.startswith("I;16"):
        return _to_bytes(np.asarray(image).astype(np.float64) / 257)
    if image.mode in ("I", "F"):  # no known range
        levels_HW = np.nan_to_num(np.asarray(image).astype(np.float64))
        low, high = levels_HW.min(), levels_HW.max()
        return _to_bytes(255 * (levels_HW - low) / max(high - low, 1e-9))
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    grey_HW, alpha_HW = np.moveaxis(np.asarray(image.convert("RGBA").convert("LA")).astype(np.float64), 2, 0)
    solid_HW = alpha_HW >= 128
    if not solid_HW.any():
        return np.zeros(grey_HW.shape, dtype=np.uint8)
    level = float(np.median(grey_HW[solid_HW]))
    # mostly transparent: what is solid is the ink, and the paper its opposite; else the paper shows through
    paper = (255.0 if level < 128 else 0.0) if solid_HW.mean() < 0.5 else level
    return _to_bytes(paper + (grey_HW - paper) * alpha_HW / 255)


def _to_bytes(levels_HW: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    rounded_HW: UInt8[np.ndarray, "H W"] = np.rint(levels_HW).astype(np.uint8)
    return rounded_HW


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
    picture = Image.fromarray(_to_bytes(255 * cropped_HW))
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


def otsu(image_HW: UInt8[np.ndarray, "H W"]) -> int:
    """The level that divides dark from light with the least variance on both sides (Otsu 1979)."""
    counts = np.bincount(image_HW.ravel(), minlength=256).astype(np.float64)
    below, moment = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    between = (moment[-1] * below - moment * below[-1]) ** 2 / np.maximum(below * above, 1)
    return int(np.argmax(between))
