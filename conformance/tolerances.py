"""How far an implementation may be from the reference: one table. Each row has its reason and what was measured.

`noise` is the largest deviation that the four implementations showed on a CPU. To measure it, run
`pytest conformance -m parity --report FILE` and read `worst`. `bug` is the smallest deviation at which the row refused
a planted fault. To measure it, run `pytest conformance -m faults --report FILE` and read `deviation`; most float32 rows
have the deviation of the same faults in float32. A limit is at least twice the noise and at most half the smallest
bug, or `exception` says why not. `conformance/test_suite.py` asserts this. The same limits apply on a GPU with TF32
off, where nothing has been measured yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Norm = Literal["absolute", "relative L2"]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """A gate. `absolute` bounds every element; `relative L2` bounds ‖actual - expected‖ / ‖expected‖ of a tensor."""

    limit: float
    norm: Norm
    noise: float
    """Largest deviation measured."""
    bug: float
    """Smallest deviation at which this gate refused a known bug."""
    reason: str
    """Where the noise comes from."""
    exception: str = ""
    """Why the limit is not between twice the noise and half the bug."""


class Mismatch(AssertionError):
    """An implementation did not pass a check. The message names the tensor, the index, both values and the tolerance.

    Attributes:
        gate: the tolerance that was exceeded; None if the check has none.
        deviation: by how much the tensor deviates, in the gate's norm.
    """

    def __init__(self, message: str, gate: Tolerance | None = None, deviation: float | None = None) -> None:
        super().__init__(message)
        self.gate, self.deviation = gate, deviation


SUMMATION = "order of summation"
STEPS = "20 steps of rounding"
FLOAT32_CTC = "TensorFlow computes CTC in float32 whatever the dtype"

# (check, dtype) -> gate. A third element restricts the row to one implementation, or is "*" for all. A fourth restricts
# it to one rung
TOLERANCES: Mapping[tuple[str, ...], Tolerance] = {
    ("logits", "float64"): Tolerance(limit=1e-10, norm="absolute", noise=1.3e-14, bug=1.1e-6, reason=SUMMATION),
    ("logits", "float32"): Tolerance(
        limit=1e-5,
        norm="absolute",
        noise=2.4e-6,
        bug=1.1e-6,
        reason=SUMMATION,
        exception="layer norm's epsilon, 1e-6 for 1e-5, moves small logits less than rounding does; float64 sees it",
    ),
    ("loss", "float64"): Tolerance(limit=1e-10, norm="absolute", noise=3e-16, bug=7.2e-4, reason=SUMMATION),
    ("loss", "float32"): Tolerance(limit=1e-5, norm="absolute", noise=1.2e-7, bug=7.2e-4, reason=SUMMATION),
    ("gradients", "float64"): Tolerance(limit=1e-9, norm="relative L2", noise=9.8e-15, bug=1.2, reason=SUMMATION),
    ("gradients", "float32"): Tolerance(limit=1e-5, norm="relative L2", noise=3.9e-6, bug=1.2, reason=SUMMATION),
    ("gradients", "float32", "pytorch", "lstm_ctc"): Tolerance(
        limit=3e-5,
        norm="relative L2",
        noise=1.2e-5,
        bug=1.2,
        reason="PyTorch's AVX-512 code sums in another order, and the gradient of the stem's scales cancels",
    ),
    ("logits", "float32", "*", "unet"): Tolerance(
        limit=3e-5, norm="absolute", noise=7.9e-6, bug=0.23, reason="19 blocks, and logits up to 5 at full size"
    ),
    ("gradients", "float32", "*", "unet"): Tolerance(
        limit=3e-5, norm="relative L2", noise=8.9e-6, bug=1.2, reason="19 blocks, and batch norm over few pixels"
    ),
    ("sgd steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=9e-16, bug=9.5e-3, reason=STEPS),
    ("sgd steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=1.2e-6, bug=9.5e-3, reason=STEPS),
    ("clipped steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.3e-15, bug=0.11, reason=STEPS),
    ("clipped steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=1.8e-6, bug=0.11, reason=STEPS),
    ("clipped steps", "float64", "pytorch"): Tolerance(
        limit=1e-6, norm="absolute", noise=2.7e-7, bug=0.11, reason="clip_grad_norm_ divides by the norm + 1e-6"
    ),
    ("clipped steps", "float64", "pytorch", "lstm_ctc"): Tolerance(
        limit=1e-5,
        norm="absolute",
        noise=1.4e-6,
        bug=0.6,
        reason="clip_grad_norm_ divides by the norm + 1e-6, and the gradient of CTC is larger",
    ),
    ("adamw steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.8e-15, bug=7.4e-5, reason=STEPS),
    ("adamw steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=9.7e-6, bug=3e-4, reason=STEPS),
    ("nesterov steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1e-15, bug=0.12, reason=STEPS),
    ("nesterov steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=3.8e-7, bug=0.12, reason=STEPS),
    ("adam steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=2.7e-15, bug=0.011, reason=STEPS),
    ("adam steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=8.4e-7, bug=0.011, reason=STEPS),
    ("rmsprop steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.8e-15, bug=8.5e-3, reason=STEPS),
    ("rmsprop steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=9e-7, bug=8.5e-3, reason=STEPS),
    ("accumulated steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.1e-14, bug=0.062, reason=STEPS),
    ("loss", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=5e-6,
        norm="absolute",
        noise=1.6e-6,
        bug=7.2e-4,
        reason=f"{FLOAT32_CTC}; of labels without characters the loss is 33 nats",
    ),
    ("gradients", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="relative L2", noise=4e-7, bug=0.2, reason=FLOAT32_CTC
    ),
    ("sgd steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=3e-7, bug=9.5e-3, reason=FLOAT32_CTC
    ),
    ("clipped steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=2.9e-7, bug=0.6, reason=FLOAT32_CTC
    ),
    ("adamw steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=2e-7, bug=7.4e-5, reason=FLOAT32_CTC
    ),
    ("accumulated steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=2.5e-7, bug=0.062, reason=FLOAT32_CTC
    ),
}


def tolerance(check: str, dtype: str, implementation: str, rung: str) -> Tolerance:
    """The most specific row: for the rung of the implementation, the rung, the implementation, else for all."""
    keys = (
        (check, dtype, implementation, rung),
        (check, dtype, "*", rung),
        (check, dtype, implementation),
        (check, dtype),
    )
    return next(TOLERANCES[key] for key in keys if key in TOLERANCES)


def hold(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], gate: Tolerance) -> float:
    """Compare tensors within a tolerance.

    Args:
        actual: name to tensor of the implementation.
        expected: name to tensor of the reference.
        gate: the largest deviation allowed.

    Returns:
        The largest deviation, in the gate's norm.

    Raises:
        Mismatch: names or shapes differ, a deviation is above the limit, or a number is NaN. The message names the
            tensor that deviates most.
    """
    if actual.keys() != expected.keys():
        raise Mismatch(f"the tensors are {sorted(actual)}, expected {sorted(expected)}")
    worst, furthest = 0.0, ""
    for name, right in expected.items():
        left = np.asarray(actual[name], np.float64)
        if left.shape != right.shape:
            raise Mismatch(f"{name} has shape {left.shape}, expected {right.shape}")
        if left.size == 0:
            continue
        deviation = _deviation(left, np.asarray(right, np.float64), gate.norm)
        if deviation > worst:
            worst, furthest = deviation, name
    if worst > gate.limit:
        raise Mismatch(_explain(furthest, np.asarray(actual[furthest]), expected[furthest], worst, gate), gate, worst)
    return worst


def _deviation(left: np.ndarray, right: np.ndarray, norm: Norm) -> float:
    """Infinite if a number is NaN on either side or an infinity stands on one side only."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    if norm == "absolute":
        deviation = float(difference.max())
    else:
        deviation = float(np.linalg.norm(difference) / max(np.linalg.norm(right), 1e-12))
    return deviation if np.isfinite(deviation) else np.inf


def _explain(name: str, left: np.ndarray, right: np.ndarray, deviation: float, gate: Tolerance) -> str:
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    index = np.unravel_index(int(np.where(np.isnan(difference), np.inf, difference).argmax()), difference.shape)
    return (
        f"{name}{[int(i) for i in index]} is {float(left[index])!r} "
        f"where the reference has {float(right[index])!r}; "
        f"{gate.norm} deviation {deviation:.3g} of the tensor, tolerance {gate.limit:g}"
    )
