"""The spec of each rung: one frozen dataclass per rung, and the table of its parameters.

A spec chooses everything that a framework would otherwise choose by default: shapes, initialisation, padding, dropout,
norms, and the order in which an image is flattened (row, column, channel).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int

from common.errors import UserError, unknown_name

# B batch, T frames, K classes, D model width, L length

Widths = TypeVar("Widths", int, Int[np.ndarray, "B"])
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


def _dense(name: str, dims: list[int]) -> dict[str, Parameter]:
    """Kernels followed by ReLU start from He et al. 2015, the last one from Glorot & Bengio 2010; biases at zero."""
    table: dict[str, Parameter] = {}
    last = len(dims) - 2
    for i, (fan_in, fan_out) in enumerate(pairwise(dims)):
        table[f"{name}.{i}.kernel"] = Parameter((fan_in, fan_out), "glorot_uniform" if i == last else "he_normal")
        table[f"{name}.{i}.bias"] = Parameter((fan_out,), "zeros")
    return table


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of the stem: convolution without bias → batch norm → ReLU → zero past the line's own width.

    The kernel has 3 columns; the image is padded with one column of zeros on either side.
    """

    rows: int
    """Height of the kernel."""
    padding: int
    """Rows of zeros above and below the image."""
    stride: int
    """Stride in both directions."""
    fan_in: int
    channels: int


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
        _check_positive(self, "num_classes", "height", "width")

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
        _check_all_positive(self, "hidden_dims")
        _check_share(self, "dropout")

    def parameters(self) -> dict[str, Parameter]:
        return _dense("dense", [self.height * self.width, *self.hidden_dims, self.num_classes])


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
        _check_positive(self, "hidden_dim")
        _check_all_positive(self, "channels")
        _check_share(self, "dropout")
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
        return table | _dense("dense", [self.flat_dim, self.hidden_dim, self.num_classes])


