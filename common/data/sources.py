"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from common.data import emnist, emnist_lines, folder, iam_lines, ink, ink_lines, ink_pages, mnist, page_dataset, pages
from common.data.config import DataConfig
from common.data.dataset import AnyDataset
from common.data.download import choose_folder
from common.errors import UserError, unknown_name

Holds = Literal["characters", "lines", "pages"]
Load = Callable[[Path | None, int, DataConfig], AnyDataset]
"""Reads or draws a data set, before its task refuses any example.

The arguments are the folder (None uses the data root, the cache or a download), the height of line images in pixels
(characters ignore it) and the configuration."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set: what it contains, its origin and how to load it."""

    description: str
    origin: str
    terms: str
    sizes: str
    """Training + test examples; number of classes. Validation is part of the training examples, unless it is named."""
    holds: Holds
    """Name of the task that the data is for."""
    load: Load
    """Loads it as its task's kind of data; `pages` and `iam_lines` as lines."""
    locate: Callable[[Path | None], Path] | None = None
    """Finds the folder with its files, and downloads them if necessary. None: nothing can be downloaded."""
    load_pages: Load | None = None
    """Loads it as pages with their lines; None if it has no pages. The second argument is then the size of the page
    images, see `UNetSpec.side`."""
    drawn: bool = False
    """Whether it is drawn, in any amount, and needs no files."""

    def loader(self, what: Holds) -> Load | None:
        """The function that loads the data for the task of this name; None if the data is for another task."""
        return self.load if self.holds == what else self.load_pages if what == "pages" else None


def _emnist(name: str, split: str, description: str, sizes: str) -> Source:
    return Source(
        description=description,
        origin="EMNIST, Cohen et al. 2017, from NIST Special Database 19; download of 562 MB",
        terms="NIST states none; Special Database 19 is a work of the United States government",
        sizes=sizes,
        holds="characters",
        load=lambda path, _, __: emnist.load(name, path, split),
        locate=partial(emnist.locate, split=split),
    )


