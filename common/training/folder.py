"""The run folder: the files of a run, and when they may be written."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.atomic import write_atomically
from common.config import TrainConfig
from common.errors import UserError
from common.evaluation.profile import FILE as PROFILE
from common.formatting import flattened
from common.training.checkpoint import Checkpoint, load_checkpoint

WEIGHTS, PRIOR = "weights.safetensors", "prior.safetensors"
Config = dict[str, Any]
"""The resolved configuration, ready for JSON: framework, rung, device, data, data_config, spec, train."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration, with every default filled in."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        """Weights of the epoch that was best in validation."""
        return self.path / WEIGHTS

    @property
    def prior(self) -> Path:
        """The character language model of a run of `lstm_ctc`."""
        return self.path / PRIOR

    @property
    def profile(self) -> Path:
        """Signs of the validation split of a run of lines, see `common.evaluation.profile`."""
        return self.path / PROFILE

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint; deleted when the run is complete."""
        return self.path / "checkpoint.safetensors"

    @property
    def metrics(self) -> Path:
        """One line per step and one per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The figures; written when the run is complete."""
        return self.path / "result.json"

    @property
    def status(self) -> Path:
        """Whether the run is running, complete, interrupted or failed, and its process."""
        return self.path / "status.json"

    @property
    def environment(self) -> Path:
        """Code, data, machine and versions; see `common.training.environment`."""
        return self.path / "environment.json"

    @property
    def uncommitted(self) -> Path:
        """What differs from the commit in the checkout of the code; missing if nothing does."""
        return self.path / "uncommitted.diff"

    def check_free(self, *, resume: bool) -> None:
        """Check that a run may be written here, before any long work begins.

        Raises:
            UserError: the folder is taken, complete, or cannot be made.
        """
        try:
            taken = self.path.exists() and any(self.path.iterdir())
        except NotADirectoryError:
            raise UserError(f"{self.path} is a file; give --out a folder that does not exist yet") from None
        if not taken:
            return
        if not resume:
            raise UserError(
                f"{self.path} exists already and is not empty; "
                "give --out a new folder, or --resume if its run was cut off"
            )
        if not self.config.is_file():
            raise UserError(f"{self.path} holds no run (no config.json); give --resume a run folder or --out a new one")
        if self.result.is_file():
            raise UserError(f"the run in {self.path} is complete; there is nothing to resume, give --out a new folder")

    def open(self, config: Config) -> Checkpoint | None:
        """Make the folder, or continue the interrupted run in it. Call `check_free` first.

        Returns:
            The checkpoint to continue from; None if the run starts.

        Raises:
            UserError: the run there has another configuration, or the folder cannot be written.
        """
        if self.config.is_file():
            self._check_same(config)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make {self.path} ({error.strerror}); give --out a folder that can be made"
            ) from None
        self.write_json(self.config, config)
        return load_checkpoint(self.checkpoint) if self.checkpoint.is_file() else None

    def complete(self, result: Mapping[str, Any]) -> None:
        """Write result.json, which completes the run."""
        self.write_json(self.result, result)
        self.checkpoint.unlink(missing_ok=True)

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a file of this folder atomically."""
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def write_predictions(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write predictions.npz atomically."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]  # taken for its flags
        write_atomically(self.path / "predictions.npz", buffer.getvalue())

    def _check_same(self, config: Config) -> None:
        try:
            before = flattened(json.loads(self.config.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{self.config} cannot be read ({error}); restore it or give --out a new folder") from None
        # through JSON, so that tuples compare as the lists they are written as
        now = flattened(json.loads(json.dumps(config)))
        # an earlier version wrote no field for what it could not do, which is what the default does
        before = flattened({"train": asdict(TrainConfig())}) | before
        for field in sorted(before.keys() | now.keys()):
            if before.get(field) != now.get(field):
                raise UserError(
                    f"the run in {self.path} has {field} {before.get(field)!r} and not {now.get(field)!r}; "
                    "resume with the same flags, or give --out a new folder"
                )
