"""How far an implementation may be from the reference: one table, each row with its reason and the noise measured.

The noise is the largest deviation that the four implementations showed on a CPU, measured with
`pytest conformance -m parity --report FILE`. A gate stands a few times above it at the least, that of the logits
well below the smallest bug seen (5e-5). On a GPU the same gates hold, TF32 off; none has been measured yet.
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
    reason: str


class Mismatch(AssertionError):
    """A gate was not met; names the tensor, the index, both values and the tolerance."""


FLOAT32_CTC = "TensorFlow computes CTC in float32 whatever the dtype"

# (check, dtype) -> gate; a third element names the one implementation that the row is for, a fourth its one rung
TOLERANCES: Mapping[tuple[str, ...], Tolerance] = {
    ("logits", "float64"): Tolerance(limit=1e-10, norm="absolute", noise=1.3e-14, reason="order of summation"),
    ("logits", "float32"): Tolerance(limit=1e-5, norm="absolute", noise=2.4e-6, reason="order of summation"),
    ("loss", "float64"): Tolerance(limit=1e-10, norm="absolute", noise=3e-16, reason="order of summation"),
    ("loss", "float32"): Tolerance(limit=1e-5, norm="absolute", noise=1.2e-7, reason="order of summation"),
    ("gradients", "float64"): Tolerance(limit=1e-9, norm="relative L2", noise=9.8e-15, reason="order of summation"),
    ("gradients", "float32"): Tolerance(limit=1e-5, norm="relative L2", noise=3.9e-6, reason="order of summation"),
    ("sgd steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=9e-16, reason="20 steps of rounding"),
    ("sgd steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=1.2e-6, reason="20 steps of rounding"),
    ("clipped steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.3e-15, reason="20 steps of rounding"),
    ("clipped steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=1.8e-6, reason="20 steps of rounding"),
    ("clipped steps", "float64", "pytorch"): Tolerance(
        limit=1e-6, norm="absolute", noise=2.7e-7, reason="clip_grad_norm_ divides by the norm + 1e-6"
    ),
    ("clipped steps", "float64", "pytorch", "lstm_ctc"): Tolerance(
        limit=1e-5, norm="absolute", noise=1.4e-6, reason="the same, and CTC's gradient is larger"
    ),
    ("adamw steps", "float64"): Tolerance(limit=1e-8, norm="absolute", noise=1.8e-15, reason="20 steps of rounding"),
    ("adamw steps", "float32"): Tolerance(limit=1e-4, norm="absolute", noise=9.7e-6, reason="20 steps of rounding"),
    ("loss", "float64", "keras", "lstm_ctc"): Tolerance(limit=1e-6, norm="absolute", noise=1e-7, reason=FLOAT32_CTC),
    ("gradients", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="relative L2", noise=4e-7, reason=FLOAT32_CTC
    ),
    ("sgd steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=3e-7, reason=FLOAT32_CTC
    ),
    ("clipped steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=2.9e-7, reason=FLOAT32_CTC
    ),
    ("adamw steps", "float64", "keras", "lstm_ctc"): Tolerance(
        limit=3e-6, norm="absolute", noise=2e-7, reason=FLOAT32_CTC
    ),
}


def tolerance(check: str, dtype: str, implementation: str, rung: str) -> Tolerance:
    """The row for the implementation's rung, else for the implementation, else for all."""
    keys = (check, dtype, implementation, rung), (check, dtype, implementation), (check, dtype)
    return next(TOLERANCES[key] for key in keys if key in TOLERANCES)


def hold(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], gate: Tolerance) -> float:
    """Hold tensors against each other.

    Args:
        actual: name to tensor of the implementation.
        expected: name to tensor of the reference.
        gate: how far they may be apart.

    Returns:
        The largest deviation, in the gate's norm.

    Raises:
        Mismatch: other names or shapes, a deviation above the limit, or a NaN.
    """
    if actual.keys() != expected.keys():
        raise Mismatch(f"tensors {sorted(actual)} where {sorted(expected)} were expected")
    worst = 0.0
    for name, right in expected.items():
        left = np.asarray(actual[name], np.float64)
        if left.shape != right.shape:
            raise Mismatch(f"{name} has shape {left.shape} where {right.shape} was expected")
        if left.size == 0:
            continue
        difference = np.abs(left - right)
        if gate.norm == "absolute":
            deviation = float(difference.max())
        else:
            deviation = float(np.linalg.norm(difference) / max(np.linalg.norm(right), 1e-12))
        if not deviation <= gate.limit:  # written so that a NaN fails
            bad = np.isnan(difference)
            index = np.unravel_index(int((bad if bad.any() else difference).argmax()), difference.shape)
            raise Mismatch(
                f"{name}{[int(i) for i in index]} is {float(left[index])!r} "
                f"where the reference has {float(right[index])!r}; "
                f"{gate.norm} deviation {deviation:.3g} of the tensor, tolerance {gate.limit:g}"
            )
        worst = max(worst, deviation)
    return worst
