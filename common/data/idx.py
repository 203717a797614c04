"""IDX files, the format of MNIST and EMNIST: a header with the shape, then the bytes.

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

# N examples, H height, W width

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from common.data.characters import CharacterSplit
from common.errors import UserError

SIZE = 28
_UNSIGNED_BYTES = 0x08
# four times the largest known file (EMNIST byclass, 547 MB): a gzip bomb must not fill the memory
_MOST_BYTES = 1 << 31
_CHUNK = 1 << 20


def find_idx(folder: Path, name: str) -> Path | None:
    """The path of a file in `folder`, plain or gzip, spelt `-idx3-ubyte` or `.idx3-ubyte`; None if it is missing."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelling, folder / f"{spelling}.gz"):
            if path.exists():
                return path
    return None


def read_idx(path: Path, *, dims: int) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, plain or gzip.

    Args:
        path: the file.
        dims: number of the array's dimensions.

    Raises:
        UserError: the file is missing, cannot be read, is not such an IDX file, or is shorter or longer than its header
            says.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                return _read(raw, path, dims)
            with gzip.GzipFile(fileobj=raw) as file:
                return _read(file, path, dims)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; put the IDX file there, plain or as .gz") from None
    except EOFError:
        raise UserError(f"{path} breaks off in the middle of its gzip data; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is corrupt gzip ({error}); copy or download it again") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; expected an IDX file that you have permission to read"
        ) from None


def _read(file: io.BufferedIOBase, path: Path, dims: int) -> UInt8[np.ndarray, "..."]:
    length = 4 + 4 * dims
    header = file.read(length)
    magic = bytes((0, 0, _UNSIGNED_BYTES, dims))
    if header[:4] != magic:
        raise UserError(
            f"{path} starts with {header[:4].hex() or 'nothing'}; an IDX file of unsigned bytes in {dims} dimensions "
            f"starts with {magic.hex()}; check that it is the right file"
        )
    if len(header) < length:
        raise UserError(f"{path} ends inside its header, after {len(header)} of {length} bytes; copy it again")
    shape = struct.unpack(f">{dims}I", header[4:])
    expected = math.prod(shape)
    sizes = "×".join(map(str, shape))
    if expected > _MOST_BYTES:
        raise UserError(
            f"{path} says it holds {sizes} bytes, more than {_MOST_BYTES:,}; its header must be corrupt, copy it again"
        )
    # read in chunks and allocate only for bytes that exist: the header may be wrong
    content = bytearray()
    while len(content) <= expected and (chunk := file.read(min(_CHUNK, expected + 1 - len(content)))):
        content += chunk
    if len(content) < expected:
        raise UserError(
            f"{path} holds {len(content):,} bytes after its header of {sizes} = {expected:,}; copy it again"
        )
    if len(content) > expected:
        raise UserError(
            f"{path} holds more than the {expected:,} bytes ({sizes}) of its header; "
            "the file or its header is damaged, copy it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def write_idx(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write `array` as an IDX file; as gzip if the name ends in .gz."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, _UNSIGNED_BYTES, array.ndim, *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_characters(folder: Path, part: str, class_of: Mapping[int, int]) -> CharacterSplit:
    """Read the images and labels in `PART-images-idx3-ubyte` and `PART-labels-idx1-ubyte`.

    Args:
        folder: the folder with the two files.
        part: start of their names.
        class_of: the class of each valid label.

    Raises:
        UserError: a file is missing or damaged, the numbers of images and labels differ, a label has no class, or the
            images are not 28×28.
    """
    images_path, labels_path = (
        find_idx(folder, name) or folder / name for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    )
    images_NHW = read_idx(images_path, dims=3)
    labels_N = read_idx(labels_path, dims=1)
    if images_NHW.shape[1:] != (SIZE, SIZE):
        height, width = images_NHW.shape[1:]
        raise UserError(
            f"{images_path} holds images of {height}×{width} pixels; expected {SIZE}×{SIZE}, use other files"
        )
    if len(images_NHW) != len(labels_N):
        raise UserError(
            f"{images_path} holds {len(images_NHW):,} images but {labels_path.name} {len(labels_N):,} labels; "
            "expected one label per image, check that both files belong together"
        )
    if not len(labels_N):
        raise UserError(f"{images_path} holds no images; expected at least one, use another file")
    return CharacterSplit(images_NHW=images_NHW, labels_N=_classes(labels_N, labels_path, class_of))


def _classes(labels_N: UInt8[np.ndarray, "N"], path: Path, class_of: Mapping[int, int]) -> Int[np.ndarray, "N"]:
    table = np.full(256, -1, dtype=np.int64)
    table[list(class_of)] = list(class_of.values())
    classes_N: Int[np.ndarray, "N"] = table[labels_N]
    if classes_N.min() < 0:
        index = int(np.argmin(classes_N))
        raise UserError(
            f"{path}: label {index} is {labels_N[index]}; expected {min(class_of)} to {max(class_of)}; "
            "check that the file belongs to this data set"
        )
    return classes_N
