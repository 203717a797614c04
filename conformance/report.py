"""What the suite found, as JSON: one entry per check, and how many planted faults were caught."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.files import write_atomically
from conformance.tolerances import tolerance


class Report:
    """Collects outcomes as tests end."""

    def __init__(self) -> None:
        self.checks: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []

    def add(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Note one test's end, if it tells of an implementation."""
        callspec = getattr(item, "callspec", None)
        if callspec is None:
            return
        entry = {"outcome": _outcome(report), "reason": _reason(report), "seconds": round(report.duration, 3)}
        if "planted" in callspec.params:
            fault, rung, implementation = callspec.params["planted"]
            self.faults.append({"fault": fault, "rung": rung, "implementation": implementation, **entry})
        elif "subject" in callspec.params:
            rung, implementation, dtype = callspec.params["subject"]
            check = item.originalname.removeprefix("test_").replace("_", " ")  # type: ignore[attr-defined]
            worst = dict(item.user_properties).get("worst")
            self.checks.append(
                {
                    "implementation": implementation,
                    "rung": rung,
                    "check": check,
                    "dtype": dtype,
                    "worst": worst,
                    "tolerance": _limit(item, dtype, implementation, rung),
                    **entry,
                }
            )

    def faults_by_implementation(self) -> dict[str, dict[str, int]]:
        """Implementation to faults planted and caught; those that could not be planted are not counted."""
        tried = [fault for fault in self.faults if fault["outcome"] in ("passed", "failed")]
        planted = Counter(fault["implementation"] for fault in tried)
        caught = Counter(fault["implementation"] for fault in tried if fault["outcome"] == "passed")
        return {name: {"planted": planted[name], "caught": caught[name]} for name in sorted(planted)}

    def lines(self) -> list[str]:
        """The catch rate, for the end of the run."""
        return [
            f"planted faults caught in {name}: {count['caught']} of {count['planted']}"
            for name, count in self.faults_by_implementation().items()
        ]

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        by_implementation = self.faults_by_implementation()
        content = {
            "summary": Counter(check["outcome"] for check in self.checks),
            "checks": self.checks,
            "faults": {
                "planted": sum(count["planted"] for count in by_implementation.values()),
                "caught": sum(count["caught"] for count in by_implementation.values()),
                "by_implementation": by_implementation,
                "each": self.faults,
            },
        }
        write_atomically(path, json.dumps(content, indent=1).encode())


def _limit(item: pytest.Item, dtype: str, implementation: str, rung: str) -> float | None:
    mark = item.get_closest_marker("gate")
    if mark is None:
        return None
    check, *of_another_dtype = mark.args
    return tolerance(check, *(of_another_dtype or [dtype]), implementation, rung).limit


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.skipped:
        return "not_applicable" if "not applicable: " in _reason(report) else "skipped"
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr or "")
