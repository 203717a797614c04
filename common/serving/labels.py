"""Labels: a folder of pictures whose lines a person corrects, kept as ALTO beside each picture.

A save first writes the new state to the history, then renames it over the file beside the picture. After a crash at
any moment, the file is therefore the old one or the new one, and both are in the history. A file that another program
wrote goes to the history before it is replaced.
"""

# H height, W width

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from common.atomic import write_atomically
from common.data.page_files import page_size
from common.data.xml_pages import read_page
from common.errors import UserError
from common.reading.formats import Source, alto
from common.reading.page import PageLine, PageReading
from common.serving.label_files import LabelPage, find_label_pages
from common.serving.label_lines import NO_CONFIDENCE, place, read_lines

State = Literal["new", "corrected"]

HIDDEN = ".fourhands"
"""Subfolder for the history and the lock. Readers of the folder skip names that begin with a dot."""
_AS_IT_IS = {"JPEG": "image/jpeg", "PNG": "image/png"}
"""Formats that every browser shows."""
_COLOURS = ("RGB", "P", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # EXIF
_QUALITY = 92  # of JPEG


class LabelError(UserError):
    """An error of the store, with the kind of the problem that a client is told."""

    kind: ClassVar[str]


class UnknownPageError(LabelError):
    """No page has this id."""

    kind = "not-found"


class VanishedError(LabelError):
    """The picture of a page is no longer there."""

    kind = "gone"


class ChangedError(LabelError):
    """Somebody saved the page, or replaced its picture, since the version that the client has."""

    kind = "changed-meanwhile"


class NotSavedError(LabelError):
    """The folder could not be written."""

    kind = "not-saved"


@dataclass(frozen=True, kw_only=True)
class SavedPage:
    """The present state of a page on disk."""

    size: tuple[int, int]
    """Width and height of the picture, turned upright, pixels."""
    version: str
    """Changes with the file of the lines and with the picture."""
    lines: tuple[PageLine, ...] | None
    """None if the page has no file yet."""

    @property
    def state(self) -> State:
        """Whether the page has a file."""
        return "new" if self.lines is None else "corrected"


class Labels:
    """The pages of a folder, by index in the order of their names.

    Args:
        folder: the folder; it can be written.
        pages: its pages.
        left_out: sentences about files that are no pages.
    """

    def __init__(self, folder: Path, pages: Sequence[LabelPage], left_out: Sequence[str] = ()) -> None:
        self.folder = folder
        self.pages = tuple(pages)
        self.left_out = tuple(left_out)
        self._lock = threading.Lock()
        self._counts: dict[int, tuple[tuple[int, int], int]] = {}

    @classmethod
    def open(cls, folder: Path) -> Labels:
        """Find the pictures of a folder and its subfolders, without hidden ones.

        Raises:
            UserError: the folder cannot be used, see `find_label_pages`, or it cannot be written.
        """
        labels = cls(folder, *find_label_pages(folder))
        with labels._exclusively():  # also proves that the folder can be written
            labels._remove_leftovers()
        return labels

    def __len__(self) -> int:
        return len(self.pages)

    def page(self, page_id: str) -> LabelPage:
        """The page with this id.

        Raises:
            UnknownPageError: there is none.
        """
        return self.pages[self._index(page_id)]

    def listing(self) -> list[dict[str, Any]]:
        """Id, name, state and number of lines of each page; `lines` is None if the page has no file yet."""
        return [self._row(index, page) for index, page in enumerate(self.pages)]

    def saved(self, page_id: str) -> SavedPage:
        """The state of a page on disk.

        Raises:
            VanishedError: its picture is gone.
            UserError: the picture or the file cannot be read, or do not belong together.
        """
        return self._saved(self.page(page_id))

    def original(self, page_id: str) -> bytes:
        """The content of the picture's file.

        Raises:
            VanishedError: its picture is gone.
        """
        page = self.page(page_id)
        _state_of(page)
        return page.picture.read_bytes()

    def picture(self, page_id: str) -> tuple[bytes, str]:
        """The picture as a browser shows it: upright, as JPEG or PNG; and its media type.

        Raises:
            VanishedError: its picture is gone.
            UserError: it cannot be read.
        """
        from PIL import Image, ImageOps

        from common.data.images import decode_image, image_size, naming_errors, open_image

        page = self.page(page_id)
        _state_of(page)
        image_size(page.picture)  # refuses more pixels than are decoded
        with open_image(page.picture) as image, naming_errors(page.picture):
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            if upright and image.format in _AS_IT_IS and image.mode in ("L", "RGB"):
                return page.picture.read_bytes(), _AS_IT_IS[image.format]
            if image.mode in _COLOURS and not image.has_transparency_data:
                shown = ImageOps.exif_transpose(image).convert("RGB")
            else:
                shown = Image.fromarray(decode_image(image, page.name))
            out = BytesIO()
            shown.save(out, "JPEG", quality=_QUALITY)
            return out.getvalue(), "image/jpeg"

    def save(self, page_id: str, version: str, given: Any) -> SavedPage:
        """Keep the lines of a page.

        Args:
            page_id: see `listing`.
            version: the version that the person corrected.
            given: the lines, see `read_lines`.

        Returns:
            The new state.

        Raises:
            ChangedError: the version is not the present one.
            VanishedError: the picture is gone.
            NotSavedError: the folder cannot be written; what was saved before is kept.
            UserError: a line that cannot be used.
        """
        from common.data.images import load_image

        page = self.page(page_id)
        before = self._saved(page)
        if before.version != version:  # before any work; the next look, under the lock, decides
            raise _changed(page)
        lines = read_lines(given, before.size, lambda: load_image(page.picture))
        width, height = before.size
        reading = PageReading(size=before.size, lines=lines, confidence=NO_CONFIDENCE)
        nothing = np.zeros((0, 0), np.uint8)  # ALTO names the picture and does not hold it
        content = alto.render(reading, Source(image=page.picture.name, picture_HW=nothing))
        assert (width, height) == reading.size
        with self._lock, self._exclusively():
            if _version(page) != version:
                raise _changed(page)
            self._keep(page, content)
            return self._saved(page)

    # --- files
    def _index(self, page_id: str) -> int:
        if re.fullmatch("[0-9]{1,9}", page_id) and int(page_id) < len(self.pages):
            return int(page_id)
        raise UnknownPageError(
            f"no page has the id {page_id[:20]!r}; expected a number below {len(self.pages)}, see /v1/label/pages"
        )

    def _saved(self, page: LabelPage) -> SavedPage:
        from common.data.images import image_size

        version = _version(page)
        if not page.file.is_file():
            return SavedPage(size=image_size(page.picture), version=version, lines=None)
        content = read_page(page.file)
        size = page_size(page.file, content)
        lines = tuple(place(line.text, line.baseline, line.outline) for line in content.lines)
        return SavedPage(size=size, version=version, lines=lines)

    def _row(self, index: int, page: LabelPage) -> dict[str, Any]:
        row = {"id": str(index), "name": page.name, "state": "new", "lines": None}
        try:
            stat = page.file.stat()
        except OSError:
            return row
        state = (stat.st_size, stat.st_mtime_ns)
        known = self._counts.get(index)
        if known is None or known[0] != state:
            try:
                known = state, len(read_page(page.file).lines)
            except UserError:  # asking for the page says why
                known = state, 0
            self._counts[index] = known
        return row | {"state": "corrected", "lines": known[1]}

    def _keep(self, page: LabelPage, content: bytes) -> None:
        """Write a state to the history, then to the file beside the picture."""
        present = page.file.read_bytes() if page.file.is_file() else None
        if present == content:
            return
        try:
            history = self._history(page)
            numbers = _numbers(history)
            last = (history / _numbered(numbers[-1])).read_bytes() if numbers else None
            number = numbers[-1] if numbers else 0
            for state in (present, content):  # the first is of another program, or from a crash between two renames
                if state is not None and state != last:
                    number, last = number + 1, state
                    write_atomically(history / _numbered(number), state)
            write_atomically(page.file, content)
        except (OSError, UserError) as error:
            reason = str(error) if isinstance(error, UserError) else f"cannot write {error.filename}: {error.strerror}"
            raise NotSavedError(f"{page.name} was not saved ({reason}); what was saved before is kept") from None

    def _history(self, page: LabelPage) -> Path:
        return _made(self.folder / HIDDEN / "history" / page.file.relative_to(self.folder).with_suffix(""))

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Hold the lock of the folder, so that two servers of one folder do not save at once."""
        try:
            lock = (_made(self.folder / HIDDEN) / "lock").open("ab")
        except OSError as error:
            raise NotSavedError(
                f"cannot write in {self.folder} ({error.strerror}); corrections are kept there, so make it writable"
            ) from None
        with lock:
            if os.name == "posix":
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)  # freed with the file
            yield

    def _remove_leftovers(self) -> None:
        """Remove what a crash in the middle of a write left behind. Call it with the lock held."""
        for page in self.pages:
            pattern = re.compile(rf"\.{re.escape(page.file.name)}\.[a-z0-9_]{{8}}")
            for path in page.file.parent.glob(f".{_escaped(page.file.name)}.*"):
                if pattern.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _changed(page: LabelPage) -> ChangedError:
    return ChangedError(
        f"{page.name} was saved by somebody else, or its picture was replaced, since you opened it; "
        "open the page again and repeat your correction"
    )


def _numbered(number: int) -> str:
    return f"{number:04d}.xml"


def _numbers(history: Path) -> list[int]:
    """The numbers of the states in a history, ascending."""
    return sorted(int(path.stem) for path in history.iterdir() if re.fullmatch(r"[0-9]{4,}\.xml", path.name))


def _made(folder: Path) -> Path:
    """A folder that exists, durably: a power cut must not undo it."""
    if not folder.is_dir():
        parent = _made(folder.parent)
        folder.mkdir(exist_ok=True)
        if os.name == "posix":
            descriptor = os.open(parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return folder


def _state_of(page: LabelPage) -> tuple[int, int]:
    """Size in bytes and time of change of a picture."""
    try:
        stat = page.picture.stat()
    except OSError as error:
        raise VanishedError(
            f"the picture {page.name} is gone ({error.strerror}); put it back, or start `fourhands label` again"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _version(page: LabelPage) -> str:
    content = page.file.read_bytes() if page.file.is_file() else b""
    return hashlib.sha256(repr(_state_of(page)).encode() + content).hexdigest()[:32]
