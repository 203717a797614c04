"""The pictures of a folder that is labelled, and the file that the lines of each are kept in."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.data.documents import SUFFIXES
from common.data.page_files import image_beside
from common.data.xml_pages import read_page
from common.errors import UserError

_PICTURES = tuple(suffix for suffix in SUFFIXES if suffix != ".pdf")


@dataclass(frozen=True, kw_only=True)
class LabelPage:
    """A picture of the folder, and the file of its lines."""

    name: str
    """Path of the picture under the folder, with forward slashes."""
    picture: Path
    file: Path
    """ALTO or PAGE; it need not exist yet."""


def find_label_pages(folder: Path) -> tuple[list[LabelPage], list[str]]:
    """The pages of a folder and its subfolders by name, and sentences about files that are no pages.

    Raises:
        UserError: no such folder, no picture in it, two pictures whose lines would be kept in one file, two files for
            one picture, or a file of a picture that is neither ALTO nor PAGE.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name the folder that has your pictures")
    pictures, xml, left_out = _files_of(folder)
    if not pictures:
        raise UserError(f"{folder} holds no picture; put the pictures of your pages there (JPEG, PNG, TIFF)")
    return _pages(folder, pictures, xml), left_out


def _files_of(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Pictures and XML files under a folder, and sentences about what is neither."""
    pictures, xml, documents = [], [], 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            lower = name.lower()
            if name.startswith("."):
                continue
            if lower.endswith(_PICTURES):
                pictures.append(Path(parent, name))
            elif name.endswith(".xml"):  # as the readers of the folder look for it
                xml.append(Path(parent, name))
            elif lower.endswith(".pdf"):
                documents += 1
    said = [f"{documents:,} PDF files are left out: save their pages as pictures to label them"] if documents else []
    return sorted(pictures), xml, said


def _pages(folder: Path, pictures: Sequence[Path], xml: Sequence[Path]) -> list[LabelPage]:
    """The pages, each with the file that describes it or will."""
    described: dict[Path, Path] = {}
    stems = {picture.with_suffix("") for picture in pictures}
    for file in xml:
        beside = file.with_suffix("") in stems
        try:
            picture = image_beside(file, read_page(file))
        except UserError:
            if beside:  # it would be overwritten
                raise
            continue  # of no picture here, such as METS
        if picture in described:
            raise UserError(
                f"{file.name} and {described[picture].name} both describe {picture.name}; move one to another folder"
            )
        described[picture] = file
    picture_of = {file: picture for picture, file in described.items()}
    pages, taken = [], defaultdict(list)
    for picture in pictures:
        file = described.get(picture, picture.with_suffix(".xml"))
        if (other := picture_of.get(file, picture)) != picture:
            raise UserError(
                f"{file.name} describes {other.name} and not {picture.name}; rename {picture.name}, or move one of "
                "them to another folder"
            )
        taken[str(file).casefold()].append(picture)  # some file systems do not tell A from a
        pages.append(LabelPage(name=picture.relative_to(folder).as_posix(), picture=picture, file=file))
    for page in pages:
        same = taken[str(page.file).casefold()]
        if len(same) > 1:
            names = " and ".join(each.relative_to(folder).as_posix() for each in same)
            raise UserError(
                f"the lines of {names} would both be kept in {page.file.name}; rename one picture, or move it to "
                "another folder"
            )
    return pages
