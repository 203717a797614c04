"""Make the profile of a reader from the validation split of pages, and watch what a reader reads.

    python -m common.training.profiles pages:FOLDER --writer-pattern REGEX [--run RUN] [--out profile.json]

writes the profile of the reader that ships, or of a run. A run of lines writes its own profile when its training is
complete, from the validation split of its data.
"""

# H height, W width

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from common.data.config import DataConfig
from common.data.dataset import SplitName
from common.errors import NoWritingError, UserError
from common.evaluation.drift import with_nulls
from common.evaluation.known import KnownLine, known_line, known_lines
from common.evaluation.lines import LineEvaluation
from common.evaluation.profile import FILE, Profile, make_profile
from common.evaluation.signs import PageSigns, image_signs, signs_of
from common.reading.page import CutLine, Kind, PageReading, cut_lines
from common.reading.shipped import FINDER, MODELS, check_shipped
from common.spec import LineSpec, UNetSpec
from common.tasks import PAGES, task_of
from common.terminal import progress_bar
from common.training.page_reader import PageReader
from common.training.reader import picture_of
from common.training.trained import open_weights

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
        reading = reader.read(picture_HW, kind=kind, beam=beam, ngram=ngram)
    except NoWritingError:
        return None, signs_of(picture_HW, [], None)
    return reading, signs_of(picture_HW, cut_again(reader, picture_HW, reading), reading)


def cut_again(reader: PageReader, picture_HW: Picture, reading: PageReading) -> list[CutLine]:
    """The normalised images of the lines that were read."""
    spec = reader.reader.content.spec
    if reading.kind != "page":
        line = reading.lines[0]
        return [CutLine(task_of(spec).prepare(picture_HW, spec), line.outline, line.baseline)]
    lines = list(reading.lines)
    if reading.upside_down:
        picture_HW = np.ascontiguousarray(picture_HW[::-1, ::-1])
        corner = np.array(reading.size) - 1
        lines = [replace(line, outline=corner - line.outline, baseline=corner - line.baseline) for line in lines]
    return cut_lines(lines, picture_HW, cast(LineSpec, spec).height)


def watch_split(reader: PageReader, data: str, split: SplitName, config: DataConfig) -> Watched:
    """Read the pages of a split.

    Args:
        reader: a reader of pages.
        data: pages:FOLDER.
        split: the split.
        config: the pattern of the writers.

    Raises:
        UserError: data without pages, or pages that cannot be read.
    """
    content = open_weights(reader.finder_run or check_shipped(FINDER))
    pages = PAGES.load(data, cast(UNetSpec, content.spec), config).split(split)
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
