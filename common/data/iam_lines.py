"""`iam_lines`: the handwritten lines of the IAM database, in either of its two layouts.

- `ascii/lines.txt` (or `lines.txt`), with one image per line, such as `lines/a01/a01-000u/a01-000u-00.png`.
- `xml/FORM.xml`, with the scanned forms, `forms/FORM.png`. The lines are cut out of the forms by the boxes of their
  words.

Lines whose segmentation is marked `err` are kept, as is usual, because their text is right.

Source: Marti & Bunke 2002, "The IAM-database".
"""

# H height, W width

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import unescape

import numpy as np

from common.data.dataset import Refused
from common.data.images import image_size, load_image
from common.data.line_image import to_line
from common.data.lines import LineDataset
from common.data.page_dataset import FoundPages, PageDataset
from common.data.prepared import Line, file_states, prepare
from common.data.splits import by_group, by_split, split_groups
from common.data.text import read_utf8
from common.data.xml_pages import TextLine
from common.errors import UserError

_VERSION = 2  # of the normalisation of images; increase it to prepare cached lines again
# the standard writer-independent split: each file has the ids of its lines
_LISTS = {
    "trainset": "train",
    "validationset1": "validation",
    "validationset2": "validation",
    "testset": "test",
}
_ID = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+-[A-Za-z0-9]+")  # of a line: nothing else may become part of a path
_FORM_ID = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+")
_FIELDS = 9  # in a row of lines.txt: id, result, grey level, components, x, y, w, h, text
_EDGE = 4  # pixels of paper around the boxes of a line's words


def load(folder: Path, *, height: int) -> LineDataset:
    """Load IAM's lines, in the standard split if its lists of ids are there.

    The lists are trainset.txt, validationset1.txt, validationset2.txt and testset.txt, anywhere in the folder. The two
    validation sets are joined. Without the lists, the splits are drawn at random: by writer if there are XML files, or
    by form.

    Args:
        folder: a folder in either layout.
        height: height of the lines, pixels.

    Raises:
        UserError: the folder has neither layout. An index or an XML file has another form. An image is missing. The
            lists name none of the lines.
    """
    index = next((path for path in (folder / "ascii" / "lines.txt", folder / "lines.txt") if path.is_file()), None)
    forms = sorted((folder / "xml").glob("*.xml"))
    if index is None and not forms:
        raise UserError(f"{folder} is no IAM folder; expected ascii/lines.txt with lines/, or xml/ with forms/")
    sources = [index] if index else forms
    images = sorted((folder / ("lines" if index else "forms")).rglob("*.png"))
    state = [_VERSION, height, file_states(folder, [*sources, *images])]
    prepared = prepare(
        "iam_lines", state, lambda: _from_index(folder, index, height) if index else _from_forms(folder, forms, height)
    )
    split_of = _standard_split(folder)
    if split_of:
        splits = [split_of.get(name, "") for name in prepared.lines.names]
        if not any(splits):
            raise UserError(f"the lists of ids in {folder} name none of its lines; expected ids such as a01-000u-00")
        return by_split("iam_lines", prepared, splits)
    assert prepared.lines.writers_N is not None, "every prepared line has a group"
    return by_group("iam_lines", prepared, [prepared.groups[i] for i in prepared.lines.writers_N])


def load_pages(folder: Path, *, side: int) -> PageDataset:
    """Load IAM's forms as pages with their lines, in the standard split if its lists of ids are there.

    The printed text above the handwriting is not a line. Without the lists, the splits are drawn at random by writer.
    IAM has no baselines, so a line's baseline is fitted to the lower edges of its words.

    Args:
        folder: a folder with `xml/` and `forms/`.
        side: size of the page images, see `page_image`.

    Raises:
        UserError: the folder has no forms. An XML file has another form. An image is missing. The lists name none of
            the lines. A split has no form.
    """
    paths = sorted((folder / "xml").glob("*.xml"))
    if not paths:
        raise UserError(f"{folder} holds no forms of IAM's; expected xml/ with forms/, the lines alone are no pages")
    found = FoundPages()
    writer_of: dict[str, str] = {}
    lines_of: dict[str, int] = Counter()
    standard = _standard_split(folder)
    split_of: dict[str, str] = {}
    for path in paths:
        form, image_path = _form(folder, path)
        name, (wide, tall) = image_path.stem, image_size(image_path)
        lines = []
        for number, line in enumerate(form.iterfind("handwritten-part/line"), start=1):
            boxes = _boxes(path, line.get("id", ""), line)
            if (reason := _boxes_refused(boxes, wide, tall)) is not None:
                found.refused.append(Refused(name=line.get("id", ""), reason=reason))
                continue
            words = [_boxes(path, line.get("id", ""), word, "cmp") for word in line.iterfind("word")]
            lines.append(_text_line(number, _text(line.get("text", "")), [word for word in words if len(word)]))
            split_of.setdefault(name, standard.get(line.get("id", ""), ""))
        found.add(name, partial(load_image, image_path), (wide, tall), lines)
        writer_of[name] = form.get("writer-id", path.stem)
        lines_of[writer_of[name]] += len(lines)
    if not standard:
        of_writer = split_groups("iam_lines", {writer: count for writer, count in lines_of.items() if count})
        split_of = {name: of_writer.get(writer, "train") for name, writer in writer_of.items()}
    elif not any(split_of.values()):
        raise UserError(f"the lists of ids in {folder} name none of its lines; expected ids such as a01-000u-00")
    return found.dataset("iam_lines", side=side, writer_of=writer_of, split_of=split_of)


