"""Checkpoints: all that a run needs to continue after an epoch, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.atomic import write_atomically
from common.errors import UserError
from common.recognizer import State
from common.training.run import Progress

FORMAT = "fourhands-checkpoint-3"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The epoch whose weights are kept."""

    epoch: int
    """From 1."""
    score: float
    """Score on the validation split; higher is better."""
    rates: dict[str, float]
    """Validation figures of that epoch: accuracy, or cer and wer."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run at the end of an epoch."""

    state: State
    """The state of the implementation's loop."""
    progress: Progress
    best: Best


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically.

    Raises:
        UserError: the folder is not writable, or the disk is full; the earlier checkpoint stays.
    """
    metadata = {
        "format": FORMAT,
        "progress": json.dumps(asdict(checkpoint.progress)),
        "best": json.dumps(asdict(checkpoint.best)),
    }
    # order="C" and not ascontiguousarray, which would give a scalar an axis
    state = {name: np.asarray(array, order="C") for name, array in checkpoint.state.items()}
    write_atomically(path, save(state, metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UserError: the file is no checkpoint, or is damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
        if metadata.get("format") != FORMAT:
            raise KeyError(FORMAT)
        return Checkpoint(
            state=state,
            progress=Progress(**json.loads(metadata["progress"])),
            best=Best(**json.loads(metadata["best"])),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no checkpoint that can be read ({error}); restore it, or remove the run folder and train again"
        ) from None
