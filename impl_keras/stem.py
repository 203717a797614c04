"""The stem: a line's image to frames, by convolutions with batch norm over the line's own columns."""

# B batch, H height, W width, C channels, T frames

from __future__ import annotations

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec
from impl_keras.device import Array


# --- layers
class StemBlock(layers.Layer):
    """Convolution → batch norm → ReLU → zero past the line's own width.

    `layers.BatchNormalization` takes a mask too, but adds 1e-7 to the count of what is kept, which shows in float64.
    Source: Ioffe & Szegedy 2015.
    """

    def __init__(self, block: Block, *, name: str, dtype: DType) -> None:
        super().__init__(name=name, dtype=dtype)
        self.block = block

    def build(self, *_: tuple[int | None, ...]) -> None:
        """Make the variables; zeros, because `common.weights` fills them."""
        block, channels = self.block, (self.block.channels,)
        self.kernel = self.add_weight((block.rows, 3, block.fan_in, block.channels), "zeros", name="kernel")
        self.scale = self.add_weight(channels, "zeros", name="scale")
        self.bias = self.add_weight(channels, "zeros", name="bias")
        self.mean = self.add_weight(channels, "zeros", name="mean", trainable=False)
        self.variance = self.add_weight(channels, "zeros", name="variance", trainable=False)

    def call(self, x_BHWC: Array, widths_B: Array, training: bool = False) -> tuple[Array, Array]:
        """What the block makes of the image, and the columns of it that are each line's own."""
        rows, stride = self.block.padding, self.block.stride
        x = ops.pad(x_BHWC, ((0, 0), (rows, rows), (1, 1), (0, 0)))
        x = ops.conv(x, self.kernel, stride, "valid", data_format="channels_last")
        widths_B = -(-widths_B // stride)
        keep_B1W1 = ops.cast(columns_kept(x, widths_B, axis=2)[:, None, :, None], x.dtype)
        if training:
            mean, variance = self.batch_statistics(x, keep_B1W1)
        else:
            mean, variance = self.mean, self.variance
        factor = self.scale * ops.rsqrt(variance + NORM_EPSILON)
        return ops.relu((x - mean) * factor + self.bias) * keep_B1W1, widths_B

    def batch_statistics(self, x: Array, keep_B1W1: Array) -> tuple[Array, Array]:
        """Mean and biased variance per channel of the columns kept; moves the running ones towards them."""
        count = ops.sum(keep_B1W1) * ops.cast(ops.shape(x)[1], x.dtype)
        mean = ops.sum(x * keep_B1W1, (0, 1, 2)) / count
        variance = ops.sum(ops.square(x - mean) * keep_B1W1, (0, 1, 2)) / count
        for running, of_batch in ((self.mean, mean), (self.variance, variance)):
            running.assign((1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * of_batch)
        return mean, variance


class Stem(layers.Layer):
    """The blocks, one after the other."""

    def __init__(self, spec: LineSpec, *, dtype: DType) -> None:
        super().__init__(name="stem", dtype=dtype)
        self.blocks = [StemBlock(block, name=str(i), dtype=dtype) for i, block in enumerate(spec.stem)]

    def build(self, *_: tuple[int | None, ...]) -> None:
        """Make the variables."""
        for block in self.blocks:
            block.build()

    def call(self, images_BHW1: Array, widths_B: Array, training: bool = False) -> tuple[Array, Array]:
        """Frames (B, T, C), and which of them are the line's own (B, T)."""
        x = images_BHW1
        for block in self.blocks:
            x, widths_B = block(x, widths_B, training=training)
        frames_BTC = ops.squeeze(x, 1)
        return frames_BTC, columns_kept(frames_BTC, widths_B, axis=1)


def columns_kept(x: Array, widths_B: Array, *, axis: int) -> Array:
    """True where a column along the axis is the line's own: (B, W) or (B, T)."""
    return ops.arange(ops.shape(x)[axis]) < widths_B[:, None]


def line_inputs(spec: LineSpec, dtype: DType) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """What a model of lines takes first: images (B, H, W, 1), and widths (B,)."""
    images_BHW1 = keras.Input((spec.height, None, 1), dtype=dtype, name="images")
    return images_BHW1, keras.Input((), dtype="int32", name="widths")


# --- model: of each rung, see lstm_ctc.py and transformer.py


# --- loss
class LineModel(keras.Model):
    """A model whose loss takes its inputs too, which Keras gives to no loss of `compile`."""

    def __init__(self, inputs: tuple[keras.KerasTensor, ...], outputs: keras.KerasTensor, **options: str) -> None:
        super().__init__(inputs=inputs, outputs=outputs, **options)
        self.step_loss = LastValue(name="step_loss", dtype=outputs.dtype)

    def compute_loss(
        self,
        x: tuple[Array, ...],
        y: Array,
        y_pred: Array,
        sample_weight: Array | None = None,
        training: bool = True,
    ) -> Array:
        """As `Model.fit` asks."""
        loss = self.line_loss(x, y, y_pred)
        self.step_loss.update_state(loss)
        return loss


class LastValue(keras.metrics.Metric):
    """The last value alone; Keras's own metrics are means over the epoch so far."""

    def __init__(self, *, name: str, dtype: DType) -> None:
        super().__init__(name=name, dtype=dtype)
        self.last = self.add_variable((), "zeros", dtype=dtype, name="last")

    def update_state(self, value: Array) -> None:
        """Replace what was there."""
        self.last.assign(value)

    def result(self) -> Array:
        """What was given last."""
        return ops.convert_to_tensor(self.last)


# --- training step: Keras's own, see Model.fit

# --- weights: paths are canonical but for the slash; stem/0/kernel holds stem.0.kernel
