"""The commands `fourhands data list`, `prepare` and `show`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from common.data import sources


@dataclass(frozen=True, kw_only=True)
class List:
    """The data sets there are."""

    def __call__(self) -> int:
        """Print a paragraph per data set."""
        for name, source in sources.SOURCES.items():
            print(f"{name}: {source.description}\n    {source.sizes}\n    {source.origin}; {source.terms}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Download a data set if need be, and check it."""

    data: tyro.conf.Positional[str]
    """NAME or NAME:FOLDER; see `fourhands data list`."""

    def __call__(self) -> int:
        """Print where the files are."""
        folder = sources.prepare(self.data)
        print(f"{self.data} is ready in {folder}" if folder else f"{self.data} is ready; it needs no files")
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a contact sheet of a data set."""

    data: tyro.conf.Positional[str]
    """NAME or NAME:FOLDER; see `fourhands data list`."""
    out: Path
    """The PNG to write."""

    def __call__(self) -> int:
        """Write the sheet."""
        from common.data.sheet import contact_sheet  # matplotlib is slow to import

        contact_sheet(sources.load(self.data), self.out)
        print(f"drawn in {self.out}")
        return 0
