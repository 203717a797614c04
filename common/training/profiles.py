"""Make the profile of a reader from the validation split of pages, and watch what a reader reads.

    python -m common.training.profiles pages:FOLDER [--writer-pattern REGEX] [--run RUN] [--out FILE]

writes the profile of the reader that ships, `common/reading/models/profile.json`, or of a run. A run of lines writes
its own profile when its training is complete, from the lines of its validation split. A profile of pages is better
where pages come in: it also has the signs of pages, and the lines as they are found.
"""

# H height, W width

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from common.data.config import DataConfig
from common.data.dataset import SplitName
from common.data.page_dataset import PageSplit
from common.errors import NoWritingError, UserError
from common.evaluation.known import KnownLine, known_lines
from common.evaluation.profile import FILE, Profile, identity_of
from common.evaluation.profiling import whole_profile
from common.evaluation.signs import PageSigns, signs_of
from common.reading.page import Kind, PageReading
from common.reading.shipped import READER, check_shipped
from common.spec import UNetSpec
from common.tasks import PAGES
from common.terminal import progress_bar
from common.training.folder import WEIGHTS
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


def profile_of_pages(reader: PageReader, data: str, config: DataConfig, *, identity: str, window: int = 300) -> Profile:
    """The profile of a reader of pages, from the validation split.

    Args:
        reader: a reader of pages.
        data: pages:FOLDER.
        config: the pattern of the writers.
        identity: of the reader's weights, see `identity_of`.
        window: lines of the windows that will be compared with it.

    Raises:
        UserError: data without pages, a page that cannot be read, or too few lines.
    """
    watched = watch_pages(reader, split_of_pages(reader, data, "validation", config))
    return whole_profile(
        watched.pages,
        watched.writers,
        watched.lines,
        reader=identity,
        data=data.partition(":")[0],
        window=window,
    )


def weights_of(run: Path | None) -> Path:
    """The weights file of a run; None for the reader that ships."""
    if run is None:
        return check_shipped(READER)
    return run / WEIGHTS if run.is_dir() else run


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit code is 2 for an error that the user can correct."""
    said = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m common.training.profiles", description=said)
    parser.add_argument("data", metavar="pages:FOLDER", help="pages, whose validation split is read")
    parser.add_argument("--writer-pattern", default="", metavar="REGEX", help="group 1 is the writer in a page's name")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run of lines; default: the reader that ships")
    parser.add_argument("--finder", type=Path, metavar="RUN", help="a run of unet; default: the finder that ships")
    parser.add_argument("--framework", metavar="NAME", help="default: the one that trained RUN, or NumPy")
    parser.add_argument("--window", type=int, default=300, metavar="LINES", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: profile.json beside the weights")
    given = parser.parse_args(arguments)
    try:
        reader = PageReader.open(run=given.run, finder=given.finder, framework=given.framework)
        out = given.out or weights_of(given.run).with_name(FILE)
        profile = profile_of_pages(
            reader,
            given.data,
            DataConfig(writer_pattern=given.writer_pattern),
            identity=identity_of(weights_of(given.run)),
            window=given.window,
        )
        profile.save(out)
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(
        f"{out}: {profile.lines:,} lines of {profile.pages:,} pages by {profile.writers:,} writers, "
        f"{out.stat().st_size:,} bytes\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
