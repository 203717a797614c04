"""The suite's results as JSON: one entry per check, and how many planted faults were caught."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.atomic import write_atomically
from conformance.plugin import LEFT_OUT
from conformance.tolerances import tolerance

Entry = dict[str, Any]


def describe(item: pytest.Item, report: pytest.TestReport) -> tuple[str, Entry] | None:
    """The result of a finished test: "checks" or "faults", and its entry there; None if it is neither."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    entry = {"outcome": _outcome(report), "reason": _reason(report), "seconds": round(report.duration, 3)}
    if "planted" in params:
        fault, rung, implementation = params["planted"]
        return "faults", {
            "fault": fault,
            "rung": rung,
            "implementation": implementation,
            "deviation": dict(item.user_properties).get("deviation"),
            **entry,
        }
    if "subject" in params:
        rung, implementation, dtype = params["subject"]
        return "checks", {
            "implementation": implementation,
            "rung": rung,
            "check": item.originalname.removeprefix("test_").replace("_", " "),  # type: ignore[attr-defined]
            "dtype": dtype,
            "worst": dict(item.user_properties).get("worst"),
            "tolerance": _limit(item, dtype, implementation, rung),
            **entry,
        }
    return None


class Report:
    """A plugin that collects the result that `describe` returned for each test, and writes all to `path`, if given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: list[tuple[int, str, Entry]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if found := getattr(report, "found", None):
            self._found.append(found)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, count in self.faults_by_implementation().items():
            terminalreporter.write_line(f"planted faults caught in {name}: {count['caught']} of {count['planted']}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._path is not None:
            self.write(self._path, session.config.stash[LEFT_OUT])

    def of_kind(self, kind: str) -> list[Entry]:
        """The entries in the order of the suite, which is not the order in which parallel tests end."""
        return [entry for _, of, entry in sorted(self._found, key=lambda found: found[0]) if of == kind]

    def faults_by_implementation(self) -> dict[str, dict[str, int]]:
        """Implementation to the numbers of faults planted and caught, without faults that could not be planted."""
        tried = [fault for fault in self.of_kind("faults") if fault["outcome"] in ("passed", "failed")]
        planted = Counter(fault["implementation"] for fault in tried)
        caught = Counter(fault["implementation"] for fault in tried if fault["outcome"] == "passed")
        return {name: {"planted": planted[name], "caught": caught[name]} for name in sorted(planted)}

    def write(self, path: Path, left_out: Mapping[str, Mapping[str, int]]) -> None:
        """Write the JSON file; `left_out` is what the tier left out: kind of test to name to number of tests."""
        by_implementation = self.faults_by_implementation()
        content = {
            "summary": Counter(check["outcome"] for check in self.of_kind("checks")),
            "checks": self.of_kind("checks"),
            "faults": {
                "planted": sum(count["planted"] for count in by_implementation.values()),
                "caught": sum(count["caught"] for count in by_implementation.values()),
                "by_implementation": by_implementation,
                "each": self.of_kind("faults"),
            },
            "left_out": {kind: dict(names) for kind, names in left_out.items() if kind != "slow"},
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
