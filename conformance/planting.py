"""Planting a fault: a copy of an implementation with a few words changed, imported in its place."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.recognizer import DType, implementations


@dataclass(frozen=True)
class Edit:
    """Words of a source file, which must stand there exactly once, and what is to stand there instead."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake someone could make, and the test that must turn red."""

    name: str
    meaning: str
    check: str
    """The function in `conformance.checks` that must raise `Mismatch`."""
    rung: str
    edits: Mapping[str, Edit]
    """By implementation; one that is not named cannot have this fault, as `meaning` says."""
    dtype: DType = "float64"


def copy_package(implementation: str, folder: Path) -> Path:
    """Copy the implementation's package into `folder`, and say where it stands."""
    package = implementations()[implementation].module.split(".")[0]
    origin = importlib.util.find_spec(package)
    assert origin is not None
    assert origin.origin is not None
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    return Path(shutil.copytree(Path(origin.origin).parent, folder / package, ignore=ignored))


def plant(fault: Fault, implementation: str, folder: Path) -> None:
    """Write a faulty copy of the implementation's package into `folder`.

    Raises:
        ValueError: the words to change do not stand exactly once in the file; the table of faults is out of date.
    """
    copy = copy_package(implementation, folder)
    edit = fault.edits[implementation]
    source = (copy / edit.file).read_text()
    if source.count(edit.old) != 1:
        raise ValueError(
            f"fault {fault.name!r}: {edit.old!r} stands {source.count(edit.old)} times in {copy.name}/{edit.file}, "
            "not once; bring the table of faults up to date"
        )
    (copy / edit.file).write_text(source.replace(edit.old, edit.new))
