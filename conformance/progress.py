"""One line of progress with the time left, on a terminal, in place of pytest's dots."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

CACHE = "fourhands/seconds"

# Seconds of a test that has not been timed here yet, by the start of its id. Only their ratios matter.
GUESSES = (
    (re.compile(r"conformance/test_resume\.py"), 12.0),
    (re.compile(r"conformance/test_training\.py"), 9.0),
    (re.compile(r"conformance/test_faults\.py"), 0.9),
    (re.compile(r"conformance/.*\["), 1.5),
    (re.compile(r"docs/test_lectures\.py::test_downloaded"), 30.0),
    (re.compile(r"docs/lectures/"), 0.7),
)
OTHERWISE = 0.2


def wanted(config: pytest.Config) -> bool:
    """Whether to show progress: on a terminal, without -q, -v, -s, --collect-only or a debugger."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(config, "workerinput") or not terminal.isatty() or os.environ.get("TERM") == "dumb":
        return False
    option = config.option
    return not (option.verbose or option.capture == "no" or option.collectonly or option.usepdb)


def seconds_of(test: str, timed: dict[str, float]) -> float:
    """The expected seconds of a test, by its id."""
    if test in timed:
        return timed[test]
    return next((seconds for pattern, seconds in GUESSES if pattern.match(test)), OTHERWISE)


def time_left(elapsed: float, done: float, remaining: float) -> float | None:
    """Seconds left, as the run has gone so far; None before anything is known.

    Args:
        elapsed: seconds since the first test began.
        done: expected seconds of the tests that have ended. Their ratio to `elapsed` says how fast this machine is, and
            how many processes run.
        remaining: expected seconds of the other tests.
    """
    return elapsed * remaining / done if done else None


def line_of(ended: int, total: int, failed: int, left: float | None) -> str:
    """Such as "412 of 1,203 tests, 2 failed, about 5 min left"."""
    parts = [f"{ended:,} of {total:,} tests"]
    if failed:
        parts.append(f"{failed:,} failed")
    if left is not None:
        parts.append(f"about {left / 60:.0f} min left" if left >= 90 else f"about {max(5, 5 * round(left / 5))} s left")
    return ", ".join(parts)


def _plain(test: str) -> str:
    """The id without the group that pytest-xdist adds to it."""
    return test.partition("]@")[0] + "]" if "]@" in test else test.partition("@")[0]


class Progress:
    """A plugin of pytest. It uses hooks alone, so it works with pytest-xdist, whose processes report to this one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._terminal.showfspath = False
        cache = getattr(config, "cache", None)
        self._timed: dict[str, float] = dict(cache.get(CACHE, {})) if cache else {}
        self._expected: dict[str, float] = {}
        self._begun = self._shown = time.monotonic()
        self._ended: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._failed = 0
        self._running = True

    # --- which tests there are
    def _expect(self, tests: Iterable[str]) -> None:
        if not self._expected:
            self._begun = time.monotonic()
            self._expected = {test: seconds_of(test, self._timed) for test in map(_plain, tests)}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._expect(ids)

    # --- what has ended
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Any:
        status = yield
        # no dots while tests run; the summary at the end asks for the words again
        return (status[0], "", "") if self._running else status

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = _plain(report.nodeid)
        self._seconds[test] = self._seconds.get(test, 0.0) + report.duration
        if report.failed:
            self._failed += 1
            self._terminal.rewrite("", erase=True)
            self._terminal.rewrite(f"FAILED {test}", red=True)
            self._terminal.write_line("")
        if report.when == "teardown":
            self._ended.add(test)
        now = time.monotonic()
        if now - self._shown < 0.2 and not report.failed:  # redrawing for every test would flicker
            return
        self._shown = now
        done = sum(self._expected.get(ended, 0.0) for ended in self._ended)
        left = time_left(now - self._begun, done, sum(self._expected.values()) - done)
        self._terminal.rewrite(line_of(len(self._ended), len(self._expected), self._failed, left), erase=True)
        self._terminal.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._running = False
        self._terminal.rewrite("", erase=True)
        self._terminal.rewrite("")
        if cache := getattr(self._config, "cache", None):
            cache.set(CACHE, self._timed | {test: round(self._seconds[test], 2) for test in sorted(self._ended)})
