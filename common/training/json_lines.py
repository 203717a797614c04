"""The recorder that every run has: metrics.jsonl."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.reading.result import Reading
from common.training.recorder import cannot_write

METRICS = "metrics.jsonl"


class JsonLines:
    """One object per call to `scalars`: `{"step": 1, "train/loss": 4.1}`. A value that is not finite becomes null.

    The line is written, without a buffer, before `scalars` returns.
    """

    def __init__(self, path: Path, *, first_step: int) -> None:
        self._path = path
        kept = _lines_before(path, first_step)
        try:
            # unbuffered: on a full disk a buffer would try again at exit, and fail again
            self._file = path.open("ab", buffering=0)
            self._file.truncate(kept)
        except OSError as error:
            raise cannot_write(path, error) from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step} | {name: float(v) if math.isfinite(v) else None for name, v in values.items()}
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Not kept: a line holds numbers."""

    def readings(self, step: int, readings: list[Reading]) -> None:
        """Not kept: the run folder has its own sheet of readings."""

    def examples(self, step: int, readings: list[Reading]) -> None:
        """Not kept: the run folder has predictions.npz and its own sheet."""

    def close(self, summary: Mapping[str, Any]) -> None:
        self._file.close()


def _lines_before(path: Path, first_step: int) -> int:
    """Length in bytes of the file's whole lines up to the one that reaches `first_step`."""
    kept = 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] >= first_step:
                    break
                kept += len(line)
    return kept
