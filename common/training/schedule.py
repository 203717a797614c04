"""The learning rate of every step."""

# S training steps

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from common.config import TrainConfig

WARMUP_SHARE, WARMUP_START = 0.3, 0.04


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
