"""Your own images of lines: with one file of labels, or with NAME.txt beside each image.

The file of labels is the folder's only `.csv`, `.tsv` or `.jsonl`. Its columns (or keys) are `image`, a path within
the folder, and `text`; besides, if you have them, `writer`, whose lines then share a split, and `split`: train,
validation or test.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.data.dataset import Refused
from common.data.images import load_image
from common.data.line_image import to_line
from common.data.lines import LineDataset
from common.data.prepared import Line, prepare
from common.data.splits import by_group, by_split
from common.errors import UserError

_VERSION = 2  # of what is done to an image
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
_LABELS = {".csv", ".tsv", ".jsonl"}
_SPLITS = ("train", "validation", "test")
_SHOWN = 3  # names in a message


@dataclass(frozen=True, kw_only=True)
class _Label:
    image: str
    text: str
    writer: str = ""
    split: str = ""


def load(folder: Path, *, height: int) -> LineDataset:
    """The folder's lines, in the splits that the labels name, else drawn by writer, else line by line.

    Args:
        folder: with the images and their labels.
        height: of the line images, pixels.

    Raises:
        UserError: no labels or several files of them; a file that is not UTF-8, is empty or lacks a column; a line of
            it that cannot be read; images that are missing or stand twice; splits named for some lines only.
    """
    images = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    }
    labels = _labels(folder, images)
    _check(folder, labels, images)
    stats = {name: path.stat() for name, path in images.items()}
    state = [
        _VERSION,
        height,
        [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()],
        [(label.image, label.text) for label in labels],
    ]

    def lines() -> Iterator[Line | Refused]:
        for label in labels:
            try:
                image_HW = to_line(load_image(images[label.image]), height)
            except UserError as error:
                yield Refused(name=label.image, reason=str(error))
                continue
            yield Line(image=image_HW, text=label.text, name=label.image, group=label.image)
        for name in sorted(images.keys() - {label.image for label in labels}):
            yield Refused(name=name, reason="it has no label")

    prepared = prepare("folder", state, lines)
    of_image = {label.image: label for label in labels}
    own = [of_image[name] for name in prepared.lines.names]
    if any(label.split for label in own):
        return by_split("folder", prepared, [label.split for label in own])
    return by_group("folder", prepared, [label.writer or label.image for label in own])


def _labels(folder: Path, images: dict[str, Path]) -> list[_Label]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _LABELS)
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise UserError(f"{folder} holds several files of labels ({names}); leave one")
    if files:
        text = read_utf8(files[0])
        rows = _from_json(files[0], text) if files[0].suffix.lower() == ".jsonl" else _from_table(files[0], text)
    else:
        beside = {name: path.with_suffix(".txt") for name, path in images.items()}
        rows = [_Label(image=name, text=_clean(read_utf8(path))) for name, path in beside.items() if path.is_file()]
    if not rows:
        raise UserError(
            f"{files[0] if files else folder} holds no labels; expected a CSV, TSV or JSONL with image and text, or a "
            "NAME.txt beside each image"
        )
    return rows


def read_utf8(path: Path) -> str:
    """A file's text, without a byte order mark.

    Raises:
        UserError: the file is not UTF-8; its line is named.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path.name}, line {line}: byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def _from_table(path: Path, text: str) -> list[_Label]:
    # strict: a quote that is never closed would make one text of all lines after it
    rows = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    try:
        columns = list(rows.fieldnames or ())
        for column in ("image", "text"):
            if column not in columns:
                raise UserError(
                    f"{path.name} has no column {column!r} (it has {', '.join(columns) or 'none'}); "
                    "its first line must name image and text"
                )
        labels = []
        for row in rows:
            if None in row:  # what is left over
                raise UserError(
                    f"{path.name}, line {rows.line_num}: {len(columns) + len(row[None])} columns where the first line "
                    f"names {len(columns)}; put a text with a separator in it in double quotes"
                )
            labels.append(_label(path, rows.line_num, row))
    except csv.Error as error:
        raise UserError(
            f"{path.name}, line {rows.line_num + 1}: {error}; close each quote, and double the quotes within a quoted "
            "text"
        ) from None
    return labels


def _from_json(path: Path, text: str) -> list[_Label]:
    labels = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path.name}, line {number}: not JSON ({error}); expected one object per line") from None
        labels.append(_label(path, number, row if isinstance(row, dict) else {}))
    return labels


def _label(path: Path, number: int, row: dict[str, object]) -> _Label:
    image, text = row.get("image"), row.get("text")
    if not isinstance(image, str) or not image or not isinstance(text, str):
        raise UserError(
            f"{path.name}, line {number}: expected an image and its text, such as line1.png and what it says"
        )
    writer, split = ("" if row.get(key) is None else str(row[key]) for key in ("writer", "split"))
    if split not in ("", *_SPLITS):
        raise UserError(f"{path.name}, line {number}: split {split!r} is unknown; expected {', '.join(_SPLITS)}")
    return _Label(image=Path(image).as_posix(), text=_clean(text), writer=writer, split=split)


def _clean(text: str) -> str:
    """NFC, each run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _check(folder: Path, labels: list[_Label], images: dict[str, Path]) -> None:
    twice = [name for name, times in Counter(label.image for label in labels).items() if times > 1]
    missing = [label.image for label in labels if label.image not in images]
    for what, names, cure in (
        ("labelled more than once", twice, "give each image one label"),
        ("labelled but not there", missing, "put the images where their labels say, or remove the labels"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise UserError(f"in {folder}, {', '.join(names[:_SHOWN])}{more}: {what}; {cure}")
    named = sum(bool(label.split) for label in labels)
    if 0 < named < len(labels):
        raise UserError(f"in {folder}, {named} of {len(labels)} labels name a split; give all of them one, or none")
