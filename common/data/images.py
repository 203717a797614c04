"""Read image files of any kind as grey levels."""

# H height, W width

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError, _imaging

from common.errors import TooLargeError, UserError

MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded. This is Pillow's own limit against decompression bombs."""
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM")
"""Formats of images that come as bytes. Their sender may be anybody, and Pillow starts other programs for some formats
that no camera or scanner writes, such as EPS."""
_ORIENTATION = 0x0112  # EXIF


def _silence_libtiff() -> None:
    """Stop libtiff from printing its errors and warnings to stderr.

    libtiff prints from C, so neither `warnings` nor `sys.stderr` can catch the text. It is not needed: Pillow raises an
    error for a file that it cannot read, and `load_image` reports that error. The change applies to the whole process.
    Redirecting stderr around each image would also hide the output of other threads.
    """
    try:
        library = ctypes.CDLL(_imaging.__file__)  # also finds symbols of the libraries that it is linked with
        handlers = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):  # a Pillow without libtiff, or with libtiff inside, as on Windows
        return
    for set_handler in handlers:
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


_silence_libtiff()


@cache
def _formats() -> list[str]:
    """The formats that this Pillow can read, of those that pictures have."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def load_image(source: Path | bytes) -> UInt8[np.ndarray, "H W"]:
    """Read an image as grey levels: white 255, black 0, turned upright. An animation is read as its first frame.

    Args:
        source: path of a file, or the content of a file.

    Raises:
        UserError: the file is missing, is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    with open_image(source) as image:
        return decode_image(image, _name(source))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, turned upright, in pixels. Only its header is read.

    Raises:
        UserError: the file is missing, is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    with open_image(path) as image, naming_errors(path):
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # orientations from 5 on are turned by a quarter
        return image.size[::-1] if image.getexif().get(_ORIENTATION, 1) >= 5 else image.size


@contextmanager
def open_image(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image file and read its header only; see `load_image`."""
    with naming_errors(source):
        image = Image.open(io.BytesIO(source), formats=_formats()) if isinstance(source, bytes) else Image.open(source)
    with image:
        yield image


def decode_image(image: Image.Image, name: str, pixels: int | None = None) -> UInt8[np.ndarray, "H W"]:
    """The present frame of an open image as grey levels, turned upright.

    Args:
        image: the open image.
        name: name of the image in an error message.
        pixels: the most pixels that are decoded; None for `MAX_PIXELS`.

    Raises:
        UserError: the image is damaged, or has more pixels.
    """
    most = MAX_PIXELS if pixels is None else pixels
    if image.width * image.height > most:
        raise TooLargeError(f"{name} has more than {most:,} pixels; crop it or reduce its size")
    with naming_errors(name):
        return grey_levels(ImageOps.exif_transpose(image))


@contextmanager
def naming_errors(source: Path | bytes | str) -> Iterator[None]:
    """Turn what Pillow raises into errors that name the file.

    Args:
        source: path of the file, its content, or the name of the image in an error message.
    """
    name = _name(source)
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise TooLargeError(f"{name} has more than {MAX_PIXELS:,} pixels; crop it or reduce its size") from None
    except FileNotFoundError:
        raise UserError(f"{name} does not exist; name an image file") from None
    except IsADirectoryError:
        raise UserError(f"{name} is a folder; name the image files in it") from None
    except PermissionError:
        raise UserError(f"{name} cannot be read: permission denied; make it readable") from None
    except UnidentifiedImageError:
        empty = isinstance(source, Path) and source.stat().st_size == 0
        what = "is empty" if empty else "is not an image that can be read"
        raise UserError(f"{name} {what}; expected PNG, JPEG, GIF, WebP, TIFF or BMP") from None
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's decoders raise these for damaged files
        raise UserError(
            f"{name} cannot be read ({error}); expected a complete image file, save or copy it again"
        ) from None


def _name(source: Path | bytes | str) -> str:
    return "the image" if isinstance(source, bytes) else str(source)


def grey_levels(image: Image.Image | np.ndarray) -> UInt8[np.ndarray, "H W"]:
    """Convert a Pillow image to grey levels. An array of uint8 with shape (height, width) is returned unchanged.

    Raises:
        UserError: the array has another type or shape, or is empty.
    """
    if not isinstance(image, np.ndarray):
        return _grey(image)
    if image.ndim != 2 or image.dtype != np.uint8 or not image.size:
        raise UserError(
            f"the image is an array of {image.dtype} with shape {image.shape}; expected uint8 grey levels with "
            "shape (height, width), so convert it"
        )
    return image


def _grey(image: Image.Image) -> UInt8[np.ndarray, "H W"]:
    if image.mode.startswith("I;16"):
        return _to_bytes(np.asarray(image).astype(np.float64) / 257)
    if image.mode in ("I", "F"):  # their range is unknown, so the image's own range is used
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
    # if most of the image is transparent, the solid part is ink, else mostly paper; transparent pixels become paper
    paper = (255.0 if level < 128 else 0.0) if solid_HW.mean() < 0.5 else level
    return _to_bytes(paper + (grey_HW - paper) * alpha_HW / 255)


def _to_bytes(levels_HW: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    rounded_HW: UInt8[np.ndarray, "H W"] = np.rint(levels_HW).astype(np.uint8)
    return rounded_HW
