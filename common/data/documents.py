"""Documents: image files, TIFF files with many pages, PDF files, and the folders and patterns that name them.

A document is opened without decoding its pages. Its sizes are therefore checked first, and each page is decoded on
demand, so that a damaged page does not cost the others.
"""

# H height, W width

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from common.errors import TooLargeError, UserError

if TYPE_CHECKING:
    import pypdfium2

MAX_PAGES = 2000
"""Pages of the longest document that is read."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2", ".avif", ".pgm", ".ppm"),
    ".pdf",
)
"""Files of a folder that are read. A file that is named may have any suffix."""
DPI = 200
"""Resolution at which a page of a PDF is drawn."""
_POINTS = 72  # per inch
_THUMBNAIL, _SUBFILE = 1, 254  # TIFF: a bit of the tag NewSubfileType
_MAGIC = b"%PDF-"
_HEAD = 1024  # readers accept some bytes before the magic number
_IMAGE = 3  # FPDF_PAGEOBJ_IMAGE

Picture = UInt8[np.ndarray, "H W"]


@dataclass(frozen=True)
class Document:
    """A file that may have several pages."""

    path: Path
    name: PurePath
    """Its name without suffix. A file that was found in a folder has the path from that folder."""


class Pages:
    """The pages of an open document as grey levels, turned upright. Each is decoded anew when it is asked for."""

    def __init__(self, count: int, load: Callable[[int], Picture]) -> None:
        self._count = count
        self._load = load

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        """The page at `index`.

        Raises:
            UserError: the page is damaged or too large.
        """
        return self._load(range(self._count)[index])

    def __iter__(self) -> Iterator[Picture]:
        return map(self._load, range(self._count))


def find_documents(names: Iterable[str | Path]) -> list[Document]:
    """The documents that a person names: files, folders and patterns such as `scans/*.jpg`, in this order.

    A folder means all images and PDF files in it and in its subfolders, by name, without hidden ones. A file that
    does not exist is among the documents too: opening it says so.

    Raises:
        UserError: a folder without documents, or a pattern that matches nothing.
    """
    found: dict[Path, Document] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = list(_in_folder(path))
            if not inside:
                raise UserError(f"{path} holds no image and no PDF; name image files, or a folder with some")
            documents = [Document(each, each.relative_to(path).with_suffix("")) for each in inside]
        elif not path.exists() and glob.has_magic(str(name)):
            matches = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
            documents = [Document(match, PurePath(match.stem)) for match in matches if match.is_file()]
            if not documents:
                raise UserError(f"no file matches {name}; correct the pattern or name image files")
        else:
            documents = [Document(path, PurePath(path.stem))]
        for document in documents:
            found.setdefault(document.path, document)
    return list(found.values())


def _in_folder(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(parent, name)


@contextmanager
def open_document(source: Path | bytes, *, pages: int | None = None, pixels: int | None = None) -> Iterator[Pages]:
    """Open an image file, a TIFF file or a PDF file.

    Args:
        source: path of the file, or its content.
        pages: the most pages that are read; None for `MAX_PAGES`.
        pixels: the most pixels of a page that are decoded; None for `common.data.images.MAX_PIXELS`.

    Raises:
        TooLargeError: the document has more pages; reading a page of it: the page has more pixels.
        UserError: the file is missing, damaged, encrypted, an animation, or no image and no PDF.
    """
    name = "the document" if isinstance(source, bytes) else str(source)
    if _is_pdf(source):
        with _pdf(source, name, pages, pixels) as found:
            yield found
        return
    from common.data.images import decode_image, open_image

    with open_image(source) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format == "TIFF":
            yield _tiff(name, image, frames, pages, pixels)
        elif frames > 1 and image.format != "MPO":  # MPO: a photo, with others of the same scene
            raise UserError(
                f"{name} is an animation of {frames:,} frames; expected a still picture, so save the frame to be read "
                "as PNG"
            )
        else:
            name = "the image" if isinstance(source, bytes) else name
            yield Pages(1, lambda _: decode_image(image, name, pixels))


def _is_pdf(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return _MAGIC in source[:_HEAD]
    try:
        with source.open("rb") as file:
            return _MAGIC in file.read(_HEAD)
    except OSError:  # opening it as an image says what is wrong
        return False


def _checked_count(name: str, count: int, most: int | None) -> int:
    most = MAX_PAGES if most is None else most
    if count > most:
        raise TooLargeError(f"{name} has {count:,} pages; at most {most:,} are read, so split it")
    if not count:
        raise UserError(f"{name} has no pages; expected a document with at least one, so export it again")
    return count


# --- images
def _tiff(name: str, image: Any, frames: int, most: int | None, pixels: int | None) -> Pages:
    _checked_count(name, frames, most)
    from common.data.images import decode_image, naming_errors

    pages = []
    with naming_errors(name):
        for index in range(frames):
            image.seek(index)
            if not image.tag_v2.get(_SUBFILE, 0) & _THUMBNAIL:
                pages.append(index)

    def load(index: int) -> Picture:
        page = f"{name}, page {index + 1}" if len(pages) > 1 else name
        with naming_errors(page):
            image.seek(pages[index])
        return decode_image(image, page, pixels)

    return Pages(_checked_count(name, len(pages), most), load)


# --- PDF
@contextmanager
def _pdf(source: Path | bytes, name: str, most: int | None, pixels: int | None) -> Iterator[Pages]:
    try:
        import pypdfium2
    except ModuleNotFoundError:
        raise UserError(
            f'{name} is a PDF, and reading PDF needs pypdfium2; install it with: pip install "fourhands[pdf]"'
        ) from None
    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError:  # its code may be that of an earlier error
        if b"/Encrypt" in (source if isinstance(source, bytes) else source.read_bytes()):
            raise UserError(
                f"{name} is encrypted; expected a PDF without a password, so save a copy without one"
            ) from None
        raise UserError(f"{name} is a damaged PDF, or one without pages; save or copy it again") from None
    try:
        count = _checked_count(name, len(document), most)
        yield Pages(count, lambda index: _pdf_page(f"{name}, page {index + 1}", document, index, pixels))
    finally:
        document.close()


def _pdf_page(name: str, document: pypdfium2.PdfDocument, index: int, most: int | None) -> Picture:
    import pypdfium2

    from common.data.images import MAX_PIXELS

    most = MAX_PIXELS if most is None else most
    try:
        page = document[index]
        try:
            width, height = page.get_size()
            scale = DPI / _POINTS
            pixels = width * scale * height * scale
            for each in page.get_objects(filter=[_IMAGE]):
                across, down = each.get_px_size()  # from its header: it is not decoded
                pixels = max(pixels, across * down)
            if not pixels <= most:
                raise TooLargeError(
                    f"{name} has {pixels:,.0f} pixels at {DPI} dpi; at most {most:,} are read, so crop it or "
                    "reduce its size"
                )
            levels = page.render(scale=scale, grayscale=True, may_draw_forms=False).to_numpy()
            return np.array(levels.reshape(levels.shape[:2]))  # a copy: the bitmap is freed
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise UserError(f"{name} is damaged ({error}); save or copy the PDF again") from None
