"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from common.charset import Charset
from common.data import emnist, emnist_lines, folder, iam_lines, ink, ink_lines, mnist, pages
from common.data.dataset import Dataset
from common.data.download import choose_folder
from common.data.lines import LineDataset, LineSplit, Refused, frames_needed
from common.data.splits import balanced, subset
from common.errors import UserError, unknown_name

WIDEST = 2048
"""Columns of the widest line that is taken."""


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """How lines are to be had."""

    height: int
    """Rows of every image."""
    examples: int
    """Training lines; 0 for all."""
    max_characters: int
    """Longest line, of data that is drawn."""
    writer_pattern: str
    """Finds the writer in a page's name; see `common.data.pages`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a data set is and how it is had."""

    description: str
    origin: str
    terms: str
    sizes: str
    """Training (validation taken from it) + test examples; classes."""
    load: Callable[[Path | None], Dataset] | None = None
    """Reads it from a folder; None for what is drawn, and for lines."""
    locate: Callable[[Path | None], Path] | None = None
    """The folder that holds its files, filled by download if need be."""
    load_lines: Callable[[Path | None, LineOptions], LineDataset] | None = None
    """Reads or draws lines, before any is refused."""
    drawn: bool = False
    """It needs no files, and there is as much of it as is asked for."""

    @property
    def holds(self) -> Literal["characters", "lines"]:
        """What its images show."""
        return "lines" if self.load_lines else "characters"


def _emnist(name: str, split: str, description: str, sizes: str) -> Source:
    return Source(
        description=description,
        origin="EMNIST, Cohen et al. 2017, from NIST Special Database 19; download of 562 MB",
        terms="NIST states none; Special Database 19 is a work of the United States government",
        sizes=sizes,
        load=partial(emnist.load, name, split=split),
        locate=partial(emnist.locate, split=split),
    )


SOURCES: dict[str, Source] = {
    "ink": Source(
        description="synthetic handwriting of 0-9 A-Z a-z, drawn on the spot, any amount",
        origin="vector strokes of the Hershey fonts, bent per writer; no download",
        terms="public domain strokes",
        sizes="20,026 + 2,480 validation + 4,960 test by 443 writers; 62 classes",
        drawn=True,
    ),
    "mnist": Source(
        description="handwritten digits",
        origin="MNIST, LeCun et al. 1998; download of 12 MB",
        terms="free to use",
        sizes="60,000 + 10,000; 10 classes",
        load=mnist.load,
        locate=mnist.locate,
    ),
    "emnist": _emnist(
        "emnist", "byclass", "handwritten 0-9 A-Z a-z, as often as written", "697,932 + 116,323; 62 classes"
    ),
    "emnist_bymerge": _emnist(
        "emnist_bymerge",
        "bymerge",
        "the same, letters that look alike in both cases merged",
        "697,932 + 116,323; 47 classes",
    ),
    "emnist_balanced": _emnist(
        "emnist_balanced", "balanced", "as bymerge, every class as often", "112,800 + 18,800; 47 classes"
    ),
    "emnist_letters": _emnist(
        "emnist_letters", "letters", "handwritten letters, both cases merged", "124,800 + 20,800; 26 classes"
    ),
    "emnist_digits": _emnist("emnist_digits", "digits", "handwritten digits", "240,000 + 40,000; 10 classes"),
    "emnist_mnist": _emnist(
        "emnist_mnist", "mnist", "handwritten digits, the amounts of MNIST", "60,000 + 10,000; 10 classes"
    ),
    "ink_lines": Source(
        description="lines of synthetic handwriting in full ASCII prose, drawn on the spot, any amount",
        origin="vector strokes of the Hershey fonts, bent per writer; text from Python's documentation; no download",
        terms="public domain strokes; Python's license for the text",
        sizes="8,000 + 500 validation + 1,000 test lines by 475 writers; 83 characters",
        load_lines=lambda _, o: ink_lines.load(o.examples, height=o.height, max_characters=o.max_characters),
        drawn=True,
    ),
    "emnist_lines": Source(
        description="lines composed of EMNIST's characters, any amount",
        origin="emnist (byclass), and text from Python's documentation",
        terms="as emnist",
        sizes="8,000 + 500 validation + 1,000 test lines; 62 characters and space",
        locate=partial(emnist.locate, split="byclass"),
        load_lines=lambda path, o: emnist_lines.load(
            path, height=o.height, examples=o.examples, max_characters=o.max_characters
        ),
    ),
    "iam_lines": Source(
        description="handwritten English lines of the IAM database",
        origin="Marti & Bunke 2002; behind a registration, so no download",
        terms="non-commercial research",
        sizes="6,161 + 1,840 validation + 1,861 test lines in the standard split by writers",
        load_lines=lambda path, o: iam_lines.load(_own("iam_lines", path), height=o.height),
    ),
    "pages": Source(
        description="your own page images with ALTO 2 to 4 or PAGE 2013 to 2019 XML beside them",
        origin="any folder: pages:FOLDER",
        terms="your own",
        sizes="four fifths + a tenth validation + a tenth test, by page or by writer",
        load_lines=lambda path, o: pages.load(_own("pages", path), height=o.height, writer_pattern=o.writer_pattern),
    ),
    "folder": Source(
        description="your own images of lines, with a CSV, TSV or JSONL of labels or NAME.txt beside each",
        origin="any folder: folder:FOLDER",
        terms="your own",
        sizes="as the label file says, else four fifths + a tenth validation + a tenth test",
        load_lines=lambda path, o: folder.load(_own("folder", path), height=o.height),
    ),
}


