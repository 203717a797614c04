"""Make the profile of a reader from the validation split of pages, and watch what a reader reads.

    python -m common.training.profiles pages:FOLDER --writer-pattern REGEX [--run RUN] [--out profile.json]

writes the profile of the reader that ships, or of a run. A run of lines writes its own profile when its training is
complete, from the validation split of its data.
"""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from common.data.config import DataConfig
from common.data.dataset import SplitName
from common.data.page_dataset import PageSplit
from common.errors import NoWritingError
from common.evaluation.known import KnownLine, known_lines
from common.evaluation.signs import PageSigns, signs_of
from common.reading.page import Kind, PageReading
from common.spec import UNetSpec
from common.tasks import PAGES
from common.terminal import progress_bar
from common.training.page_reader import PageReader
from common.training.reader import picture_of

Picture = UInt8[np.ndarray, "H W"]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The pictures of a split: their signs, and the lines whose true text is known."""

    pages: Sequence[PageSigns]
    writers: Sequence[int]
    """The writer of each picture."""
    lines: Sequence[KnownLine]
    names: Sequence[str] = ()


def watch(
    reader: PageReader, picture: Any, *, kind: Kind | None = None, beam: int | None = None, ngram: bool | None = None
) -> tuple[PageReading | None, PageSigns]:
    """Read one picture and measure its signs; the reading is None if there is no writing.

    The arguments are those of `PageReader.read`.

    Raises:
        UserError: a picture that cannot be read.
    """
    picture_HW = picture_of(picture)
    try:
        read = reader.read_by(reader.steps(picture_HW, kind), reader.search(beam, ngram))
    except NoWritingError:
        return None, signs_of(picture_HW, [], None)
    return read.reading, signs_of(picture_HW, read.cut, read.reading)


def split_of_pages(reader: PageReader, data: str, split: SplitName, config: DataConfig) -> PageSplit:
    """A split of pages.

    Args:
        reader: a reader of pages.
        data: pages:FOLDER.
        split: the split.
        config: the pattern of the writers.

    Raises:
        UserError: data without pages.
    """
    return PAGES.load(data, cast(UNetSpec, reader.finder.spec), config).split(split)


def watch_pages(reader: PageReader, pages: PageSplit) -> Watched:
    """Read the pages of a split and measure their signs.

    Raises:
        UserError: a page that cannot be read.
    """
    writers_N = np.arange(len(pages)) if pages.writers_N is None else pages.writers_N
    signs, lines = [], []
    with progress_bar() as bar:
        task = None if bar is None else bar.add_task("reading", total=len(pages))
        for i, writer in enumerate(writers_N.tolist()):
            reading, page = watch(reader, pages.pictures[i], kind="page")
            signs.append(page)
            if reading is not None and not reading.upside_down:
                lines += known_lines(reading, pages.lines[i], writer)
            if bar is not None and task is not None:
                bar.advance(task)
    return Watched(pages=signs, writers=writers_N.tolist(), lines=lines, names=list(pages.names))
