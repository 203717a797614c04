"""The subject of a check, and what the checks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from common.batch import LineBatch, PageBatch
from common.config import TrainConfig
from common.recognizer import AnyBatch, Device, DType, Recognizer
from common.spec import LineSpec, Spec, TransformerSpec, UNetSpec
from common.weights import Weights
from conformance import golden, line_oracle, oracle, page_oracle
from conformance.tolerances import Mismatch, hold, tolerance
from conformance.worker import Fitted, Model, Worker, fit
from impl_numpy import build as build_reference


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One rung of one implementation, on a device, in a dtype."""

    worker: Worker
    rung: str
    device: Device = "cpu"
    dtype: DType = "float64"

    def model(self, spec: Spec, weights: Weights | None = None) -> Model:
        """A model of the implementation with these weights, by default the golden ones.

        There is one model per spec: a second call with the same spec returns the same model with new weights.
        """
        model = self.worker.borrow(spec, device=self.device, dtype=self.dtype)
        model.load_weights(golden.golden_weights(spec) if weights is None else weights)
        return model

    def hold(self, check: str, actual: dict, expected: dict) -> float:
        """Compare named tensors within the tolerance of `check`; see `conformance.tolerances.hold`."""
        return hold(actual, expected, tolerance(check, self.dtype, self.worker.implementation, self.rung))


Check = Callable[[Subject], float]


def hold_exactly(actual: Weights, expected: Weights) -> float:
    """Compare weights bit for bit: names, shapes, dtypes, C-contiguity and values."""
    if actual.keys() != expected.keys():
        raise Mismatch(f"the parameters are {sorted(actual)}, expected {sorted(expected)}")
    for name, right in expected.items():
        left = actual[name]
        if left.shape != right.shape:
            raise Mismatch(f"{name} has shape {left.shape}, expected {right.shape}")
        if left.dtype != right.dtype:
            raise Mismatch(f"{name} has dtype {left.dtype}, expected {right.dtype}")
        if not left.flags.c_contiguous:
            raise Mismatch(f"{name} has strides {left.strides}, expected a C-contiguous array")
        if left.tobytes() != right.tobytes():
            index = tuple(int(i) for i in np.argwhere((left != right) | (np.signbit(left) != np.signbit(right)))[0])
            raise Mismatch(f"{name}{list(index)} is {left[index]!r}, expected exactly {right[index]!r}")
    return 0.0


def in_dtype(weights: Weights, dtype: DType) -> Weights:
    """The weights in the dtype of a model; float32 to float64 changes no value."""
    return {name: array.astype(dtype) for name, array in weights.items()}


def fit_golden(
    model: Model, spec: Spec, config: TrainConfig, examples: int = golden.STEPS_EXAMPLES, **options: Any
) -> Fitted:
    """Train on the golden examples."""
    return model.fit(config, golden.batches_of(spec, config, golden.golden_split(spec, examples)), **options)


def golden_run(subject: Subject, spec: Spec, config: TrainConfig) -> Fitted:
    """The run of a model with golden weights on the golden examples. It is trained once and shared by the checks."""
    key = spec, config, subject.device, subject.dtype
    if key not in subject.worker.runs:
        subject.worker.runs[key] = fit_golden(subject.model(spec), spec, config)
    return subject.worker.runs[key]


def golden_batches(spec: Spec, config: TrainConfig) -> list[AnyBatch]:
    """All batches of a run on the golden examples, in order."""
    batches = golden.batches_of(spec, config, golden.golden_split(spec, golden.STEPS_EXAMPLES))
    return [batches.batch(epoch, i) for epoch in range(config.epochs) for i in range(len(batches))]


def oracle_of(spec: Spec) -> ModuleType:
    """The module that computes the rung by hand."""
    if isinstance(spec, UNetSpec):
        return page_oracle
    return line_oracle if isinstance(spec, LineSpec) else oracle


# --- the reference's results
@cache
def reference_of(spec: Spec) -> Recognizer:
    """The reference in float64 with golden weights."""
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(golden.golden_weights(spec))
    return reference


@cache
def reference_gradients(spec: Spec) -> dict[str, np.ndarray]:
    """The reference's gradients of the golden batch."""
    return reference_of(spec).loss_and_gradients(golden.golden_batch(spec))[1]


@cache
def reference_fit(spec: Spec, config: TrainConfig) -> Fitted:
    """The reference's run on the golden examples."""
    reference = build_reference(spec, dtype="float64")
    reference.load_weights(golden.golden_weights(spec))
    return fit(reference, config, golden.batches_of(spec, config, golden.golden_split(spec, golden.STEPS_EXAMPLES)))


@cache
def formulas_fit(spec: Spec, config: TrainConfig, *, epsilon_hat: bool = False) -> tuple[Weights, list[float]]:
    """The weights and the losses of that run, by the optimizers' formulas and the reference's gradients."""
    reference = build_reference(spec, dtype="float64")

    def gradients_of(weights: Weights, batch: AnyBatch) -> tuple[float, Weights]:
        reference.load_weights(weights)
        return reference.loss_and_gradients(batch)

    def statistics_of(weights: Weights, batch: AnyBatch) -> Weights:
        oracle_of_rung = oracle_of(spec)
        return {} if oracle_of_rung is oracle else oracle_of_rung.running_statistics(spec, weights, batch)

    def terms_of(batch: AnyBatch) -> int:
        if isinstance(batch, PageBatch):
            return int(batch.counts_Bhw.sum())
        if not isinstance(batch, LineBatch):
            return len(batch.labels_B)
        ends = len(batch.label_lengths_B) if isinstance(spec, TransformerSpec) else 0
        return int(batch.label_lengths_B.sum()) + ends

    start, batches = golden.golden_weights(spec), golden_batches(spec, config)
    return oracle.train(config, start, batches, gradients_of, statistics_of, terms_of, epsilon_hat=epsilon_hat)
