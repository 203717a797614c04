"""How to train: the run configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.errors import UserError

# pinned, because the frameworks' defaults differ
# AdamW (Loshchilov & Hutter 2019) and Adam (Kingma & Ba 2015)
ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
# SGD, plain and Nesterov's (Sutskever et al. 2013)
MOMENTUM = 0.9
# RMSprop (Tieleman & Hinton 2012). The lecture has no epsilon
RMSPROP_DECAY, RMSPROP_EPSILON = 0.9, 1e-8


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train a model."""

    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 128
    """Examples per step."""
    accumulate: int = 1
    """Micro-batches per step. Each batch is computed in this many parts, whose gradients are added up. A step then
    needs the memory of one part. It is the step of the whole batch, except that batch norm sees one part at a time."""
    optimizer: Literal["adamw", "adam", "sgd", "sgd_nesterov", "rmsprop"] = "adamw"
    """AdamW, Adam without weight decay, SGD with momentum 0.9 (plain or Nesterov's), or RMSprop."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """One cycle (up over the first 30% of steps, then down to zero along a cosine), or constant."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW, for kernels only."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 turns clipping off."""
    overfit: int = 0
    """The first thing to try: train and evaluate on this many examples of the training split, without augmentation and
    dropout. A model that can learn learns them by heart. 0 trains on the whole split."""
    seed: int = 0
    """Seed of the initial weights, the order of examples, dropout and augmentation."""
    patience: int = 0
    """Stop after this many epochs without a better validation figure; 0 trains all epochs. Under one cycle the figure
    swings until the rate falls, and the last epochs are the best: there, give it at least half of the epochs."""
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
        for field in ("epochs", "batch_size", "accumulate"):
            if getattr(self, field) < 1:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must be at least 1")
        counts, sizes = ("seed", "patience", "overfit", "workers"), ("augment_shear", "augment_elastic")
        for field in ("weight_decay", "clip_norm", *counts, *sizes):
            if getattr(self, field) < 0:
                raise UserError(f"train.{field} is {getattr(self, field)}; it must not be negative")
        if self.accumulate > self.batch_size:
            raise UserError(
                f"train.accumulate is {self.accumulate} and train.batch_size {self.batch_size}; a batch of "
                f"{self.batch_size} has at most {self.batch_size} parts"
            )
        if not self.learning_rate > 0:
            raise UserError(f"train.learning_rate is {self.learning_rate}; it must be above 0")
