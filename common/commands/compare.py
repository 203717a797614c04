"""The command `fourhands compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Check that the frameworks compute the same model, then compare them in one report."""

    out: Path
    """The report folder; an interrupted report of the same flags is continued."""
    tier: Literal["first", "quick", "full"] = "first"
    """first: a look in twelve minutes; quick: the published comparison, in twenty-five; full: hours of training."""
    rungs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Rungs to compare; by default all that read the data."""
    frameworks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Frameworks to compare; by default all that are registered."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """NAME or NAME:FOLDER, see `fourhands data list`; by default ink for characters, ink_lines for lines
    and ink_pages for pages."""

    def __call__(self) -> int:
        """Write the report; the exit code is 1 if anything failed."""
        from common.report.compare import compare  # Jinja2 is slow to import

        return compare(self.tier, self.rungs, self.frameworks, out=self.out, data=self.data)