SOURCES: dict[str, Source] = {
    "ink": Source(
        description="synthetic handwriting of 0-9 A-Z a-z, drawn when it is loaded, any amount",
        origin="strokes of the Hershey fonts, deformed for each writer; no download",
        terms="the strokes are in the public domain",
        sizes="20,026 + 2,480 validation + 4,960 test by 443 writers; 62 classes",
        holds="characters",
        load=lambda _, __, config: ink.load(config.examples),
        drawn=True,
    ),
    "mnist": Source(
        description="handwritten digits",
        origin="MNIST, LeCun et al. 1998; download of 12 MB",
        terms="free to use",
        sizes="60,000 + 10,000; 10 classes",
        holds="characters",
        load=lambda path, _, __: mnist.load(path),
        locate=mnist.locate,
    ),
    "emnist": _emnist(
        "emnist",
        "byclass",
        "handwritten 0-9 A-Z a-z, with natural class frequencies",
        "697,932 + 116,323; 62 classes",
    ),
    "emnist_bymerge": _emnist(
        "emnist_bymerge",
        "bymerge",
        "as emnist, with both cases merged for letters that look alike in both",
        "697,932 + 116,323; 47 classes",
    ),
    "emnist_balanced": _emnist(
        "emnist_balanced",
        "balanced",
        "as emnist_bymerge, with equally frequent classes",
        "112,800 + 18,800; 47 classes",
    ),
    "emnist_letters": _emnist(
        "emnist_letters", "letters", "handwritten letters, both cases merged", "124,800 + 20,800; 26 classes"
    ),
    "emnist_digits": _emnist("emnist_digits", "digits", "handwritten digits", "240,000 + 40,000; 10 classes"),
    "emnist_mnist": _emnist(
        "emnist_mnist", "mnist", "handwritten digits, the same number as in MNIST", "60,000 + 10,000; 10 classes"
    ),
    "ink_lines": Source(
        description="lines of synthetic handwriting, English prose in ASCII, drawn when first loaded, any amount",
        origin="strokes of the Hershey fonts, deformed for each writer; text from Python's documentation; no download",
        terms="the strokes are in the public domain; Python's license for the text",
        sizes="8,000 + 500 validation + 1,000 test lines by 475 writers; 83 characters",
        holds="lines",
        load=lambda _, height, config: ink_lines.load(
            config.examples, height=height, max_characters=config.max_characters
        ),
        drawn=True,
    ),
    "ink_pages": Source(
        description="pages of synthetic handwriting with their lines, as scans and as photos, drawn when needed",
        origin="strokes of the Hershey fonts, deformed for each writer; text from Python's documentation; no download",
        terms="the strokes are in the public domain; Python's license for the text",
        sizes="600 + 40 validation + 80 test pages by 180 writers",
        holds="pages",
        load=lambda _, side, config: ink_pages.load(
            config.examples, side=side, text=Path(config.text) if config.text else None
        ),
        drawn=True,
    ),
    "emnist_lines": Source(
        description="lines composed of EMNIST's characters, any amount",
        origin="characters of emnist, text from Python's documentation",
        terms="as emnist",
        sizes="8,000 + 500 validation + 1,000 test lines; 62 characters and space",
        locate=partial(emnist.locate, split="byclass"),
        holds="lines",
        load=lambda path, height, config: emnist_lines.load(
            path, height=height, examples=config.examples, max_characters=config.max_characters
        ),
    ),
    "iam_lines": Source(
        description="handwritten English lines of the IAM database",
        origin="Marti & Bunke 2002; needs a registration, so no automatic download",
        terms="non-commercial research",
        sizes="6,161 + 1,840 validation + 1,861 test lines in the standard split, which separates writers",
        holds="lines",
        load=lambda path, height, _: iam_lines.load(_own("iam_lines", path), height=height),
        load_pages=lambda path, side, _: iam_lines.load_pages(_own("iam_lines", path), side=side),
    ),
    "pages": Source(
        description="your own page images with ALTO 2 to 4 or PAGE 2013 to 2019 XML beside them",
        origin="any folder: pages:FOLDER",
        terms="your own",
        sizes="four fifths + a tenth validation + a tenth test, by page or by writer",
        holds="lines",
        load=lambda path, height, config: pages.load(
            _own("pages", path),
            height=height,
            writer_pattern=config.writer_pattern,
            hold_out=config.hold_out,
        ),
        load_pages=lambda path, side, config: page_dataset.load(
            _own("pages", path), side=side, writer_pattern=config.writer_pattern
        ),
    ),
    "folder": Source(
        description="your own images of lines, with labels in one CSV, TSV or JSONL, or in NAME.txt beside each image",
        origin="any folder: folder:FOLDER",
        terms="your own",
        sizes="as the labels say, or four fifths + a tenth validation + a tenth test",
        holds="lines",
        load=lambda path, height, _: folder.load(_own("folder", path), height=height),
    ),
}


def _own(name: str, path: Path | None) -> Path:
    """The folder of data that cannot be downloaded.

    Raises:
        UserError: the user named no folder, and the data root has none.
    """
    chosen = choose_folder(name, path, lambda candidate: candidate.is_dir())
    if chosen is None:
        raise UserError(f"{name} needs a folder and cannot be downloaded; write {name}:FOLDER")
    return chosen


def source_of(name: str) -> Source:
    """The data set that `NAME[:FOLDER]` names.

    Raises:
        UserError: unknown name.
    """
    name = name.partition(":")[0]
    if name not in SOURCES:
        raise unknown_name("data", name, SOURCES)
    return SOURCES[name]


def parse(data: str, holds: Holds) -> tuple[Source, Path | None]:
    """The data set and the folder of `NAME[:FOLDER]`.

    Args:
        data: a name in `SOURCES`, optionally followed by a colon and the folder with its files.
        holds: the task for which the data is needed.

    Raises:
        UserError: the name is unknown, the data is for another task, the folder after the colon is missing, or drawn
            data is given a folder.
    """
    source = source_of(data)
    name, colon, path = data.partition(":")
    if source.loader(holds) is None:
        fitting = ", ".join(known for known, other in SOURCES.items() if other.loader(holds))
        raise UserError(f"{name} holds {source.holds} where {holds} are needed; choose one of {fitting}")
    if colon and not path:
        raise UserError(f"{data!r} names no folder after the colon; write {name} alone, or {name}:FOLDER")
    if path and source.drawn:
        raise UserError(f"{name} is drawn and cannot be read from the folder {path!r}; write {name} alone")
    return source, Path(path).expanduser() if path else None