def _text_line(number: int, text: str, words: list[np.ndarray]) -> TextLine:
    """A line from the boxes of its words' components, each (left, top, right, bottom)."""
    words = sorted(words, key=lambda boxes: float(boxes[:, 0].min()))
    edges = np.array([(*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)) for boxes in words], dtype=np.float64)
    upper = [point for left, top, right, _ in edges for point in ((left, top), (right, top))]
    lower = [point for left, _, right, bottom in edges for point in ((left, bottom), (right, bottom))]
    # the median of all slopes between two words (Theil 1950, Sen 1968): some words end in a letter that reaches below.
    # dots and commas end above or below the baseline: in each word, the tall components count
    feet = [np.median(boxes[np.ptp(boxes[:, 1::2], axis=1) >= np.ptp(boxes[:, 1::2]) / 3, 3]) for boxes in words]
    middle = (edges[:, 0] + edges[:, 2]) / 2
    slope = 0.0
    if len(words) > 2:
        first, second = np.triu_indices(len(words), 1)
        slope = float(np.median((np.array(feet)[second] - np.array(feet)[first]) / (middle[second] - middle[first])))
    height = float(np.median(feet - slope * middle))
    ends = np.array([edges[0, 0], edges[-1, 2]])
    return TextLine(
        number=number,
        text=text,
        outline=np.array([*upper, *lower[::-1]]),
        baseline=np.stack([ends, slope * ends + height], axis=1),
    )


def _standard_split(folder: Path) -> dict[str, str]:
    """The split of each line id; empty without the lists of ids."""
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
                f"{index.name}, line {number}: {row[:40]!r} is not a row of IAM's; expected {_FIELDS} fields, "
                "the first of them an id such as a01-000u-00, so copy the file again"
            )
        name, text = fields[0], _text(fields[-1].replace("|", " "))
        form = name.rpartition("-")[0]
        path = folder / "lines" / form.partition("-")[0] / form / f"{name}.png"
        if not path.is_file():
            raise UserError(f"{index.name}, line {number}: the image {path.relative_to(folder)} is missing; restore it")
        yield _made(load_image(path), height, text=text, name=name, group=form)


def _from_forms(folder: Path, forms: list[Path], height: int) -> Iterator[Line | Refused]:
    for path in forms:
        form, image_path = _form(folder, path)
        image_HW = load_image(image_path)
        for line in form.iterfind("handwritten-part/line"):
            name, group = line.get("id", ""), form.get("writer-id", path.stem)
            boxes = _boxes(path, name, line)
            tall, wide = image_HW.shape
            if (reason := _boxes_refused(boxes, wide, tall)) is not None:
                yield Refused(name=name, reason=reason)
                continue
            left, top = boxes[:, :2].min(axis=0) - _EDGE
            right, bottom = boxes[:, 2:].max(axis=0) + _EDGE
            cut_HW = image_HW[max(0, top) : bottom, max(0, left) : right]
            yield _made(cut_HW, height, text=_text(line.get("text", "")), name=name, group=group)


def _boxes_refused(boxes: np.ndarray, wide: int, tall: int) -> str | None:
    """Why a line with these boxes cannot be used; None if it can."""
    if not len(boxes):
        return "has no boxes"
    if boxes[:, :2].min() < 0 or boxes[:, 2].max() > wide or boxes[:, 3].max() > tall:
        return f"its boxes lie outside the {wide}×{tall} image"
    return None


def _form(folder: Path, path: Path) -> tuple[Element, Path]:
    """A form's XML and the path of its image."""
    form = _parse(path)
    form_id = form.get("id", path.stem)
    if not _FORM_ID.fullmatch(form_id):
        raise UserError(
            f"{path.name}: the form's id is {form_id!r}; expected one such as a01-000u, copy the file again"
        )
    image_path = folder / "forms" / f"{form_id}.png"
    if not image_path.is_file():
        raise UserError(f"the image of {path.name} is missing; put {image_path.name} into {image_path.parent.name}/")
    return form, image_path


def _parse(path: Path) -> Element:
    # slow to import, and most data does not need it
    from defusedxml.ElementTree import parse

    try:
        form = parse(path).getroot()
    except (ParseError, LookupError, ValueError) as error:  # the last two: declared entities, an unknown encoding
        raise UserError(f"{path.name} cannot be read ({error}); expected a form of IAM's, copy it again") from None
    if form is None or form.tag != "form":
        raise UserError(f"{path.name} is no form of IAM's; expected <form> as its first element, copy it again")
    return form


def _text(text: str) -> str:
    """The text without escapes. Some releases escape quotes and ampersands once more than their format needs."""
    return unescape(text, {"&quot;": '"', "&apos;": "'"})


def _boxes(path: Path, name: str, element: Element, components: str = "word/cmp") -> np.ndarray:
    """Left, top, right and bottom of each component of a line, or of a word, in pixels of the form."""
    try:
        numbers = [
            [int(cmp.get(key, "")) for key in ("x", "y", "width", "height")] for cmp in element.iterfind(components)
        ]
    except ValueError:
        raise UserError(
            f"{path.name}, line {name}: a box has a missing or fractional coordinate; "
            "expected whole numbers, copy the file again"
        ) from None
    boxes = np.array(numbers, dtype=np.int64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _made(image_HW: np.ndarray, height: int, *, text: str, name: str, group: str) -> Line | Refused:
    try:
        return Line(image=to_line(image_HW, height), text=text, name=name, group=group)
    except UserError as error:
        return Refused(name=name, reason=str(error))
