"""What the arguments of `fourhands read` name: a model, documents, and the files to write."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.data.documents import Document
from common.errors import UserError
from common.reading.formats import SUFFIXES, FormatName
from common.training.folder import WEIGHTS

_SAFETENSORS = ".safetensors"


def split_run(inputs: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """The model, if the first argument is one, and the pictures."""
    if inputs and _is_run(Path(inputs[0])):
        return Path(inputs[0]), inputs[1:]
    return None, inputs


def _is_run(path: Path) -> bool:
    """Whether this is a run folder or a weights file. A folder with a run's configuration is a run without weights."""
    if path.is_dir():
        return any((path / name).is_file() for name in (WEIGHTS, "config.json"))
    if path.suffix == _SAFETENSORS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"  # 8 bytes with the length of the header, which is JSON
    except OSError:
        return False


def make_out(folder: Path) -> None:
    """Make the folder for the files, before any long work begins.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise UserError(f"{folder} is a file; give --out a folder") from None
    except OSError as error:
        raise UserError(
            f"cannot write into {folder} ({error.strerror}); give --out a folder that can be written"
        ) from None


def target_of(document: Document, out: Path, form: FormatName, index: int, pages: int) -> Path:
    """The file of a page. With several pages, the number of the page follows the name of the document."""
    number = f"-{index + 1:0{len(str(pages))}}" if pages > 1 else ""
    return out / document.name.parent / f"{document.name.name}{number}{SUFFIXES[form]}"