@dataclass(frozen=True, kw_only=True)
class LineSpec(ABC):
    """The common part of the rungs that read lines: the stem, which turns an image into frames.

    Class 0 is no character: it is the blank of CTC, and the start and end of text of a decoder. Character k of the
    charset is class k + 1.
    """

    rung: ClassVar[str]
    task: ClassVar[str] = "lines"
    """Name of the task, see `common.tasks`."""
    decided_by_data: ClassVar[tuple[str, ...]] = ("num_classes",)
    """Fields that the data decides and no flag sets."""
    extra_classes: ClassVar[int] = 1
    """Classes that are no character; they come first."""
    decodes: ClassVar[bool] = False
    """Whether the model decodes its text itself (`common.recognizer.Decoder`) and predicts the text's end."""

    num_classes: int
    """Classes K: the characters of the data, and class 0."""
    height: int = 28
    """Height that lines are scaled to, pixels."""
    stem_channels: tuple[int, ...] = (32, 32, 64, 64)
    """Output channels of each 3×3 convolution. A last convolution, as high as the remaining rows, turns the columns
    into frames."""
    stem_strides: tuple[int, ...] = (2, 1, 2, 1)
    """Stride of each 3×3 convolution, in both directions."""

    def __post_init__(self) -> None:
        _check_positive(self, "num_classes", "height")
        _check_all_positive(self, "stem_channels")
        _check_all_positive(self, "stem_strides")
        if len(self.stem_channels) != len(self.stem_strides):
            raise UserError(
                f"spec.stem_channels has {len(self.stem_channels)} numbers and spec.stem_strides "
                f"{len(self.stem_strides)}; give each convolution one of each"
            )

    @property
    @abstractmethod
    def frame_width(self) -> int:
        """Size of a frame: output channels of the stem's last block."""

    @property
    def stem(self) -> tuple[Block, ...]:
        """The blocks, from the image to the frames."""
        blocks, fan_in, height = [], 1, self.height
        for channels, stride in zip(self.stem_channels, self.stem_strides, strict=True):
            blocks.append(Block(rows=3, padding=1, stride=stride, fan_in=fan_in, channels=channels))
            fan_in, height = channels, -(-height // stride)
        last = Block(rows=height, padding=0, stride=1, fan_in=fan_in, channels=self.frame_width)
        return (*blocks, last)

    def frames(self, width: Widths) -> Widths:
        """Frames of an image with `width` columns of pixels; an int, or an array of widths."""
        for stride in self.stem_strides:
            width = -(-width // stride)
        return width

    def _stem_parameters(self) -> dict[str, Parameter]:
        table: dict[str, Parameter] = {}
        for i, block in enumerate(self.stem):
            table[f"stem.{i}.kernel"] = Parameter((block.rows, 3, block.fan_in, block.channels), "he_normal")
            table[f"stem.{i}.scale"] = Parameter((block.channels,), "ones")
            table[f"stem.{i}.bias"] = Parameter((block.channels,), "zeros")
            table[f"stem.{i}.mean"] = Parameter((block.channels,), "zeros", trained=False)
            table[f"stem.{i}.variance"] = Parameter((block.channels,), "ones", trained=False)
        return table

    def _head_parameters(self, fan_in: int) -> dict[str, Parameter]:
        return {
            "head.kernel": Parameter((fan_in, self.num_classes), "glorot_uniform"),
            "head.bias": Parameter((self.num_classes,), "zeros"),
        }


@dataclass(frozen=True, kw_only=True)
class LSTMCTCSpec(LineSpec):
    """Stem → frames → bidirectional LSTM layers, each followed by dropout → dense to K logits per frame; CTC."""

    rung: ClassVar[str] = "lstm_ctc"

    frame_dim: int = 128
    """Size of a frame: output channels of the stem."""
    hidden_dim: int = 128
    """Units of an LSTM layer, per direction."""
    num_layers: int = 1
    """Number of bidirectional LSTM layers."""
    dropout: float = 0.1
    """Share of each LSTM layer's outputs dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "frame_dim", "hidden_dim", "num_layers")
        _check_share(self, "dropout")

    @property
    def frame_width(self) -> int:
        return self.frame_dim

    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""
        table, fan_in = self._stem_parameters(), self.frame_dim
        for i in range(self.num_layers):
            for direction in ("forward", "backward"):
                name = f"lstm.{i}.{direction}"
                table[f"{name}.kernel"] = Parameter((fan_in, 4 * self.hidden_dim), "glorot_uniform")
                table[f"{name}.recurrent_kernel"] = Parameter((self.hidden_dim, 4 * self.hidden_dim), "orthogonal")
                table[f"{name}.bias"] = Parameter((4 * self.hidden_dim,), "zeros")
            fan_in = 2 * self.hidden_dim
        return table | self._head_parameters(fan_in)


@dataclass(frozen=True, kw_only=True)
class TransformerSpec(LineSpec):
    """Stem → frames + positions → decoder → dense to K logits per character, class 0 for the end of the text.

    A decoder layer is pre-norm (Xiong et al. 2020): x + dropout(f(norm(x))), where f is causal self-attention, then
    cross-attention to the frames, then dense → ReLU → dense. A last norm follows the layers. The decoder's input is
    dropout(√D · embedding + position). Class 0 is the input at the first position. Source: Vaswani et al. 2017.
    """

    rung: ClassVar[str] = "transformer"
    decodes: ClassVar[bool] = True

    model_dim: int = 128
    """Width D of the frames and of the decoder; an even number."""
    num_layers: int = 2
    """Number of decoder layers."""
    num_heads: int = 4
    """Attention heads; each has model_dim ÷ num_heads of the width."""
    feed_forward_dim: int = 512
    """Hidden width of the decoder's dense layers."""
    dropout: float = 0.1
    """Share dropped in training: of the embeddings and of each sublayer's output."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "model_dim", "num_layers", "num_heads", "feed_forward_dim")
        _check_share(self, "dropout")
        if self.model_dim % self.num_heads or self.model_dim % 2:
            raise UserError(
                f"spec.model_dim is {self.model_dim}; it must be even, and a multiple of the {self.num_heads} heads"
            )

    @property
    def frame_width(self) -> int:
        return self.model_dim

    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""
        width, table = self.model_dim, self._stem_parameters()
        table["embedding.kernel"] = Parameter((self.num_classes, width), "embedding")
        for i in range(self.num_layers):
            for attention in ("self_attention", "cross_attention"):
                table |= _norm(f"decoder.{i}.{attention}_norm", width)
                for part in ("query", "key", "value", "output"):
                    table[f"decoder.{i}.{attention}.{part}.kernel"] = Parameter((width, width), "glorot_uniform")
                    if part != "key":  # softmax ignores a key's bias, which shifts all scores alike
                        table[f"decoder.{i}.{attention}.{part}.bias"] = Parameter((width,), "zeros")
            table |= _norm(f"decoder.{i}.feed_forward_norm", width)
            table |= _dense(f"decoder.{i}.feed_forward", [width, self.feed_forward_dim, width])
        return table | _norm("decoder.norm", width) | self._head_parameters(width)


def positions(length: int, width: int) -> Float[np.ndarray, "L D"]:
    """Sinusoidal positions from 0, float64: column 2j is sin(position / 10000^(2j/D)), column 2j + 1 the cosine.

    They are computed here once, because the frameworks' float32 sines of large angles differ by more than the gates
    allow. Source: Vaswani et al. 2017, section 3.5.
    """
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, width)


def _norm(name: str, width: int) -> dict[str, Parameter]:
    return {f"{name}.scale": Parameter((width,), "ones"), f"{name}.bias": Parameter((width,), "zeros")}


Spec = MLPSpec | CNNSpec | LSTMCTCSpec | TransformerSpec
RUNGS: dict[str, type[Spec]] = {spec.rung: spec for spec in (MLPSpec, CNNSpec, LSTMCTCSpec, TransformerSpec)}


def parameter_count(spec: Spec) -> int:
    """Number of trained parameters of the model."""
    total = 0
    for parameter in spec.parameters().values():
        size = int(parameter.trained)
        for dim in parameter.shape:
            size *= dim
        total += size
    return total


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """The spec for JSON; `spec_from_dict` reads it back."""
    return {"rung": spec.rung} | asdict(spec)


def spec_from_dict(fields: Any) -> Spec:
    """The spec that `spec_to_dict` wrote.

    Raises:
        UserError: not an object, an unknown rung, an unknown or a missing field.
    """
    if not isinstance(fields, dict):
        raise UserError(f"a spec must be an object with a rung and its fields, not {fields!r}")
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
