"""The verdict of the conformance suite on each framework: only figures of frameworks that passed are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Check = dict[str, Any]
"""One entry of the suite's report: implementation, rung, check, dtype, outcome, reason, worst, tolerance, seconds."""

# several checks in one cell are shown by the first of these outcomes
_SEVERITY = ("failed", "xpassed", "xfailed", "skipped", "not_applicable", "passed")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The suite's verdict on a framework; only one that passed is shown."""

    status: Literal["passed", "failed", "absent"]
    """absent: the framework is not installed, so nothing was checked."""
    passed: int
    checks: int
    reason: str
    """Why it did not pass, in one line; empty if it passed."""


def read_checks(path: Path, rungs: Sequence[str], frameworks: Sequence[str]) -> list[Check]:
    """The entries of these rungs and frameworks."""
    checks: list[Check] = json.loads(path.read_text(encoding="utf-8"))["checks"]
    return [c for c in checks if c["implementation"] in frameworks and c["rung"] in rungs]


def verdict(checks: Sequence[Check], framework: str, rungs: Sequence[str]) -> Verdict:
    """The verdict on a framework. It fails with one failed check in any rung, or with a rung that passed no check."""
    own = [check for check in checks if check["implementation"] == framework]
    passed = [check for check in own if check["outcome"] == "passed"]

    def of(status: Literal["passed", "failed", "absent"], reason: str) -> Verdict:
        return Verdict(status=status, passed=len(passed), checks=len(own), reason=reason)

    failed = [check for check in own if check["outcome"] in ("failed", "xpassed")]
    if failed:
        first = failed[0]
        reason = (first["reason"] or "a known failure passes now").splitlines()[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return of("failed", f"{first['check']}, {first['rung']}, {first['dtype']}: {reason}{more}")
    if own and all(check["outcome"] == "skipped" for check in own):
        return of("absent", own[0]["reason"])
    unproven = [rung for rung in rungs if not any(check["rung"] == rung for check in passed)]
    if unproven:
        return of("failed", f"no check of {' and '.join(unproven)} passed")
    return of("passed", "")


def matrix(checks: Sequence[Check], rung: str, frameworks: Sequence[str]) -> list[dict[str, Any]]:
    """A row per check and dtype, in the suite's order, with the outcome of each framework."""
    rows: dict[tuple[str, str], dict[str, list[Check]]] = {}
    for check in checks:
        if check["rung"] == rung:
            row = rows.setdefault((check["check"], check["dtype"]), {})
            row.setdefault(check["implementation"], []).append(check)
    return [
        {"check": name, "dtype": dtype, "cells": {f: _cell(row.get(f, [])) for f in frameworks}}
        for (name, dtype), row in rows.items()
    ]


def _cell(checks: Sequence[Check]) -> dict[str, Any]:
    """The worst of the checks. `over`: it passed although its deviation exceeds the gate that the suite recorded."""
    if not checks:
        return {"outcome": "not run", "reason": "", "worst": None, "tolerance": None, "over": False}
    worst = min(checks, key=lambda check: (_SEVERITY.index(check["outcome"]), -(check["worst"] or 0)))
    gated = worst["outcome"] == "passed" and None not in (worst["worst"], worst["tolerance"])
    over = gated and not worst["worst"] <= worst["tolerance"]
    return {name: worst[name] for name in ("outcome", "reason", "worst", "tolerance")} | {"over": over}
