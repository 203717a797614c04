"""The suite's own tools do what they say: they see a deviation, a NaN, a missing name; the faults are planted whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.batch import Batch
from common.recognizer import implementations
from common.spec import RUNGS, parameter_count
from conformance import golden, line_oracle, oracle
from conformance.faults import FAULTS
from conformance.planting import Edit, Fault, plant
from conformance.tolerances import TOLERANCES, Mismatch, Tolerance, hold
from conformance.worker import Worker, WorkerFailed, digest

ABSOLUTE = Tolerance(limit=1e-3, norm="absolute", noise=0, reason="")
RELATIVE = Tolerance(limit=1e-3, norm="relative L2", noise=0, reason="")


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


def test_gates_stand_above_the_noise_and_below_the_smallest_bug() -> None:
    for row, gate in TOLERANCES.items():
        assert gate.noise < gate.limit, row
        assert gate.reason, row
    assert TOLERANCES["logits", "float32"].limit <= 1e-5, "the smallest bug seen moves logits by 5e-5"


def test_the_oracle_gives_a_closed_form() -> None:
    # weights of zero: every class is equally likely, whatever the image
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
    for names in itertools.product(range(3), repeat=4):
        spelt = [name for name, _ in itertools.groupby(names) if name]
        if spelt == label:
            total += float(np.prod([row[name] for row, name in zip(probabilities_TK, names, strict=True)]))
    assert line_oracle.ctc_probability(probabilities_TK.tolist(), label) == pytest.approx(total, abs=1e-15)


def test_the_oracles_decoder_gives_a_closed_form() -> None:
    # weights of zero: every class is equally likely at every place
    spec = golden.small("transformer")
    weights = {name: np.zeros(row.shape) for name, row in spec.parameters().items()}
    loss = line_oracle.loss(spec, weights, golden.golden_batch(spec))
    assert loss == pytest.approx(np.log(spec.num_classes), abs=1e-12)


def test_the_full_sizes_are_those_of_the_ladder() -> None:
    # worked out by hand: 784·1024 + 1024 + 1024·128 + 128 + 128·83 + 83, and so on
    counts = {"mlp": 945_747, "cnn": 1_654_035, "lstm_ctc": 521_971, "transformer": 787_699}
    assert {rung: parameter_count(spec(num_classes=83)) for rung, spec in RUNGS.items()} == counts


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
    with pytest.raises(ValueError, match=r"stands 0 times in impl_numpy/ops\.py"):
        plant(stale, "numpy", tmp_path)


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [(fault.name, fault.rung) for fault in FAULTS]
    assert len(names) == len(set(names))
