"""The suite is tested too: each planted fault must turn a named test red, in every implementation it applies to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from common.spec import RUNGS
from conformance import checks
from conformance.checks import Subject
from conformance.conftest import Workers
from conformance.faults import FAULTS
from conformance.planting import copy_package, plant
from conformance.tolerances import Mismatch


def in_group(implementation: str) -> pytest.MarkDecorator:
    """All of an implementation's in one process under pytest-xdist, so that it is imported once."""
    return pytest.mark.xdist_group(f"faults-{implementation}")


IMPLEMENTATIONS = sorted({name for fault in FAULTS for name in fault.edits})
BY_NAME = {(fault.name, fault.rung): fault for fault in FAULTS}
PLANTED = [
    pytest.param((fault.name, fault.rung, implementation), marks=in_group(implementation))
    for fault in FAULTS
    for implementation in fault.edits
]


@pytest.mark.faults
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: "-".join(planted).replace(" ", "_"))
def test_fault_is_caught(planted: tuple[str, str, str], faulty_workers: Workers, tmp_path: Path) -> None:
    name, rung, implementation = planted
    fault = BY_NAME[name, rung]
    worker = faulty_workers[implementation]
    plant(fault, implementation, tmp_path)
    worker.shadow(tmp_path)
    try:
        with pytest.raises(Mismatch):
            getattr(checks, fault.check)(Subject(worker=worker, rung=rung, dtype=fault.dtype))
    finally:
        worker.shadow(None)


@pytest.mark.faults
@pytest.mark.parametrize("implementation", [pytest.param(name, marks=in_group(name)) for name in IMPLEMENTATIONS])
def test_untouched_copy_passes(implementation: str, faulty_workers: Workers, tmp_path: Path) -> None:
    """A copy without a fault turns no test red, so it is the fault that does.

    One check per rung, the one that catches most; all of them are asked of the installed package anyway.
    """
    worker = faulty_workers[implementation]
    copy_package(implementation, tmp_path)
    worker.shadow(tmp_path)
    try:
        for rung in RUNGS:
            used = Counter(
                (fault.check, fault.dtype) for fault in FAULTS if fault.rung == rung and implementation in fault.edits
            )
            ((check, dtype), _), *_ = used.most_common(1)
            getattr(checks, check)(Subject(worker=worker, rung=rung, dtype=dtype))
    finally:
        worker.shadow(None)
