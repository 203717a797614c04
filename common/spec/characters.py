"""The specs of the rungs that read one character: `mlp` and `cnn`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from common.errors import UserError
from common.spec.base import Block, Parameter, check_all_positive, check_positive, check_share, dense


@dataclass(frozen=True, kw_only=True)
class CharacterSpec(ABC):
    """The common part of the rungs that read one character. Class k is character k of the charset."""

    rung: ClassVar[str]
    task: ClassVar[str] = "characters"
    """Name of the task, see `common.tasks`."""
    decided_by_data: ClassVar[tuple[str, ...]] = ("num_classes", "height", "width")
    """Fields that the data decides and no flag sets."""
    extra_classes: ClassVar[int] = 0
    """Classes that are no character; they come first."""
    stem: ClassVar[tuple[Block, ...]] = ()

    num_classes: int
    """Classes K; the data's charset decides."""
    height: int = 28
    """Image height, pixels."""
    width: int = 28
    """Image width, pixels."""

    def __post_init__(self) -> None:
        check_positive(self, "num_classes", "height", "width")

    def loss_terms(self, *arrays: np.ndarray) -> int:
        """The number that the loss of a batch is divided by: images.

        Args:
            arrays: `Batch.arrays`.
        """
        return len(arrays[0])

    @abstractmethod
    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""


@dataclass(frozen=True, kw_only=True)
class MLPSpec(CharacterSpec):
    """Multilayer perceptron: flatten, then dense → ReLU → dropout per hidden layer, then dense to K logits."""

    rung: ClassVar[str] = "mlp"

    hidden_dims: tuple[int, ...] = (1024, 128)
    """Width of each hidden layer."""
    dropout: float = 0.5
    """Share of hidden units dropped in training, after each hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_all_positive(self, "hidden_dims")
        check_share(self, "dropout")

    def parameters(self) -> dict[str, Parameter]:
        return dense("dense", [self.height * self.width, *self.hidden_dims, self.num_classes])


@dataclass(frozen=True, kw_only=True)
class CNNSpec(CharacterSpec):
    """Convolutional network: convolutions 3×3 (padding 1) with ReLU, max-pool 2×2, dropout, dense → ReLU, dense.

    The pooled image is flattened in the order row, column, channel. An odd last row or column is not pooled.
    """

    rung: ClassVar[str] = "cnn"

    channels: tuple[int, ...] = (64, 64)
    """Output channels of each 3×3 convolution."""
    hidden_dim: int = 128
    """Width of the hidden dense layer."""
    dropout: float = 0.25
    """Share of pooled activations dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "hidden_dim")
        check_all_positive(self, "channels")
        check_share(self, "dropout")
        if self.height < 2 or self.width < 2:
            raise UserError(f"cnn needs images of at least 2×2 pixels to pool, not {self.height}×{self.width}")

    @property
    def flat_dim(self) -> int:
        """Activations of one pooled image."""
        return (self.height // 2) * (self.width // 2) * self.channels[-1]

    def parameters(self) -> dict[str, Parameter]:
        table: dict[str, Parameter] = {}
        for i, (fan_in, fan_out) in enumerate(pairwise((1, *self.channels))):
            table[f"conv.{i}.kernel"] = Parameter((3, 3, fan_in, fan_out), "he_normal")
            table[f"conv.{i}.bias"] = Parameter((fan_out,), "zeros")
        return table | dense("dense", [self.flat_dim, self.hidden_dim, self.num_classes])
