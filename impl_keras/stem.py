"""The stem: a line's image to frames, by convolutions with batch norm over the line's own columns."""

# B batch, H height, W width, C channels, T frames, L label length

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec
from impl_keras.device import Array


# --- layers
@keras.saving.register_keras_serializable("fourhands")
class ConvBlock(layers.Layer):
    """Convolution → batch norm over the pixels to keep → ReLU → zero at all other pixels.

    `layers.BatchNormalization` takes a mask too, but it adds 1e-7 to the number of pixels, which shows in float64.
    Source: Ioffe & Szegedy 2015.

    Args:
        channels: output channels.
        kernel_size: rows and columns of the kernel.
        strides: down the rows and along the columns.
        padding: rows of zeros above and below the image. Columns get half of the kernel's, rounded down.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(
        self, channels: int, *, kernel_size: Sequence[int], strides: Sequence[int], padding: int, **options: Any
    ) -> None:
        super().__init__(**options)
        self.channels, self.padding = channels, padding
        self.kernel_size, self.strides = tuple(kernel_size), tuple(strides)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | self.shape

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of the constructor, without those of every Keras layer."""
        sizes = {"kernel_size": list(self.kernel_size), "strides": list(self.strides)}
        return {"channels": self.channels, "padding": self.padding} | sizes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables: zeros, because `common.weights` draws the weights."""
        channels = (self.channels,)
        self.kernel = self.add_weight((*self.kernel_size, input_shape[-1], self.channels), "zeros", name="kernel")
        self.scale = self.add_weight(channels, "zeros", name="scale")
        self.bias = self.add_weight(channels, "zeros", name="bias")
        self.mean = self.add_weight(channels, "zeros", name="mean", trainable=False)
        self.variance = self.add_weight(channels, "zeros", name="variance", trainable=False)

    def call(self, x_BHWC: Array, keep_BHW1: Array, training: bool = False) -> Array:
        """The block's output. `keep_BHW1` is 1 at the output's pixels to keep, or has one row for all rows."""
        rows, columns = self.padding, self.kernel_size[1] // 2
        x = ops.pad(x_BHWC, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
        x = ops.conv(x, self.kernel, self.strides, "valid", data_format="channels_last")
        if training:
            mean, variance = self.batch_statistics(x, keep_BHW1)
        else:
            mean, variance = self.mean, self.variance
        factor = self.scale * ops.rsqrt(variance + NORM_EPSILON)
        return ops.relu((x - mean) * factor + self.bias) * keep_BHW1

    def batch_statistics(self, x: Array, keep_BHW1: Array) -> tuple[Array, Array]:
        """Mean and biased variance per channel over the pixels to keep; moves the running ones towards them."""
        count = ops.sum(keep_BHW1) * ops.cast(ops.shape(x)[1] // ops.shape(keep_BHW1)[1], x.dtype)
        mean = ops.sum(x * keep_BHW1, (0, 1, 2)) / count
        variance = ops.sum(ops.square(x - mean) * keep_BHW1, (0, 1, 2)) / count
        for running, of_batch in ((self.mean, mean), (self.variance, variance)):
            running.assign((1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * of_batch)
        return mean, variance


def shape_of(block: Block) -> dict[str, Any]:
    """The arguments of the `ConvBlock` that the spec describes."""
    sizes = {"kernel_size": [block.rows, block.columns], "strides": list(block.strides)}
    return {"channels": block.channels, "padding": block.padding} | sizes


@keras.saving.register_keras_serializable("fourhands")
class Stem(layers.Layer):
    """The blocks, one after the other, then the maximum of each column.

    Args:
        blocks: the arguments of each `ConvBlock`.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(self, blocks: Sequence[Mapping[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [ConvBlock(**block, name=str(i), dtype=self.dtype_policy) for i, block in enumerate(blocks)]

    @classmethod
    def of(cls, spec: LineSpec, dtype: DType) -> Self:
        """The stem that the spec describes."""
        return cls([shape_of(block) for block in spec.stem], name="stem", dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {"blocks": [block.shape for block in self.blocks]}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables."""
        channels = input_shape[-1]
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.channels

    def call(self, images_BHW1: Array, widths_B: Array, training: bool = False) -> tuple[Array, Array]:
        """The frames (B, T, C), and the mask (B, T) that keeps a line's own."""
        x, total = images_BHW1, ops.shape(images_BHW1)[2]
        for block in self.blocks:
            widths_B, total = -(-widths_B // block.strides[1]), -(-total // block.strides[1])
            keep_BW = keep_first(widths_B, total)
            x = block(x, ops.cast(keep_BW[:, None, :, None], x.dtype), training=training)
        # the maximum over a single row is that row
        return ops.max(x, axis=1), keep_BW


def keep_first(lengths_B: Array, total: int | Array) -> Array:
    """True at the first `lengths_B` of `total` columns or frames, those that belong to the line: (B, total)."""
    return ops.arange(total) < lengths_B[:, None]


def line_inputs(spec: LineSpec, dtype: DType) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The first two inputs of a model of lines: images (B, H, W, 1) and widths (B,)."""
    images_BHW1 = keras.Input((spec.height, None, 1), dtype=dtype, name="images")
    return images_BHW1, keras.Input((), dtype="int32", name="widths")


# --- model: of each rung, see lstm_ctc.py and transformer.py


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: Keras's own, see Model.fit

# --- weights: a path is the canonical name with slashes; stem/0/kernel holds stem.0.kernel
