"""`iam_lines`: the handwritten lines of the IAM database, in either of the two layouts that it comes in.

`ascii/lines.txt` (or `lines.txt`) with one image per line, `lines/a01/a01-000u/a01-000u-00.png`; or `xml/FORM.xml`
with the scanned forms, `forms/FORM.png`, out of which the lines are cut by the boxes of their words. Lines whose
segmentation is marked `err` are kept, as is usual: their text is right.

Source: Marti & Bunke 2002, "The IAM-database".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import unescape

import numpy as np

from common.data.dataset import Refused
from common.data.folder import read_utf8
from common.data.images import load_image
from common.data.line_image import to_line
from common.data.lines import LineDataset
from common.data.prepared import Line, prepare
from common.data.splits import by_group, by_split
from common.errors import UserError

_VERSION = 2  # of what is done to an image
# the standard writer-independent split: a file of ids each
_LISTS = {
    "trainset": "train",
    "validationset1": "validation",
    "validationset2": "validation",
    "testset": "test",
}
_ID = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+-[A-Za-z0-9]+")  # of a line; nothing else may become part of a path
_FORM_ID = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+")
_FIELDS = 9  # of a row of lines.txt: id, result, grey level, components, x, y, w, h, text
_EDGE = 4  # pixels of paper around the boxes of a line's words


def load(folder: Path, *, height: int) -> LineDataset:
    """IAM's lines in the standard split, if its lists of ids are there, else by writer, or by form.

    The lists are trainset.txt, validationset1.txt, validationset2.txt and testset.txt, anywhere in the folder; both of
    the validation sets validate.

    Args:
        folder: of either layout.
        height: of the line images, pixels.

    Raises:
        UserError: neither layout; an index or XML file that is not what it must be; a missing image; lists that name
            none of the lines.
    """
    index = next((path for path in (folder / "ascii" / "lines.txt", folder / "lines.txt") if path.is_file()), None)
    forms = sorted((folder / "xml").glob("*.xml"))
    if index is None and not forms:
        raise UserError(f"{folder} is no IAM folder; expected ascii/lines.txt with lines/, or xml/ with forms/")
    sources = [index] if index else forms
    images = sorted((folder / ("lines" if index else "forms")).rglob("*.png"))
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in [*sources, *images]]
    state = [_VERSION, height, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]]
    prepared = prepare(
        "iam_lines", state, lambda: _from_index(folder, index, height) if index else _from_forms(folder, forms, height)
    )
    split_of = _standard_split(folder)
    if split_of:
        splits = [split_of.get(name, "") for name in prepared.lines.names]
        if not any(splits):
            raise UserError(f"the lists of ids in {folder} name none of its lines; expected ids such as a01-000u-00")
        return by_split("iam_lines", prepared, splits)
    assert prepared.lines.writers_N is not None, "prepared lines have their groups"
    return by_group("iam_lines", prepared, [prepared.groups[i] for i in prepared.lines.writers_N])


def _standard_split(folder: Path) -> dict[str, str]:
    """Line id to split; empty if the lists are not there."""
    split_of: dict[str, str] = {}
    for name, split in _LISTS.items():
        for path in sorted(folder.rglob(f"{name}.txt")):
            split_of |= dict.fromkeys(read_utf8(path).split(), split)
    return split_of


def _from_index(folder: Path, index: Path, height: int) -> Iterator[Line | Refused]:
    for number, row in enumerate(read_utf8(index).splitlines(), start=1):
        if not row.strip() or row.startswith("#"):
            continue
        fields = row.split(" ", _FIELDS - 1)
        if len(fields) < _FIELDS or not _ID.fullmatch(fields[0]):
            raise UserError(
                f"{index.name}, line {number}: {row[:40]!r} is not a row of IAM's; expected {_FIELDS} fields "
                "that begin with an id such as a01-000u-00"
            )
        name, text = fields[0], _text(fields[-1].replace("|", " "))
        form = name.rpartition("-")[0]
        path = folder / "lines" / form.partition("-")[0] / form / f"{name}.png"
        if not path.is_file():
            raise UserError(f"{index.name}, line {number}: the image {path.relative_to(folder)} is missing; restore it")
        yield _made(load_image(path), height, text=text, name=name, group=form)


def _from_forms(folder: Path, forms: list[Path], height: int) -> Iterator[Line | Refused]:
    for path in forms:
        form = _parse(path)
        form_id = form.get("id", path.stem)
        if not _FORM_ID.fullmatch(form_id):
            raise UserError(f"{path.name}: the form's id is {form_id!r}; expected one such as a01-000u")
        image_path = folder / "forms" / f"{form_id}.png"
        if not image_path.is_file():
            raise UserError(
                f"the image of {path.name} is missing; put {image_path.name} into {image_path.parent.name}/"
            )
        image_HW = load_image(image_path)
        for line in form.iterfind("handwritten-part/line"):
            name, group = line.get("id", ""), form.get("writer-id", path.stem)
            boxes = _boxes(path, name, line)
            if not len(boxes):
                yield Refused(name=name, reason="has no boxes")
                continue
            left, top = boxes[:, :2].min(axis=0) - _EDGE
            right, bottom = boxes[:, 2:].max(axis=0) + _EDGE
            tall, wide = image_HW.shape
            if left < -_EDGE or top < -_EDGE or right > wide + _EDGE or bottom > tall + _EDGE:
                yield Refused(name=name, reason=f"its boxes lie outside the {wide}×{tall} image")
                continue
            cut_HW = image_HW[max(0, top) : bottom, max(0, left) : right]
            yield _made(cut_HW, height, text=_text(line.get("text", "")), name=name, group=group)


def _parse(path: Path) -> Element:
    # slow to import, and most data needs none of it
    from defusedxml.ElementTree import parse

    try:
        form = parse(path).getroot()
    except (ParseError, LookupError, ValueError) as error:  # declared entities; an encoding that does not exist
        raise UserError(f"{path.name} cannot be read ({error}); expected a form of IAM's") from None
    if form is None or form.tag != "form":
        raise UserError(f"{path.name} is no form of IAM's; its first element must be <form>")
    return form


def _text(text: str) -> str:
    """Quotes and ampersands as they were written: some releases escape them, in XML once more than XML does."""
    return unescape(text, {"&quot;": '"', "&apos;": "'"})


def _boxes(path: Path, name: str, line: Element) -> np.ndarray:
    """Left, top, right and bottom of each component, pixels of the form."""
    try:
        numbers = [
            [int(cmp.get(key, "")) for key in ("x", "y", "width", "height")] for cmp in line.iterfind("word/cmp")
        ]
    except ValueError:
        raise UserError(f"{path.name}, line {name}: a box is not made of whole numbers; restore the file") from None
    boxes = np.array(numbers, dtype=np.int64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _made(image_HW: np.ndarray, height: int, *, text: str, name: str, group: str) -> Line | Refused:
    try:
        return Line(image=to_line(image_HW, height), text=text, name=name, group=group)
    except UserError as error:
        return Refused(name=name, reason=str(error))
