"""`folder`: your own images of lines, with one file of labels or with NAME.txt beside each image.

The file of labels is the only `.csv`, `.tsv` or `.jsonl` in the folder. Its columns (or keys) are:

- `image`: path of the image, relative to the folder.
- `text`: what the line says.
- `writer`, optional: the lines of a writer are all in one split.
- `split`, optional: train, validation or test.
"""

# H height, W width

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.data.dataset import SPLITS, Refused
from common.data.images import load_image
from common.data.line_image import to_line
from common.data.lines import LineDataset
from common.data.prepared import Line, file_states, prepare
from common.data.splits import by_group, by_split
from common.data.text import normalised, read_utf8
from common.errors import UserError

_VERSION = 2  # of the normalisation of images; increase it to prepare cached lines again
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
_LABELS = {".csv", ".tsv", ".jsonl"}
_SHOWN = 3  # most names in a message


@dataclass(frozen=True, kw_only=True)
class _Label:
    image: str
    text: str
    writer: str = ""
    split: str = ""


def load(folder: Path, *, height: int) -> LineDataset:
    """Load the folder's lines.

    The labels may name the splits. Otherwise the splits are drawn at random: by writer if the labels name writers, or
    line by line.

    Args:
        folder: the folder with the images and their labels.
        height: height of the lines, pixels.

    Raises:
        UserError: there are no labels, or several files of labels. A file of labels is not UTF-8, is empty, has no
            column `image` or `text`, or has a line that cannot be read. An image is missing or has two labels. Only
            some labels name a split. There are fewer than three lines or writers to split.
    """
    images = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    }
    labels = _labels(folder, images)
    _check(folder, labels, images)
    state = [
        _VERSION,
        height,
        file_states(folder, images.values()),
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
        raise UserError(f"{folder} holds several files of labels ({names}); expected at most one, leave one there")
    if files:
        text = read_utf8(files[0])
        rows = _from_json(files[0], text) if files[0].suffix.lower() == ".jsonl" else _from_table(files[0], text)
    else:
        beside = {name: path.with_suffix(".txt") for name, path in images.items()}
        rows = [_Label(image=name, text=normalised(read_utf8(path))) for name, path in beside.items() if path.is_file()]
    if not rows:
        raise UserError(
            f"{files[0] if files else folder} holds no labels; expected a CSV, TSV or JSONL with image and text, or a "
            "NAME.txt beside each image"
        )
    return rows


def _from_table(path: Path, text: str) -> list[_Label]:
    # strict: otherwise a quote without its closing quote would join all later lines into one text
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
            if None in row:  # the key of columns that have no name
                raise UserError(
                    f"{path.name}, line {rows.line_num}: {len(columns) + len(row[None])} columns, but the first line "
                    f"names {len(columns)}; put a text that contains the separator in double quotes"
                )
            labels.append(_label(path, rows.line_num, row))
    except csv.Error as error:
        raise UserError(
            f"{path.name}, line {rows.line_num + 1}: {error}; close each quote, and write each quote within a quoted "
            "text twice"
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
            raise UserError(
                f"{path.name}, line {number}: not JSON ({error}); expected one JSON object per line"
            ) from None
        labels.append(_label(path, number, row if isinstance(row, dict) else {}))
    return labels


def _label(path: Path, number: int, row: dict[str, object]) -> _Label:
    image, text = row.get("image"), row.get("text")
    if not isinstance(image, str) or not image or not isinstance(text, str):
        raise UserError(
            f"{path.name}, line {number}: expected an image and its text, such as line1.png and the words in it; "
            "fill in both"
        )
    writer, split = ("" if row.get(key) is None else str(row[key]) for key in ("writer", "split"))
    if split not in ("", *SPLITS):
        raise UserError(f"{path.name}, line {number}: split {split!r} is unknown; expected {', '.join(SPLITS)}")
    return _Label(image=Path(image).as_posix(), text=normalised(text), writer=writer, split=split)


def _check(folder: Path, labels: list[_Label], images: dict[str, Path]) -> None:
    twice = [name for name, times in Counter(label.image for label in labels).items() if times > 1]
    missing = [label.image for label in labels if label.image not in images]
    for what, names, cure in (
        ("labelled more than once", twice, "give each image one label"),
        ("labelled but not there", missing, "put the images there, or remove their labels"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise UserError(f"in {folder}, {', '.join(names[:_SHOWN])}{more}: {what}; {cure}")
    named = sum(bool(label.split) for label in labels)
    if 0 < named < len(labels):
        raise UserError(
            f"in {folder}, {named} of {len(labels)} labels name a split; name one for all of them or for none"
        )
