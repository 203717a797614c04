"""The specs of the rungs that read one line: `lstm_ctc` and `transformer`."""

# B batch, D model width, L length

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int

from common.errors import UserError
from common.spec.base import Block, Parameter, check_all_positive, check_positive, check_share, dense, norm

Widths = TypeVar("Widths", int, Int[np.ndarray, "B"])


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
    """Output channels of each 3×3 convolution. A last convolution, and `stem_pooling`, turn the columns into frames."""
    stem_strides: tuple[int, ...] = (2, 1, 2, 1)
    """Stride of each 3×3 convolution down the rows."""
    stem_column_strides: tuple[int, ...] = ()
    """Stride of each 3×3 convolution along the columns; empty takes `stem_strides`."""
    stem_pooling: Literal["convolution", "max"] = "convolution"
    """How a column becomes a frame. convolution: the last convolution is as high as the remaining rows. max: the last
    convolution is 3×3, and each channel's maximum over the column is taken."""

    def __post_init__(self) -> None:
        check_positive(self, "num_classes", "height")
        check_all_positive(self, "stem_channels")
        check_all_positive(self, "stem_strides")
        if self.stem_column_strides:
            check_all_positive(self, "stem_column_strides")
        for field in ("stem_strides", "stem_column_strides"):
            strides = getattr(self, field) or self.stem_strides
            if len(self.stem_channels) != len(strides):
                raise UserError(
                    f"spec.stem_channels has {len(self.stem_channels)} numbers and spec.{field} {len(strides)}; give "
                    "each convolution one of each"
                )

    @property
    @abstractmethod
    def frame_width(self) -> int:
        """Size of a frame: output channels of the stem's last block."""

    @property
    def stem(self) -> tuple[Block, ...]:
        """The blocks, from the image to the frames. `stem_pooling` max then takes the maximum of each column."""
        blocks, fan_in, height = [], 1, self.height
        for channels, *strides in zip(self.stem_channels, self.stem_strides, self._column_strides, strict=True):
            blocks.append(Block(rows=3, padding=1, strides=(strides[0], strides[1]), fan_in=fan_in, channels=channels))
            fan_in, height = channels, -(-height // strides[0])
        rows, padding = (height, 0) if self.stem_pooling == "convolution" else (3, 1)
        last = Block(rows=rows, padding=padding, strides=(1, 1), fan_in=fan_in, channels=self.frame_width)
        return (*blocks, last)

    @property
    def _column_strides(self) -> tuple[int, ...]:
        return self.stem_column_strides or self.stem_strides

    def frames(self, width: Widths) -> Widths:
        """Frames of an image with `width` columns of pixels; an int, or an array of widths."""
        for stride in self._column_strides:
            width = -(-width // stride)
        return width

    def loss_terms(self, *arrays: np.ndarray) -> int:
        """The number that the loss of a batch is divided by: characters, and the ends of the texts if it `decodes`.

        Args:
            arrays: `LineBatch.arrays`.
        """
        images_BHW1, _, _, label_lengths_B = arrays
        return int(label_lengths_B.sum()) + self.decodes * len(images_BHW1)

    def _stem_parameters(self) -> dict[str, Parameter]:
        table: dict[str, Parameter] = {}
        for i, block in enumerate(self.stem):
            table |= block.parameters(f"stem.{i}")
        return table

    def _head_parameters(self, fan_in: int) -> dict[str, Parameter]:
        return {
            "head.kernel": Parameter((fan_in, self.num_classes), "glorot_uniform"),
            "head.bias": Parameter((self.num_classes,), "zeros"),
        }


@dataclass(frozen=True, kw_only=True)
class LSTMCTCSpec(LineSpec):
    """Stem → frames → bidirectional LSTM layers, each followed by dropout → dense to K logits per frame; CTC.

    With `shortcut_weight`, a convolution over three frames turns the stem's frames into logits of their own. In
    training, their CTC loss is added with this weight, so that the stem learns without the LSTM layers. Reading does
    not use them. Source: Retsinas et al. 2022, "Best practices for a handwritten text recognition system".
    """

    rung: ClassVar[str] = "lstm_ctc"

    frame_dim: int = 128
    """Size of a frame: output channels of the stem."""
    hidden_dim: int = 128
    """Units of an LSTM layer, per direction."""
    num_layers: int = 1
    """Number of bidirectional LSTM layers."""
    dropout: float = 0.1
    """Share of each LSTM layer's outputs dropped in training."""
    head_dropout: float | None = None
    """Share of the last LSTM layer's outputs dropped in training; None takes `dropout`."""
    shortcut_weight: float = 0.0
    """Weight of the shortcut's loss; 0 leaves the shortcut out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "frame_dim", "hidden_dim", "num_layers")
        check_share(self, "dropout")
        if self.head_dropout is not None:
            check_share(self, "head_dropout")
        check_share(self, "shortcut_weight")

    @property
    def layer_dropouts(self) -> tuple[float, ...]:
        """Share of the outputs dropped after each LSTM layer."""
        last = self.dropout if self.head_dropout is None else self.head_dropout
        return (*[self.dropout] * (self.num_layers - 1), last)

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
        table |= self._head_parameters(fan_in)
        if self.shortcut_weight:
            table["shortcut.kernel"] = Parameter((3, self.frame_dim, self.num_classes), "glorot_uniform")
            table["shortcut.bias"] = Parameter((self.num_classes,), "zeros")
        return table


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
        check_positive(self, "model_dim", "num_layers", "num_heads", "feed_forward_dim")
        check_share(self, "dropout")
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
                table |= norm(f"decoder.{i}.{attention}_norm", width)
                for part in ("query", "key", "value", "output"):
                    table[f"decoder.{i}.{attention}.{part}.kernel"] = Parameter((width, width), "glorot_uniform")
                    if part != "key":  # softmax ignores a key's bias, which shifts all scores alike
                        table[f"decoder.{i}.{attention}.{part}.bias"] = Parameter((width,), "zeros")
            table |= norm(f"decoder.{i}.feed_forward_norm", width)
            table |= dense(f"decoder.{i}.feed_forward", [width, self.feed_forward_dim, width])
        return table | norm("decoder.norm", width) | self._head_parameters(width)


def positions(length: int, width: int) -> Float[np.ndarray, "L D"]:
    """Sinusoidal positions from 0, float64: column 2j is sin(position / 10000^(2j/D)), column 2j + 1 the cosine.

    They are computed here once, because the frameworks' float32 sines of large angles differ by more than the gates
    allow. Source: Vaswani et al. 2017, section 3.5.
    """
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, width)
