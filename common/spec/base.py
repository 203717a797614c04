"""What the specs of all rungs share: rows of the parameter table, blocks of convolutions, and checks of fields."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from common.errors import UserError

Initializer = Literal["he_normal", "glorot_uniform", "orthogonal", "embedding", "zeros", "ones"]

NORM_EPSILON = 1e-5
"""Added to the variance, in batch norm and in layer norm."""
BATCH_NORM_MOMENTUM = 0.1
"""Weight of the batch's statistics in the running statistics. Both use the biased variance."""


@dataclass(frozen=True)
class Parameter:
    """One row of a rung's parameter table.

    `shape` is canonical: convolution (kh, kw, in, out), dense (in, out), bias (out,); LSTM kernel (in, 4H), recurrent
    kernel (H, 4H) and bias (4H,), gates in the order i, f, g, o; embedding (K, D).
    """

    shape: tuple[int, ...]
    initializer: Initializer
    trained: bool = True
    """False for running statistics, which a training step updates without a gradient."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of convolutions: convolution without bias → batch norm → ReLU → zero past the image's own size."""

    rows: int
    """Height of the kernel."""
    columns: int = 3
    """Width of the kernel; odd. (columns - 1) / 2 columns of zeros are added on either side of the image."""
    padding: int
    """Rows of zeros above and below the image."""
    strides: tuple[int, int]
    """Strides down the rows and along the columns."""
    fan_in: int
    channels: int

    def parameters(self, name: str) -> dict[str, Parameter]:
        """The block's rows of the parameter table, under `name`."""
        return {
            f"{name}.kernel": Parameter((self.rows, self.columns, self.fan_in, self.channels), "he_normal"),
            f"{name}.scale": Parameter((self.channels,), "ones"),
            f"{name}.bias": Parameter((self.channels,), "zeros"),
            f"{name}.mean": Parameter((self.channels,), "zeros", trained=False),
            f"{name}.variance": Parameter((self.channels,), "ones", trained=False),
        }


def dense(name: str, dims: list[int]) -> dict[str, Parameter]:
    """Kernels followed by ReLU start from He et al. 2015, the last one from Glorot & Bengio 2010; biases at zero."""
    table: dict[str, Parameter] = {}
    last = len(dims) - 2
    for i, (fan_in, fan_out) in enumerate(pairwise(dims)):
        table[f"{name}.{i}.kernel"] = Parameter((fan_in, fan_out), "glorot_uniform" if i == last else "he_normal")
        table[f"{name}.{i}.bias"] = Parameter((fan_out,), "zeros")
    return table


def norm(name: str, width: int) -> dict[str, Parameter]:
    """Scale and bias of a layer norm."""
    return {f"{name}.scale": Parameter((width,), "ones"), f"{name}.bias": Parameter((width,), "zeros")}


def check_positive(spec: object, *fields: str) -> None:
    """Refuse fields below 1."""
    for field in fields:
        if getattr(spec, field) < 1:
            raise UserError(f"spec.{field} is {getattr(spec, field)}; it must be at least 1")


def check_all_positive(spec: object, field: str) -> None:
    """Refuse a tuple that is empty or has a number below 1."""
    values = getattr(spec, field)
    if not values or min(values) < 1:
        raise UserError(f"spec.{field} is {values}; it must be one or more whole numbers of at least 1")


def check_share(spec: object, field: str) -> None:
    """Refuse a share that is not in [0, 1)."""
    if not 0 <= getattr(spec, field) < 1:
        raise UserError(f"spec.{field} is {getattr(spec, field)}; it must be at least 0 and below 1")
