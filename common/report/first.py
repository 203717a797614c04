"""The tier `first`: what the report says about it, and how to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.report.budgets import estimated_minutes

FIRST, PUBLISHED, LONGEST = "first", "quick", "full"
"""Tiers: the default, the one whose figures the project publishes, and the longest one."""

MEANING = (
    "Each framework trained for seconds only, so the whole report is ready within a quarter of an hour. The scores "
    "are poor: they show that training, evaluation and reading work, and say nothing about a framework. The speeds are "
    "those of a few dozen steps, so they show the order of the frameworks only roughly. The figures that this project "
    f"publishes come from the {PUBLISHED} tier."
)

LeftOut = Mapping[str, Mapping[str, int]]
"""Kind of test to the names of tests to how many of each the suite left out."""


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """What a report of the tier `first` says about itself."""

    meaning: str
    left_out: Sequence[tuple[str, str]]
    """What the suite left out: a sentence, and the names, which may be empty."""
    commands: Sequence[tuple[str, str]]
    """The commands that go on, each with its approximate duration."""


def read_left_out(*reports: Path) -> dict[str, dict[str, int]]:
    """What the suite left out, from its reports. One that is missing left out nothing."""
    found: dict[str, dict[str, int]] = {}
    for path in reports:
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            for kind, names in content.get("left_out", {}).items():
                found.setdefault(kind, {}).update(names)
    return found


def first_look(report: Mapping[str, Any], left_out: LeftOut) -> FirstLook | None:
    """What the report says about its tier; None for the other tiers.

    Args:
        report: the content of report.json.
        left_out: see `read_left_out`.
    """
    settings = report["settings"]
    if settings["tier"] != FIRST:
        return None
    commands = []
    for tier in (PUBLISHED, LONGEST):
        command = report["commands"][0].replace(f"--tier {FIRST}", f"--tier {tier}")
        minutes = estimated_minutes(tier, settings["rungs"], len(settings["frameworks"]))
        commands.append((command.replace("--out report", f"--out report-{tier}"), f"about {_rounded(minutes)}"))
    return FirstLook(
        meaning=MEANING,
        left_out=[(f"{sum(names.values()):,} {kind}", _listed(names)) for kind, names in sorted(left_out.items())],
        commands=commands,
    )


def _listed(names: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(names.items()) if name)


def _rounded(minutes: float) -> str:
    return f"{round(minutes / 60)} hours" if minutes >= 90 else f"{max(1, round(minutes / 5)) * 5} minutes"
