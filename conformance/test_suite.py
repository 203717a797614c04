"""The suite's own tools: they see a deviation, a NaN, a missing name; faults are planted completely; requests end."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from common.batch import Batch
from common.recognizer import implementations
from common.spec import RUNGS, parameter_count
from conformance import checks, golden, line_oracle, oracle, worker
from conformance.checks import definition
from conformance.checks.subject import hold_exactly
from conformance.conftest import FAULTY_ENVIRONMENT, Workers
from conformance.faults import FAULTS
from conformance.planting import COMMON, Edit, Fault, plant
from conformance.tolerances import TOLERANCES, Mismatch, Tolerance, hold
from conformance.worker import Worker, WorkerFailed, digest

ABSOLUTE = Tolerance(limit=1e-3, norm="absolute", noise=0, bug=1, reason="")
RELATIVE = Tolerance(limit=1e-3, norm="relative L2", noise=0, bug=1, reason="")


@pytest.mark.parametrize("gate", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
def test_a_deviation_below_the_limit_is_returned(gate: Tolerance) -> None:
    expected = np.full((2, 2), 1.0)
    assert hold({"x": expected + 5e-4}, {"x": expected}, gate) == pytest.approx(5e-4, rel=1e-6)


@pytest.mark.parametrize("gate", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
@pytest.mark.parametrize("wrong", [1.0 + 5e-3, np.nan, np.inf], ids=["too far", "nan", "infinite"])
def test_a_mismatch_names_tensor_index_values_and_tolerance(gate: Tolerance, wrong: float) -> None:
    actual = np.ones((2, 3))
    actual[1, 2] = wrong
    with pytest.raises(Mismatch, match=r"x\[1, 2\] is .* where the reference has .*1\.0.* tolerance 0\.001"):
        hold({"x": actual}, {"x": np.ones((2, 3))}, gate)


def test_a_nan_on_both_sides_fails() -> None:
    with pytest.raises(Mismatch):
        hold({"x": np.array([np.nan])}, {"x": np.array([np.nan])}, ABSOLUTE)


@pytest.mark.parametrize("actual", [{}, {"x": np.ones(3), "y": np.ones(1)}, {"x": np.ones((3, 1))}])
def test_names_and_shapes_must_be_the_same(actual: dict[str, np.ndarray]) -> None:
    with pytest.raises(Mismatch):
        hold(actual, {"x": np.ones(3)}, ABSOLUTE)


def test_the_tensor_that_deviates_most_is_named() -> None:
    actual = {"near": np.array([1.0, 1.002]), "far": np.array([1.0, 1.5])}
    with pytest.raises(Mismatch, match=r"^far\[1\]") as caught:
        hold(actual, dict.fromkeys(actual, np.ones(2)), ABSOLUTE)
    assert caught.value.deviation == pytest.approx(0.5)
    assert caught.value.gate is ABSOLUTE


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (np.array([[1.0, 2.0], [3.0, 4.5]]), r"x\[1, 1\] is .*4\.5.* exactly .*4\.0"),
        (np.array([[-0.0, 2.0], [3.0, 4.0]]), r"x\[0, 0\] is "),
        (np.array([[1, 2], [3, 4]], np.float32), "dtype float32, expected float64"),
        (np.array([[1.0, 3.0], [2.0, 4.0]]).T, "strides .* expected a C-contiguous array"),
        (np.array([[1.0, 2.0, 3.0, 4.0]]), r"shape \(1, 4\), expected \(2, 2\)"),
    ],
    ids=["value", "sign of zero", "dtype", "order in memory", "shape"],
)
def test_weights_that_are_not_exactly_the_expected_ones_are_refused(actual: np.ndarray, message: str) -> None:
    expected = np.array([[0.0 if actual.flat[0] == 0 else 1.0, 2.0], [3.0, 4.0]])
    assert hold_exactly({"x": expected.copy()}, {"x": expected}) == 0.0
    with pytest.raises(Mismatch, match=message):
        hold_exactly({"x": actual}, {"x": expected})


@pytest.mark.parametrize("row", TOLERANCES, ids="-".join)
def test_a_gate_is_between_twice_the_noise_and_half_the_smallest_bug(row: tuple[str, ...]) -> None:
    gate = TOLERANCES[row]
    assert gate.reason
    assert 0 < gate.noise < gate.limit
    between = 2 * gate.noise <= gate.limit <= gate.bug / 2
    assert between or gate.exception, f"noise {gate.noise:g}, limit {gate.limit:g}, smallest bug {gate.bug:g}"
    assert not (between and gate.exception), "the exception is no longer needed"


def test_the_oracles_loss_of_zero_weights_is_log_k() -> None:
    # with weights of zero every class is equally likely for every image
    spec = golden.small("cnn")
    weights = {name: np.zeros(row.shape) for name, row in spec.parameters().items()}
    loss = oracle.loss(spec, weights, golden.golden_batch(spec))
    assert loss == pytest.approx(np.log(spec.num_classes), abs=1e-12)


def test_the_oracles_slope_of_a_square_is_two_x() -> None:
    slope = oracle.slope(lambda w: float((w["x"] ** 2).sum()), {"x": np.array([3.0, 4.0])}, "x", np.array([1.0, 0.5]))
    assert slope == pytest.approx(2 * (3 * 1 + 4 * 0.5), rel=1e-9)


@pytest.mark.parametrize("label", [[], [1], [1, 1], [1, 2], [2, 1, 2], [1, 1, 2], [1, 2, 1, 2], [1, 1, 1]])
def test_the_oracles_ctc_is_the_sum_over_all_alignments(label: list[int]) -> None:
    probabilities_TK = np.random.default_rng(0).dirichlet([1, 1, 1], size=4)
    total = 0.0
    for classes in itertools.product(range(3), repeat=4):
        spelt = [k for k, _ in itertools.groupby(classes) if k]
        if spelt == label:
            total += float(np.prod([row[k] for row, k in zip(probabilities_TK, classes, strict=True)]))
    assert line_oracle.ctc_probability(probabilities_TK.tolist(), label) == pytest.approx(total, abs=1e-15)


def test_the_oracles_decoder_loss_of_zero_weights_is_log_k() -> None:
    # with weights of zero every class is equally likely at every position
    spec = golden.small("transformer")
    weights = {name: np.zeros(row.shape) for name, row in spec.parameters().items()}
    loss = line_oracle.loss(spec, weights, golden.golden_batch(spec))
    assert loss == pytest.approx(np.log(spec.num_classes), abs=1e-12)


def test_the_full_sizes_are_those_of_the_ladder() -> None:
    # computed by hand: 784·1024 + 1024 + 1024·128 + 128 + 128·83 + 83, and so on
    counts = {"mlp": 945_747, "cnn": 1_654_035, "lstm_ctc": 521_971, "transformer": 787_699, "unet": 497_490}
    assert {rung: parameter_count(golden.full(rung, num_classes=83)) for rung in RUNGS} == counts


def test_one_bit_changes_a_batchs_digest() -> None:
    batch = golden.golden_batch(golden.small("mlp"))
    changed = batch.images_BHW1.copy()
    changed[-1, -1, -1] = np.nextafter(changed[-1, -1, -1], np.float32(2))
    assert digest(batch) != digest(Batch(images_BHW1=changed, labels_B=batch.labels_B))
    assert digest(batch) != digest(Batch(images_BHW1=batch.images_BHW1, labels_B=batch.labels_B[::-1]))


@pytest.mark.parametrize(
    "implementation", [pytest.param(name, marks=pytest.mark.xdist_group(f"mlp-{name}")) for name in implementations()]
)
def test_shapes_in_signatures_are_checked(installed: Callable[[str], Worker], implementation: str) -> None:
    model = installed(implementation).build(golden.small("mlp"))
    with pytest.raises(WorkerFailed, match="TypeCheckError"):
        model.logits(np.zeros((2, 9, 7), np.float32))  # without the axis of channels


def test_a_fault_that_no_longer_fits_its_source_is_refused(tmp_path: Path) -> None:
    stale = Fault(
        name="stale", meaning="", check="logits_agree", rung="mlp", edits={"numpy": Edit("ops.py", "no such words", "")}
    )
    with pytest.raises(ValueError, match=r"occurs 0 times in impl_numpy/ops\.py"):
        plant(stale, "numpy", tmp_path)


def test_every_fault_has_its_own_name() -> None:
    names = [(fault.name, fault.rung, key) for fault in FAULTS for key in fault.edits]
    assert len(names) == len(set(names))


def test_a_fault_of_common_is_caught_by_a_closed_form() -> None:
    closed = {name for name in checks.__all__ if getattr(checks, name) is vars(definition).get(name)} - {"Subject"}
    assert "logits_match_the_definition" in closed
    for fault in FAULTS:
        if COMMON in fault.edits:
            assert set(fault.edits) == {COMMON}, f"{fault.name}: the edit of common is the only one"
            of_common = fault.check.startswith("common/tests/") and "::" in fault.check
            assert of_common or fault.check in closed, (
                f"{fault.name}: {fault.check} compares with another implementation"
            )


# --- processes
@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Iterator[Workers]:
    """Workers whose requests end after two seconds, once they are started."""
    workers = Workers(pytestconfig, strict=False)
    assert workers["numpy"].alive
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 2.0)
    yield workers
    workers.close()


def test_a_request_without_an_answer_ends_and_is_named(impatient: Workers) -> None:
    stuck = impatient["numpy"]
    begun = time.monotonic()
    with pytest.raises(WorkerFailed, match=r"numpy: request 'sleep' has not answered within 2 seconds; its process"):
        stuck.request("apply", time.sleep, 600)
    assert time.monotonic() - begun < 30
    with pytest.raises(WorkerFailed, match="the process has ended"):
        stuck.request("load")


def test_after_a_process_has_died_the_next_test_gets_a_new_one(impatient: Workers) -> None:
    first = impatient["numpy"]
    with pytest.raises(WorkerFailed, match=r"numpy: request '_exit' ended its process \(exit code 7\)"):
        first.request("apply", os._exit, 7)
    worker.PATIENCE_SECONDS = 60.0  # the new process has to start
    assert impatient["numpy"] is not first
    assert impatient["numpy"].request("apply", os.getpid) != os.getpid()


def test_a_request_is_given_up_after_minutes() -> None:
    assert 60 <= worker.PATIENCE_SECONDS <= 15 * 60


def test_a_workers_environment_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_user=1")
    one = Worker("numpy", strict=False, environment={"XLA_FLAGS": "--xla_of_the_worker=2"})
    other = Worker("numpy", strict=False)
    try:
        assert one.request("apply", os.getenv, "XLA_FLAGS") == "--xla_of_the_worker=2"
        assert other.request("apply", os.getenv, "XLA_FLAGS") == "--xla_of_the_user=1"
        assert os.environ["XLA_FLAGS"] == "--xla_of_the_user=1"
    finally:
        one.close()
        other.close()


def test_the_faults_processes_keep_the_users_xla_flags() -> None:
    own = "--xla_backend_optimization_level=0"
    assert FAULTY_ENVIRONMENT["XLA_FLAGS"].split() == [*os.environ.get("XLA_FLAGS", "").split(), own]
