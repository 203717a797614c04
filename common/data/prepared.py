"""Lines prepared once, kept in the user's cache, and read from there one by one, so that memory stays flat."""

# N lines, H height, W width

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

_FORMAT = 1  # of the files below
_INK = "ink.bin"  # the bytes of all images, one image after the other, each row by row
_INDEX = "index.json"  # everything else, and the checksum of the ink
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, ready to be learnt from."""

    image: Image
    """Ink 255 on paper 0; all lines of a preparation have one height."""
    text: str
    name: str
    """What to call it in a message."""
    group: str
    """Its writer, or its page: what must not be in two splits."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Lines in the order in which they were made."""

    lines: LineSplit
    """Its writers are the numbers of the groups."""
    groups: tuple[str, ...]
    refused: tuple[Refused, ...]


def file_states(folder: Path, paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name relative to `folder`, size in bytes and time of change in nanoseconds of each file, for `prepare`."""
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in paths]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def prepare(
    name: str, state: object, make: Callable[[], Iterator[Line | Refused]], *, total: int | None = None
) -> Prepared:
    """The lines that `make` gives, from the cache if they were prepared before.

    Args:
        name: of the data set.
        state: what the lines depend on, in terms that JSON knows: files with their sizes and times, height, version.
        make: makes the lines; called if they are not in the cache, or are damaged there.
        total: how many it will make, where that is known; for the time left.

    Raises:
        UserError: the cache cannot be written, or what `make` raises; then nothing is kept.
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
        assert prepared is not None, "what was just written must be whole"
        with _writing(folder.parent):
            _publish(made, folder, scratch / "damaged")
        return prepared  # from an open file, so whatever another process does to the folder
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
    """The two files, the ink as it comes."""
    height = checksum = 0
    group_of: dict[str, int] = {}
    index: dict[str, list[Any]] = {key: [] for key in ("widths", "texts", "names", "writers", "refused")}
    with _writing(folder.parent):
        folder.mkdir()
        file = (folder / _INK).open("wb")
    with file:
        for line in lines:  # outside `_writing`: an error in making a line is not one in writing it
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
            index["writers"].append(group_of.setdefault(line.group, len(group_of)))
        with _writing(folder.parent):
            _sync(file.fileno(), file.flush)
    with _writing(folder.parent), (folder / _INDEX).open("w", encoding="utf-8") as out:
        json.dump({"height": height, "checksum": checksum, "groups": list(group_of)} | index, out)
        _sync(out.fileno(), out.flush)


def _sync(descriptor: int, flush: Callable[[], None]) -> None:
    # or a power cut could leave the renamed folder with empty files in it
    flush()
    os.fsync(descriptor)


def _publish(made: Path, folder: Path, damaged: Path) -> None:
    """Give `made` its name, unless another process has prepared the same lines meanwhile."""
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
    """What lies in the folder; None if nothing does, or if it is not whole."""
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
    return Prepared(lines=lines, groups=tuple(index["groups"]), refused=refused)


class StoredImages(Sequence[Image]):
    """Images in an open file. Each is read when it is asked for; any number of threads may ask at once.

    Not a memory map: its pages count as this process's memory, so its peak would grow by the size of the file.
    Not `os.pread`: Windows has none.

    Args:
        file: open for reading in bytes. It is closed with the last reference to the images.
        height: rows of every image.
        widths_N: columns of each image, in the order of the file.
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
    """The same lines; on a terminal, with a bar and the time that remains."""
    with progress_bar() as bar:
        yield from lines if bar is None else bar.track(lines, total=total, description=title)
