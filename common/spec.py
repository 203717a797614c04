"""What each rung is: one frozen dataclass per rung, and the table of its parameters.

Everything a framework would otherwise choose by default is chosen here: shapes, initialisation,
padding, dropout, and the order in which an image is flattened (row, column, channel).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from common.errors import UserError, unknown_name

Initializer = Literal["he_normal", "glorot_uniform", "zeros"]


@dataclass(frozen=True)
class Parameter:
    """One row of a rung's parameter table.

    `shape` is canonical: convolution (kh, kw, in, out), dense (in, out), bias (out,).
    """

    shape: tuple[int, ...]
    initializer: Initializer


def _dense(name: str, dims: list[int]) -> dict[str, Parameter]:
    """Kernels followed by ReLU start from He et al. 2015, the last one from Glorot & Bengio 2010; biases at zero."""
    table: dict[str, Parameter] = {}
    last = len(dims) - 2
    for i, (fan_in, fan_out) in enumerate(pairwise(dims)):
        table[f"{name}.{i}.kernel"] = Parameter((fan_in, fan_out), "glorot_uniform" if i == last else "he_normal")
        table[f"{name}.{i}.bias"] = Parameter((fan_out,), "zeros")
    return table


@dataclass(frozen=True, kw_only=True)
class MLPSpec:
    """Multilayer perceptron: flatten, then dense → ReLU → dropout per hidden layer, then dense to K logits."""

    rung: ClassVar[str] = "mlp"

    num_classes: int
    """Classes K; the data's charset decides."""
    height: int = 28
    """Image height, pixels."""
    width: int = 28
    """Image width, pixels."""
    hidden_dims: tuple[int, ...] = (1024, 128)
    """Width of each hidden layer."""
    dropout: float = 0.5
    """Share of hidden units dropped in training, after each hidden layer."""

    def __post_init__(self) -> None:
        _check_positive(self, "num_classes", "height", "width")
        _check_all_positive(self, "hidden_dims")
        _check_share(self, "dropout")

    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""
        return _dense("dense", [self.height * self.width, *self.hidden_dims, self.num_classes])


@dataclass(frozen=True, kw_only=True)
class CNNSpec:
    """Convolutional network: convolutions 3×3 (padding 1) with ReLU, max-pool 2×2, dropout, dense → ReLU, dense.

    The pooled image is flattened in the order row, column, channel. An odd last row or column is not pooled.
    """

    rung: ClassVar[str] = "cnn"

    num_classes: int
    """Classes K; the data's charset decides."""
    height: int = 28
    """Image height, pixels."""
    width: int = 28
    """Image width, pixels."""
    channels: tuple[int, ...] = (64, 64)
    """Channels of each 3×3 convolution."""
    hidden_dim: int = 128
    """Width of the hidden dense layer."""
    dropout: float = 0.25
    """Share of pooled activations dropped in training."""

    def __post_init__(self) -> None:
        _check_positive(self, "num_classes", "hidden_dim")
        _check_all_positive(self, "channels")
        _check_share(self, "dropout")
        if self.height < 2 or self.width < 2:
            raise UserError(f"cnn needs images of at least 2×2 pixels to pool, not {self.height}×{self.width}")

    @property
    def flat_dim(self) -> int:
        """Numbers in one pooled image."""
        return (self.height // 2) * (self.width // 2) * self.channels[-1]

    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""
        table: dict[str, Parameter] = {}
        for i, (fan_in, fan_out) in enumerate(pairwise((1, *self.channels))):
            table[f"conv.{i}.kernel"] = Parameter((3, 3, fan_in, fan_out), "he_normal")
            table[f"conv.{i}.bias"] = Parameter((fan_out,), "zeros")
        return table | _dense("dense", [self.flat_dim, self.hidden_dim, self.num_classes])


Spec = MLPSpec | CNNSpec
RUNGS: dict[str, type[Spec]] = {spec.rung: spec for spec in (MLPSpec, CNNSpec)}


def parameter_count(spec: Spec) -> int:
    """Trained numbers in the whole model."""
    total = 0
    for parameter in spec.parameters().values():
        size = 1
        for dim in parameter.shape:
            size *= dim
        total += size
    return total


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """JSON-ready; `spec_from_dict` reads it back."""
    return {"rung": spec.rung} | asdict(spec)


def spec_from_dict(fields: dict[str, Any]) -> Spec:
    """The spec that `spec_to_dict` wrote.

    Raises:
        UserError: an unknown rung, an unknown or a missing field.
    """
    fields = dict(fields)
    rung = fields.pop("rung", None)
    if rung not in RUNGS:
        raise unknown_name("rung", str(rung), RUNGS)
    arguments: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    try:
        return RUNGS[rung](**arguments)
    except TypeError as error:
        raise UserError(f"not a spec of rung {rung}: {error}") from None


def _check_positive(spec: object, *fields: str) -> None:
    for field in fields:
        if getattr(spec, field) < 1:
            raise UserError(f"spec.{field} is {getattr(spec, field)}; it must be at least 1")


def _check_all_positive(spec: object, field: str) -> None:
    values = getattr(spec, field)
    if not values or min(values) < 1:
        raise UserError(f"spec.{field} is {values}; it must be one or more whole numbers of at least 1")


def _check_share(spec: object, field: str) -> None:
    if not 0 <= getattr(spec, field) < 1:
        raise UserError(f"spec.{field} is {getattr(spec, field)}; it must be at least 0 and below 1")
