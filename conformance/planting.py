"""Planting a fault: a copy of a package with a few words changed is imported instead of the original."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.recognizer import DType, implementations

COMMON = "common"
"""The key of an edit in the package that all implementations share."""


@dataclass(frozen=True)
class Edit:
    """Words that must occur exactly once in a source file, and their replacement."""

    file: str
    """Relative to the package."""
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake that someone could make, and the test that must then fail."""

    name: str
    meaning: str
    check: str
    """The function in `conformance.checks` that must raise `Mismatch`; or the id of a test of `common`, such as
    `common/tests/test_metrics.py::test_name`, that must fail."""
    rung: str
    """Of a fault in `common` that a test of `common` catches: empty."""
    edits: Mapping[str, Edit]
    """Implementation to edit. An implementation that is missing here cannot have this fault; `meaning` says why.

    A fault in `common`, which would make all implementations agree on a wrong result, has the one key "common". It must
    be caught by a check that compares with a closed form, and not with another implementation."""
    dtype: DType = "float64"


def package_of(key: str) -> str:
    """The package that an edit is in: `common`, or an implementation's."""
    return COMMON if key == COMMON else implementations()[key].module.split(".")[0]


def copy_package(key: str, folder: Path) -> Path:
    """Copy the package into `folder`, and return the path of the copy. Only `common` is copied with its tests."""
    package = package_of(key)
    origin = importlib.util.find_spec(package)
    assert origin is not None
    assert origin.origin is not None
    ignored = shutil.ignore_patterns("__pycache__", *(() if key == COMMON else ("tests",)))
    return Path(shutil.copytree(Path(origin.origin).parent, folder / package, ignore=ignored))


def plant(fault: Fault, key: str, folder: Path) -> None:
    """Write a faulty copy of a package into `folder`.

    Raises:
        ValueError: the words to change do not occur exactly once in the file, so the table of faults is out of date.
    """
    copy = copy_package(key, folder)
    edit = fault.edits[key]
    source = (copy / edit.file).read_text(encoding="utf-8")
    if source.count(edit.old) != 1:
        raise ValueError(
            f"fault {fault.name!r}: {edit.old!r} occurs {source.count(edit.old)} times in {copy.name}/{edit.file}, "
            "expected once; update the fault in conformance/faults"
        )
    (copy / edit.file).write_text(source.replace(edit.old, edit.new), encoding="utf-8")


def settings_file() -> Path | None:
    """The pyproject.toml that the tests of `common` need; None where only the packages are installed."""
    package = importlib.util.find_spec(COMMON)
    assert package is not None
    assert package.origin is not None
    root = Path(package.origin).parents[1]
    found = root / "pyproject.toml"
    return found if found.exists() and (root / COMMON / "tests").is_dir() else None


def run_tests_of_common(tests: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of `common`, by their ids, on the copy of `common` in `folder`.

    Shapes are not checked: a fault must be caught by what the test asserts, and preparing those checks takes several
    times longer than the test.
    """
    settings = settings_file()
    assert settings is not None
    shutil.copy(settings, folder)
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    # instead of the options in pyproject.toml
    options = ["-o", "addopts=", "--import-mode=importlib", "-p", "conformance.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *tests, *options, "-q", "-rfE", "--tb=short", "--color=no"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "300"},  # or the summary is cut off before the reason
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def broken(output: str) -> list[str]:
    """The tests of pytest's summary that failed for another reason than an assertion, such as a NameError.

    Such a fault only breaks the code. It does not show that the test sees a wrong result.
    """
    failed = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [
        line for line in failed if not re.match(r"FAILED .* - (assert |AssertionError|Failed: DID NOT RAISE)", line)
    ]
