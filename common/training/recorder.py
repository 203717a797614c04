"""What a recorder of a run is, and what several recorders share."""

# H height, W width

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from common.errors import UserError
from common.formatting import flattened, percent, visible
from common.reading.result import Reading
from common.training.architecture import Layer

BINS = 64


@dataclass(frozen=True, kw_only=True)
class About:
    """What a recorder says about a run besides its configuration."""

    layers: Sequence[Layer] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Code, data, machine and versions; see `common.training.environment`."""
    group: str | None = None
    """The group of the run, such as the name of a sweep."""


@runtime_checkable
class Recorder(Protocol):
    """Keeps a run's figures. Steps count from 1 and never go back within a recorder."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Named numbers at a step, such as `train/loss` or `validation/accuracy`."""

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Named arrays at a step, such as `weights/dense.0.kernel` or `gradients/dense.0.kernel`."""

    def readings(self, step: int, readings: list[Reading]) -> None:
        """A few sample readings at a step."""

    def examples(self, step: int, readings: list[Reading]) -> None:
        """Test examples with their readings, once, after the last step."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """The run has ended; `summary` is the content of result.json, or empty if the run failed or was stopped."""


def caption(reading: Reading) -> str:
    """One line: the true text where it is known, the text that was read, and its confidence."""
    read = f"read {visible(reading.text)} ({percent(reading.confidence, 0)})"
    if reading.truth is None:
        return read
    sign = "✓" if reading.text == reading.truth else "✗"
    return f"{sign} true {visible(reading.truth)}, {read}"


def bins_of(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Counts and edges of the finite values, or None where there are none."""
    finite = array[np.isfinite(array)].astype(np.float64)
    if not finite.size:
        return None
    low, high = finite.min(), finite.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # as good as constant: no room for the bins between
        half = max(0.5, abs(low) / 2)
        low, high = low - half, high + half
    counts, edges = np.histogram(finite, bins=BINS, range=(low, high))
    return counts, edges


def plain(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Flat settings; a value that is no number, truth value or text becomes JSON."""
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in flattened(config).items()
    }


def png_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    from PIL import Image

    return Image.open(io.BytesIO(encoded)).size


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be written."""
    return UserError(f"cannot write {path}: {error.strerror}; free some space or choose another folder")
