"""Prepared lines: kept in the user's cache, and read from there one by one, because they may not fit in memory."""

# N examples, H height, W width

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from common.data.dataset import Refused
from common.data.download import cache_folder
from common.data.lines import Image, LineSplit
from common.errors import UserError
from common.terminal import progress_bar

_FORMAT = 1  # of the two files
_INK = "ink.bin"  # the bytes of all images, one after the other, each row by row
_INDEX = "index.json"  # everything else, and the checksum of the ink
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, ready for training."""

    image: Image
    """Ink 255 on paper 0. All lines of a data set have one height."""
    text: str
    name: str
    """Name of the line in messages."""
    group: str
    """Its writer or its page. The lines of a group are all in one split."""
    clipped: bool = False
    """Whether it reached outside its page and was cut off at the edge."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Prepared lines, in the order in which they were made."""

    lines: LineSplit
    """Their writers are indices of `groups`."""
    groups: tuple[str, ...]
    refused: tuple[Refused, ...]
    clipped: tuple[str, ...] = ()
    """Names of the lines that were cut off at the edge of their page."""


def file_states(folder: Path, paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name relative to `folder`, size in bytes and time of change in nanoseconds of each file, for `prepare`."""
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in paths]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def prepare(
    name: str, state: object, make: Callable[[], Iterator[Line | Refused]], *, total: int | None = None
) -> Prepared:
    """The lines that `make` yields, from the cache if they were prepared before.

    Args:
        name: name of the data set.
        state: everything that the lines depend on, as JSON can write it: `file_states`, height, version of the code.
        make: makes the lines. It is called only if the cache does not have them, or has them damaged.
        total: number of lines that `make` yields, if known; the progress bar then shows the remaining time.

    Raises:
        UserError: the cache cannot be written, or `make` raised it. Then nothing is kept.
    """
    content = json.dumps([_FORMAT, state], sort_keys=True)
    folder = cache_folder() / "prepared" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    known = _open(folder)
    if known is not None:
        return known
    with _writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
    try:
        made = scratch / "made"
        _write(made, _shown(f"preparing {name}", make(), total))
        prepared = _open(made)
        assert prepared is not None, "lines that were just written are complete"
        with _writing(folder.parent):
            _publish(made, folder, scratch / "damaged")
        return prepared  # its file is open: another process may now move the folder
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write prepared lines to {folder} ({error.strerror}); make it writable with room for them, "
            "or set XDG_CACHE_HOME to a folder that is"
        ) from None


def _write(folder: Path, lines: Iterator[Line | Refused]) -> None:
    """Write the two files. The ink of each line is written before the next line is made."""
    height = checksum = 0
    group_of: dict[str, int] = {}
    index: dict[str, list[Any]] = {key: [] for key in ("widths", "texts", "names", "writers", "refused", "clipped")}
    with _writing(folder.parent):
        folder.mkdir()
        file = (folder / _INK).open("wb")
    with file:
        for line in lines:  # outside `_writing`: an OSError in making a line is not one in writing it
            if isinstance(line, Refused):
                index["refused"].append([line.name, line.reason])
                continue
            height = height or len(line.image)
            assert (str(line.image.dtype), len(line.image)) == ("uint8", height), line.name
            ink = line.image.tobytes()
            checksum = zlib.crc32(ink, checksum)
            with _writing(folder.parent):
                file.write(ink)
            index["widths"].append(line.image.shape[1])
            index["texts"].append(line.text)
            index["names"].append(line.name)
            if line.clipped:
                index["clipped"].append(line.name)
            index["writers"].append(group_of.setdefault(line.group, len(group_of)))
        with _writing(folder.parent):
            _sync(file.fileno(), file.flush)
    with _writing(folder.parent), (folder / _INDEX).open("w", encoding="utf-8") as out:
        json.dump({"height": height, "checksum": checksum, "groups": list(group_of)} | index, out)
        _sync(out.fileno(), out.flush)


def _sync(descriptor: int, flush: Callable[[], None]) -> None:
    # without it, a power failure could leave empty files in the renamed folder
    flush()
    os.fsync(descriptor)


def _publish(made: Path, folder: Path, damaged: Path) -> None:
    """Rename `made` to `folder`, unless another process has prepared the same lines in the meantime."""
    for _ in range(2):
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        if _open(folder) is not None:
            return
        try:
            folder.rename(damaged)
        except FileNotFoundError:  # another process has moved it away
            continue


def _open(folder: Path) -> Prepared | None:
    """The prepared lines in the folder; None if there are none, or if they are damaged."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        file = (folder / _INK).open("rb", buffering=0)
    except (OSError, ValueError):
        return None
    images = StoredImages(file, index["height"], np.array(index["widths"], dtype=np.int64))
    if images.checksum() != index["checksum"]:
        return None
    lines = LineSplit(
        images=images,
        widths_N=images.widths_N,
        texts=index["texts"],
        names=index["names"],
        writers_N=np.array(index["writers"], dtype=np.int64),
    )
    refused = tuple(Refused(name=name, reason=reason) for name, reason in index["refused"])
    clipped = tuple(index.get("clipped", ()))  # lines that were prepared by an earlier version have no list
    return Prepared(lines=lines, groups=tuple(index["groups"]), refused=refused, clipped=clipped)


class StoredImages(Sequence[Image]):
    """Images in an open file. Each is read on demand, by any number of threads at once.

    The file is not a memory map: the pages of a map count as this process's memory, so its peak would grow by the size
    of the file. The images are not read with `os.pread`, because Windows lacks it.

    Args:
        file: a file opened for reading bytes. It is closed with the last reference to the images.
        height: height of every image, pixels.
        widths_N: width of each image, pixels, in the order of the file.
    """

    def __init__(self, file: FileIO, height: int, widths_N: Int[np.ndarray, "N"]) -> None:
        self.widths_N: Int[np.ndarray, "N"] = widths_N
        self._file = file
        self._lock = threading.Lock()  # the threads share the file's position
        self._height = height
        self._ends_N: Int[np.ndarray, "N"] = np.cumsum(widths_N) * height
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return len(self.widths_N)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # no slices
        width, end = int(self.widths_N[index]), int(self._ends_N[index])
        size = self._height * width
        return np.frombuffer(self._read(size, end - size), np.uint8).reshape(self._height, width)

    def checksum(self) -> int:
        """CRC-32 of the whole file."""
        checksum = start = 0
        while chunk := self._read(_CHUNK, start):
            checksum, start = zlib.crc32(chunk, checksum), start + len(chunk)
        return checksum

    def _read(self, size: int, start: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


def _shown(title: str, lines: Iterator[Line | Refused], total: int | None) -> Iterator[Line | Refused]:
    """The same lines. On a terminal, a progress bar shows the remaining time."""
    with progress_bar() as bar:
        yield from lines if bar is None else bar.track(lines, total=total, description=title)
