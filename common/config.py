"""How to train: the run configuration and the learning rate of every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from common.errors import UserError

# S training steps

# AdamW (Loshchilov & Hutter 2019): pinned, because the frameworks' defaults differ
ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9
WARMUP_SHARE, WARMUP_START = 0.3, 0.04


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 128
    """Examples per step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with momentum 0.9."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """One cycle (up over the first 30% of steps, then down to zero along a cosine), or constant."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay, of kernels only."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 leaves it as it is."""
    seed: int = 0
    """Of the initial weights, the order of examples and dropout."""
    workers: int = 1
    """Threads that prepare batches ahead of the model; the batches are the same for any number."""
    examples: int = 0
    """Training examples to use; 0 takes the data set as it is (drawn data has as many as asked)."""
    balance: bool = False
    """Cap each class of the training split at the mean class count, as is usual for EMNIST byclass; no lines."""
    max_characters: int = 32
    """Longest line that ink_lines and emnist_lines draw; other data is taken as it is."""
    augment: bool = False
    """Shear, stretch, turn, shift, bend, thicken and fade each training line anew in every epoch."""
    writer_pattern: str = ""
    """For pages: a regular expression whose group 1 names a page's writer; splits then share none."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "max_characters"):
            if getattr(self, field) < 1:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must be at least 1")
        for field in ("weight_decay", "clip_norm", "seed", "workers", "examples"):
            if getattr(self, field) < 0:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must not be negative")
        if not self.learning_rate > 0:
            raise UserError(f"train.learning_rate is {self.learning_rate}; it must be above 0")


CHARACTERS = TrainConfig()
LINES = TrainConfig(batch_size=32, learning_rate=2e-3)


def learning_rates(config: TrainConfig, total_steps: int) -> Float[np.ndarray, "S"]:
    """Learning rate of each step, float32.

    One cycle: from 4% of the peak up to the peak along a cosine over the first 30% of steps, then down to zero
    at the last step. Source: Smith & Topin 2019.
    """
    if config.schedule == "constant":
        return np.full(total_steps, config.learning_rate, np.float32)
    step_S = np.arange(total_steps)
    warmup_steps = max(1, round(WARMUP_SHARE * total_steps))
    up_S = WARMUP_START + (1 - WARMUP_START) * _rise(step_S / warmup_steps)
    down_S = 1 - _rise((step_S - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    return (config.learning_rate * np.where(step_S < warmup_steps, up_S, down_S)).astype(np.float32)


def _rise(progress: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
    """Half a cosine from 0 at progress 0 to 1 at progress 1."""
    return (1 - np.cos(np.pi * np.clip(progress, 0, 1))) / 2
