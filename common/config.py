"""How to train: the run configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.errors import UserError

# AdamW (Loshchilov & Hutter 2019): pinned, because the frameworks' defaults differ
ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train a model."""

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
    """Decoupled weight decay of AdamW, for kernels only."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 turns clipping off."""
    seed: int = 0
    """Seed of the initial weights, the order of examples, dropout and augmentation."""
    workers: int = 1
    """Threads that prepare batches ahead of the model; any number gives the same batches."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the convolutions and matrix products in training. bfloat16 is for PyTorch only. Parameters, batch
    norm, softmax and losses stay in float32."""
    augment: bool = False
    """Lines and pages: change the shape and the ink of each training example anew in every epoch."""
    augment_shear: float = 0.25
    """Lines only: largest slant that `augment` adds, columns per row: 0.25 is 14°."""
    augment_elastic: float = 0.0
    """Lines only: elastic distortion by `augment`: standard deviation of the points of a grid, in heights of the line.
    0.03 bends letters visibly."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size"):
            if getattr(self, field) < 1:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must be at least 1")
        for field in ("weight_decay", "clip_norm", "seed", "workers", "augment_shear", "augment_elastic"):
            if getattr(self, field) < 0:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must not be negative")
        if not self.learning_rate > 0:
            raise UserError(f"train.learning_rate is {self.learning_rate}; it must be above 0")
