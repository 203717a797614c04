"""The suite is tested too: each planted fault must make a named test fail, in every implementation it applies to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from common.spec import RUNGS
from conformance import checks
from conformance.checks import Subject
from conformance.conftest import FAULTY_ENVIRONMENT, Workers
from conformance.faults import FAULTS
from conformance.planting import COMMON, Edit, Fault, broken, copy_package, plant, run_tests_of_common, settings_file
from conformance.tolerances import Mismatch
from conformance.worker import Worker

Record = Callable[[str, float], None]

IMPLEMENTATIONS = sorted({key for fault in FAULTS for key in fault.edits} - {COMMON})
BY_NAME = {(fault.name, fault.rung, key): fault for fault in FAULTS for key in fault.edits}


def _sample() -> set[tuple[str, str, str]]:
    """The faults that every run plants: each in one of the implementations that can have it, in turn.

    The others are planted with `--tier full`, or when they are chosen with -k, -m or their ids.
    """
    return {(fault.name, fault.rung, list(fault.edits)[i % len(fault.edits)]) for i, fault in enumerate(FAULTS)}


SAMPLE = _sample()


def in_group(key: str) -> pytest.MarkDecorator:
    """With pytest-xdist, all faults of an implementation in one process, so that its framework is imported once."""
    return pytest.mark.xdist_group(f"faults-{key}")


def marks_of(planted: tuple[str, str, str]) -> list[pytest.MarkDecorator]:
    left_out = "faults planted in more than one implementation; each was planted in one"
    full = [] if planted in SAMPLE else [pytest.mark.full(left_out, planted[0])]
    # a test of `common` needs no framework, so any process may run it
    alone = planted[2] == COMMON and "::" in BY_NAME[planted].check
    return [*([] if alone else [in_group(planted[2])]), *full]


PLANTED = [pytest.param(planted, marks=marks_of(planted)) for planted in BY_NAME]


@pytest.mark.faults
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: "-".join(filter(None, planted)).replace(" ", "_"))
def test_fault_is_caught(planted: tuple[str, str, str], faulty_workers: Workers, tmp_path: Path, note: Record) -> None:
    fault, key = BY_NAME[planted], planted[2]
    plant(fault, key, tmp_path)
    if key == COMMON:
        mismatch = _caught_in_common(fault, tmp_path)
    else:
        worker = faulty_workers[key]
        worker.shadow(tmp_path)
        try:
            with pytest.raises(Mismatch) as caught:
                _check(fault, worker)
            mismatch = caught.value
        finally:
            if worker.alive:
                worker.shadow(None)
    if mismatch is None or mismatch.gate is None or mismatch.deviation is None:
        return
    note("deviation", mismatch.deviation)
    assert mismatch.deviation >= 0.9 * mismatch.gate.bug, (
        f"the check refused a deviation of {mismatch.deviation:.2g}, below {mismatch.gate.bug:.2g}, which "
        "conformance/tolerances.py has as the smallest bug of this gate; write the smaller one down there"
    )


@pytest.mark.faults
@pytest.mark.parametrize("implementation", [pytest.param(name, marks=in_group(name)) for name in IMPLEMENTATIONS])
def test_untouched_copy_passes(implementation: str, faulty_workers: Workers, tmp_path: Path) -> None:
    """A copy without a fault makes no test fail, so it is the fault that does.

    One check per rung, the one that catches most faults. All checks are run on the installed package anyway.
    """
    worker = faulty_workers[implementation]
    copy_package(implementation, tmp_path)
    worker.shadow(tmp_path)
    try:
        for rung in RUNGS:
            used = Counter(
                (fault.check, fault.dtype) for fault in FAULTS if fault.rung == rung and implementation in fault.edits
            )
            if not used:  # an implementation of another package may bring few faults
                continue
            ((check, dtype), _), *_ = used.most_common(1)
            getattr(checks, check)(Subject(worker=worker, rung=rung, dtype=dtype))
    finally:
        if worker.alive:
            worker.shadow(None)


@pytest.mark.faults
@in_group(COMMON)
def test_untouched_copy_of_common_passes(tmp_path: Path) -> None:
    """See `test_untouched_copy_passes`: here every check that catches a fault of `common`."""
    copy_package(COMMON, tmp_path)
    used = {(fault.check, fault.rung): fault for fault in FAULTS if COMMON in fault.edits}
    for fault in used.values():
        if "::" not in fault.check:
            _check_in_common(fault, tmp_path)
    if settings_file() is not None:
        done = run_tests_of_common([check for check, _ in used if "::" in check], tmp_path)
        assert done.returncode == 0, done.stdout


@pytest.mark.faults
def test_a_fault_that_only_breaks_the_code_does_not_count_as_caught(tmp_path: Path) -> None:
    if settings_file() is None:
        pytest.skip("the tests of common are in the repository only, and not in the installed package")
    check = "common/tests/test_metrics.py::test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes"
    wrong, breaks = (
        Fault(name="", meaning="", check=check, rung="", edits={COMMON: Edit("metrics.py", "labels_N].mean()", new)})
        for new in ("labels_N].sum()", "labels_N].meen()")
    )
    for fault, expected in ((wrong, 0), (breaks, 1)):
        folder = tmp_path / str(expected)
        plant(fault, COMMON, folder)
        done = run_tests_of_common([check], folder)
        assert done.returncode == 1, done.stdout
        assert len(broken(done.stdout)) == expected, done.stdout


def _caught_in_common(fault: Fault, folder: Path) -> Mismatch | None:
    if "::" not in fault.check:
        with pytest.raises(Mismatch) as caught:
            _check_in_common(fault, folder)
        return caught.value
    if settings_file() is None:
        pytest.skip("the tests of common are in the repository only, and not in the installed package")
    done = run_tests_of_common([fault.check], folder)
    # 1: tests failed. Every other code says that the test could not be run
    assert done.returncode == 1, f"the fault was not caught (exit code {done.returncode}):\n{done.stdout}{done.stderr}"
    assert not broken(done.stdout), f"the fault breaks the code, and no assertion sees it:\n{done.stdout}"
    return None


def _check_in_common(fault: Fault, folder: Path) -> None:
    """Run the check in NumPy, with the copy of `common` in `folder`; what it compares with uses the original."""
    worker = Worker("numpy", strict=False, environment=FAULTY_ENVIRONMENT, path=folder)
    try:
        worker.request("load")
        _check(fault, worker)
    finally:
        worker.close()


def _check(fault: Fault, worker: Worker) -> float:
    return getattr(checks, fault.check)(Subject(worker=worker, rung=fault.rung, dtype=fault.dtype))
