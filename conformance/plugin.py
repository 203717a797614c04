"""The options of a test run: what must be installed, how much to run, and what was left out.

A clone loads this plugin in every run (`-p conformance.plugin` in pyproject.toml). Elsewhere `conformance/conftest.py`
loads it. It imports nothing but pytest, because what it imports is not checked by jaxtyping's hook.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest

from conformance.progress import Progress, wanted

IMPLEMENTATIONS = "fourhands.implementations"
BESIDES = ("gpu", "browser", "data")
"""What a test can require apart from an implementation's framework."""

# Module that could not be imported -> name for --require
MODULES = {
    "torch": "pytorch",
    "keras": "keras",
    "tensorflow": "keras",
    "jax": "jax",
    "flax": "jax",
    "optax": "jax",
    "playwright": "browser",
}
_ABSENT = re.compile(
    r"could not import '(?:impl_)?(?P<module>\w+)"
    r"|need (?P<named>\w+):"
    r"|framework '(?P<framework>\w+)' is not installed"
)

MARKS = (
    "parity: the implementations are the same model",
    "learning: the implementations learn",
    "gpu: needs a GPU",
    "faults: the suite itself is tested with planted faults",
    "slow: minutes to an hour per test; runs only with -m slow",
    "full(kind, name): runs with --tier full, or if it is chosen by -k, -m or its id",
    "dtypes: the dtypes a check is run in; without it, both",
    "rungs: the rungs a check is run for; without it, all",
    "gate: the row of the tolerance table that a check uses",
    "xdist_group: pytest-xdist runs these tests in one process",
)

LEFT_OUT = pytest.StashKey[dict[str, Counter[str]]]()
"""Kind of test -> name -> how many were left out."""


# --- options
def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fourhands")
    group.addoption("--device", choices=("cpu", "gpu"), default="cpu", help="device that the models run on")
    group.addoption(
        "--require",
        default="",
        metavar="NAMES",
        help="comma-separated frameworks, gpu, browser or data: a test that would be skipped without one of them fails",
    )
    group.addoption(
        "--tier",
        choices=("quick", "full"),
        help="quick: each check in one dtype and a sample of the planted faults; full: everything but -m slow. "
        "The default is quick, and full where tests are chosen by -k, -m or their ids",
    )
    group.addoption("--report", type=Path, metavar="FILE", help="write the suite's results as JSON")


@pytest.hookimpl(trylast=True)  # after the terminal's own
def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    known = [*sorted(point.name for point in entry_points(group=IMPLEMENTATIONS)), *BESIDES]
    if unknown := required(config) - set(known):
        raise pytest.UsageError(f"--require {','.join(sorted(unknown))}: known are {', '.join(known)}")
    config.stash[LEFT_OUT] = defaultdict(Counter)
    if wanted(config):
        config.pluginmanager.register(Progress(config))


# --- what must be installed
def required(config: pytest.Config) -> set[str]:
    """The names given to `--require`."""
    return {name for name in config.getoption("--require").split(",") if name}


def skip_or_fail(config: pytest.Config, name: str, reason: str) -> NoReturn:
    """Skip the test because `name` is missing; fail it if `name` is required."""
    if name in required(config):
        pytest.fail(f"{reason} (and --require {name} was given)", pytrace=False)
    pytest.skip(reason)


Missing = Callable[[str, str], NoReturn]


@pytest.fixture(scope="session")
def missing(pytestconfig: pytest.Config) -> Missing:
    """Call it with a name for `--require` and a reason where something is missing; see `skip_or_fail`."""
    return lambda name, reason: skip_or_fail(pytestconfig, name, reason)


@pytest.fixture(scope="session")
def real_data(missing: Missing) -> Callable[[str], Path]:
    """The path of a folder of the data root; skips the test, or fails it if data is required, where it is missing."""
    root = os.environ.get("FOURHANDS_DATA", "")  # now, because tests may take the variable away

    def find(folder: str) -> Path:
        if not root or not (path := Path(root, folder)).is_dir():
            missing("data", f"missing: FOURHANDS_DATA/{folder}")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    _fail_if_required(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    _fail_if_required(collector.config, report)
    return report


def _fail_if_required(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip by `pytest.importorskip` into a failure if it is for the want of something required."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2]
    if (found := _ABSENT.search(reason)) is None:
        return
    word = next(filter(None, found.groups())).lower()
    name = MODULES.get(word, word)
    if name in required(config):
        report.outcome = "failed"
        report.longrepr = f"{reason} (and --require {name} was given)"


# --- how much to run
def tier(config: pytest.Config) -> Literal["quick", "full"]:
    """The tier of the run: as given, else full where the user chose tests, else quick."""
    if given := config.getoption("--tier"):
        return given  # type: ignore[no-any-return]
    chosen = config.option.keyword or config.option.markexpr or config.getoption("lf", False)
    return "full" if chosen or any("::" in argument for argument in config.args) else "quick"


@pytest.hookimpl(trylast=True)  # after -k and -m, so that only what would have run counts as left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = "slow" in config.option.markexpr
    kept, dropped = [], []
    for item in items:
        full = item.get_closest_marker("full")
        if item.get_closest_marker("slow") and not slow:
            config.stash[LEFT_OUT]["slow"][item.name.partition("[")[0]] += 1
            dropped.append(item)
        elif full and tier(config) == "quick":
            kind, *name = full.args
            config.stash[LEFT_OUT][kind][name[0] if name else ""] += 1
            dropped.append(item)
        else:
            kept.append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist; each of them collects all tests
        session.config.workeroutput["left_out"] = {
            kind: dict(names) for kind, names in session.config.stash[LEFT_OUT].items()
        }


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for kind, names in getattr(node, "workeroutput", {}).get("left_out", {}).items():
        node.config.stash[LEFT_OUT][kind] = Counter(names)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    slow = left_out.pop("slow", Counter())
    if not left_out or config.option.collectonly:
        return
    terminalreporter.section("left out of this run")
    for kind, names in sorted(left_out.items()):
        listed = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(names.items()) if name)
        text = f"{names.total():,} {kind}" + (f": {listed}" if listed else "")
        terminalreporter.write_line(textwrap.fill(text, width=110, subsequent_indent="    ", break_on_hyphens=False))
    if slow:
        terminalreporter.write_line(f"{slow.total():,} slow: {', '.join(slow)} (run them with -m slow)")
    terminalreporter.write_line("Run all but the slow ones with: pytest --tier full, or make check")
