"""What a recorder is told of a run; JSONL, TensorBoard and Weights & Biases each answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One image with what was read from it."""

    image_HW: UInt8[np.ndarray, "H W"]
    text: str
    confidence: float
    """Probability of the text, 0 to 1."""
    truth: str | None = None
    """What stands there, where that is known."""
    character_confidences: tuple[float, ...] | None = None
    """Of a line: the probability of each of its characters; None of a single character."""


@runtime_checkable
class Recorder(Protocol):
    """Keeps a run's figures. Steps count from 1 and never go back within a recorder."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Named numbers at a step, such as `train/loss` or `validation/accuracy`."""

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Named arrays at a step, such as `weights/dense.0.kernel` or `gradients/dense.0.kernel`."""

    def readings(self, step: int, readings: list[Reading]) -> None:
        """A few sample readings at a step."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """The run has ended; `summary` is what goes into result.json."""
