"""The command `fourhands verify`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

import fourhands
from common.recognizer import Device


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check whether weights still give the logits they gave when they were saved, in every installed framework."""

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder or a weights file; by default the two models of the reader that ships."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """One framework; by default every installed one."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """Print the result as JSON."""

    def __call__(self) -> int:
        """Print a row per framework; the exit code is 1 if any differs."""
        results = fourhands.verify(self.run, self.framework, self.device)
        if self.json:
            print(json.dumps([asdict(result) for result in results]))
        else:
            _print_table(results)
        return 1 if any(result.same is False for result in results) else 0


def _print_table(results: Sequence[fourhands.Verification]) -> None:
    for result in results:
        name = f"{result.model or '':<{7 if result.model else 0}}{result.framework:<10}"
        if result.same is None:
            print(f"{name} not verified: {result.reason}")
        else:
            said = "the same model" if result.same else "DIFFERS"
            print(f"{name} {said:<15} logits within {result.worst:.1e}")