def _own(name: str, path: Path | None) -> Path:
    """A folder that cannot be downloaded.

    Raises:
        UserError: there is none.
    """
    chosen = choose_folder(name, path, lambda candidate: candidate.is_dir())
    if chosen is None:
        raise UserError(f"{name} needs a folder and cannot be downloaded; write {name}:FOLDER")
    return chosen


def _parse(data: str, holds: Literal["characters", "lines"]) -> tuple[Source, Path | None]:
    """Source and folder of `NAME[:FOLDER]`."""
    name, colon, path = data.partition(":")
    if name not in SOURCES:
        raise unknown_name("data", name, SOURCES)
    source = SOURCES[name]
    if source.holds != holds:
        fitting = ", ".join(known for known, other in SOURCES.items() if other.holds == holds)
        raise UserError(f"{name} holds {source.holds} where {holds} are needed; choose one of {fitting}")
    if colon and not path:
        raise UserError(f"{data!r} names no folder after the colon; write {name} alone, or {name}:FOLDER")
    if path and source.drawn:
        raise UserError(f"{name} is drawn, not read from a folder such as {path!r}; write {name} alone")
    return source, Path(path).expanduser() if path else None


def load(data: str, *, examples: int = 0, balance: bool = False) -> Dataset:
    """The data set `NAME` or `NAME:FOLDER` of characters, downloaded if need be.

    Args:
        data: a name of `SOURCES`, and after a colon the folder that holds its files.
        examples: how many to train on; 0 for all. `ink` draws as many, others give a seeded subset.
        balance: cap each class of the training split at the mean class count, before the subset is taken.

    Raises:
        UserError: an unknown name, files that cannot be had or are damaged, or more examples than there are.
    """
    source, path = _parse(data, "characters")
    _check_examples(examples)
    dataset = ink.load(examples) if source.load is None else source.load(path)
    train = balanced(dataset.train) if balance else dataset.train
    if examples and source.load is not None:
        train = subset(train, examples)
    return replace(dataset, train=train)


def load_lines(
    data: str,
    *,
    height: int,
    frames: Callable[[int], int],
    examples: int = 0,
    max_characters: int = 32,
    writer_pattern: str = "",
) -> LineDataset:
    """The data set `NAME` or `NAME:FOLDER` of lines, prepared if need be, with the characters of its training split.

    A line is refused, in whichever split it is, if it has no text, is wider than `WIDEST`, or has fewer frames than CTC
    needs to spell its text.

    Args:
        data: a name of `SOURCES`, and after a colon the folder that holds its files.
        height: rows of every image.
        frames: how many a line of so many columns gives; see `LineSpec.frames`.
        examples: how many to train on; 0 for all. What is drawn has as many before any is refused, others give a
            seeded subset of those that are not.
        max_characters: longest line of what is drawn.
        writer_pattern: finds the writer in a page's name; see `common.data.pages`.

    Raises:
        UserError: an unknown name, files that cannot be had or are damaged, fewer lines than were asked for, or a split
            with none.
    """
    source, path = _parse(data, "lines")
    _check_examples(examples)
    options = LineOptions(
        height=height, examples=examples, max_characters=max_characters, writer_pattern=writer_pattern
    )
    assert source.load_lines is not None, "a source of lines has a loader of lines"
    dataset = source.load_lines(path, options)
    refused = list(dataset.refused)
    splits = {}
    for name in ("train", "validation", "test"):
        splits[name] = _accepted(dataset.split(name), frames, refused)
        if not len(splits[name]):
            raise UserError(f"the {name} split of {data} is empty ({len(refused):,} lines refused); give more lines")
    if examples and len(splits["train"]) > examples:
        splits["train"] = subset(splits["train"], examples)
    elif len(splits["train"]) < examples != len(dataset.train):  # what is drawn has as many, refused ones included
        there = len(splits["train"])
        raise UserError(f"{examples:,} training lines were asked for; there are {there:,}, ask for fewer")
    return LineDataset(
        name=dataset.name,
        charset=Charset.of(splits["train"].texts),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        refused=tuple(refused),
    )


def _check_examples(examples: int) -> None:
    if examples < 0:
        raise UserError(f"{examples} training examples were asked for; expected at least 1, or 0 for all")


def _accepted(split: LineSplit, frames: Callable[[int], int], refused: list[Refused]) -> LineSplit:
    """The lines that can be learnt from; the others are added to `refused`."""
    kept = []
    for i, (text, width) in enumerate(zip(split.texts, split.widths_N.tolist(), strict=True)):
        needed = frames_needed(text)
        if not text:
            reason = "it has no text"
        elif width > WIDEST:
            reason = f"it is {width} columns wide, more than {WIDEST}"
        elif frames(width) < needed:
            reason = f"its {width} columns give {frames(width)} frames where its text needs {needed}"
        else:
            kept.append(i)
            continue
        refused.append(Refused(name=split.names[i], reason=reason))
    return split if len(kept) == len(split) else split.take(np.array(kept, dtype=np.int64))


def prepare(data: str) -> Path | None:
    """Download the data set of characters if need be and check it whole.

    Returns:
        The folder that holds it; None for what is drawn.

    Raises:
        UserError: as `load`.
    """
    source, path = _parse(data, "characters")
    if source.load is None or source.locate is None:
        return None
    chosen = source.locate(path)
    source.load(chosen)
    return chosen
