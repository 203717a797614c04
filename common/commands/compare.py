"""The command `fourhands compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Prove that the frameworks hold the same model, then show them side by side in one report."""

    out: Path
    """The report folder; one that was begun with the same flags is completed."""
    tier: Literal["quick", "full"] = "quick"
    """How much each framework gets to train with."""
    rungs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Which to compare; unless given, all that read what --data holds."""
    frameworks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Which to compare; all that are registered unless given."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """NAME or NAME:FOLDER; see `fourhands data list`; unless given, ink for characters and ink_lines for lines."""

    def __call__(self) -> int:
        """Write the report; exit code 1 if anything failed."""
        from common.report.compare import compare  # Jinja2 is slow to import

        return compare(self.tier, self.rungs, self.frameworks, out=self.out, data=self.data)
