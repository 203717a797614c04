"""The commands `fourhands data list`, `prepare` and `show`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from common.data import sources
from common.data.lines import LineDataset
from common.errors import UserError, unknown_name
from common.spec import LSTMCTCSpec

_HEIGHT, _MAX_CHARACTERS = 28, 32


@dataclass(frozen=True, kw_only=True)
class List:
    """The data sets there are."""

    def __call__(self) -> int:
        """Print a paragraph per data set."""
        for name, source in sources.SOURCES.items():
            print(f"{name}: {source.description} ({source.holds})")
            print(f"    {source.sizes}\n    {source.origin}; {source.terms}")
        return 0


@dataclass(frozen=True, kw_only=True)
class _Data:
    """A data set, of characters or of lines."""

    data: tyro.conf.Positional[str]
    """NAME or NAME:FOLDER; see `fourhands data list`."""
    height: int = _HEIGHT
    """Of lines: rows that each is scaled to."""
    max_characters: int = _MAX_CHARACTERS
    """Of lines that are drawn: the longest."""
    writer_pattern: str = ""
    """Of pages: a regular expression whose group 1 names a page's writer; splits then share none."""

    def __post_init__(self) -> None:
        for field in ("height", "max_characters"):
            if getattr(self, field) < 1:
                flag = field.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, field)}; it must be at least 1")

    def lines(self) -> LineDataset | None:
        """The lines; None where the data set holds characters.

        Raises:
            UserError: it holds characters, and a flag was given that is for lines.
        """
        name = self.data.partition(":")[0]
        if name not in sources.SOURCES:
            raise unknown_name("data", name, sources.SOURCES)
        if sources.SOURCES[name].holds == "lines":
            return sources.load_lines(
                self.data,
                height=self.height,
                frames=LSTMCTCSpec(num_classes=2, height=self.height).frames,  # any charset: the stem alone counts
                max_characters=self.max_characters,
                writer_pattern=self.writer_pattern,
            )
        if (self.height, self.max_characters, self.writer_pattern) != (_HEIGHT, _MAX_CHARACTERS, ""):
            raise UserError(
                f"--height, --max-characters and --writer-pattern are for lines, and {name} holds characters; "
                "leave them out"
            )
        return None


@dataclass(frozen=True, kw_only=True)
class Prepare(_Data):
    """Download a data set if need be, and check it; bring lines to their height and keep them."""

    refused: bool = False
    """Of lines: name each that is in no split, and why."""

    def __call__(self) -> int:
        """Print where the files are, or what the lines are."""
        lines = self.lines()
        if lines is not None:
            self._describe(lines)
            return 0
        if self.refused:
            raise UserError(f"--refused is for lines, and {self.data} holds characters; leave it out")
        folder = sources.prepare(self.data)
        print(f"{self.data} is ready in {folder}" if folder else f"{self.data} is ready; it needs no files")
        return 0

    def _describe(self, lines: LineDataset) -> None:
        print(f"{self.data} is ready: lines of {self.height} rows")
        for name in ("train", "validation", "test"):
            split = lines.split(name)
            by = "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers or pages"
            unseen = Counter(c for text in split.texts for c in text if c not in lines.charset.class_of)
            other = f"; {unseen.total():,} characters that training never shows: {''.join(sorted(unseen))}"
            print(f"{name}: {len(split):,} lines{by}{other if unseen else ''}")
        print(f"charset: {len(lines.charset)} characters: {''.join(lines.charset.characters)}")
        hint = "" if self.refused or not lines.refused else "; --refused names them"
        print(f"refused: {len(lines.refused):,} lines{hint}")
        if self.refused:
            for line in lines.refused:
                print(f"    {line.name}: {line.reason}")


@dataclass(frozen=True, kw_only=True)
class Show(_Data):
    """Draw a contact sheet of a data set."""

    out: Path
    """The PNG to write."""

    def __call__(self) -> int:
        """Write the sheet."""
        from common.report.contact_sheet import contact_sheet, lines_sheet  # matplotlib is slow to import

        lines = self.lines()
        if lines is None:
            contact_sheet(sources.load(self.data), self.out)
        else:
            lines_sheet(lines, self.out)
        print(f"drawn in {self.out}")
        return 0
