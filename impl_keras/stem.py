"""The stem: a line's image to frames, by convolutions with batch norm over the line's own columns."""

# B batch, H height, W width, C channels, T frames, L label length

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, LineSpec, spec_from_dict, spec_to_dict
from impl_keras.device import Array


# --- layers
@keras.saving.register_keras_serializable("fourhands")
class StemBlock(layers.Layer):
    """Convolution → batch norm → ReLU → zero past the line's own width.

    `layers.BatchNormalization` takes a mask too, but it adds 1e-7 to the number of columns, which shows in float64.
    Source: Ioffe & Szegedy 2015.
    """

    def __init__(self, channels: int, *, rows: int, stride: int, padding: int, **options: Any) -> None:
        super().__init__(**options)
        self.channels, self.rows, self.stride, self.padding = channels, rows, stride, padding

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"channels": self.channels, "rows": self.rows, "stride": self.stride, "padding": self.padding}
        return super().get_config() | own

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables: zeros, because `common.weights` draws the weights."""
        channels = (self.channels,)
        self.kernel = self.add_weight((self.rows, 3, input_shape[-1], self.channels), "zeros", name="kernel")
        self.scale = self.add_weight(channels, "zeros", name="scale")
        self.bias = self.add_weight(channels, "zeros", name="bias")
        self.mean = self.add_weight(channels, "zeros", name="mean", trainable=False)
        self.variance = self.add_weight(channels, "zeros", name="variance", trainable=False)

    def call(self, x_BHWC: Array, widths_B: Array, training: bool = False) -> tuple[Array, Array]:
        """The block's output, and each line's own width in it."""
        rows, stride = self.padding, self.stride
        x = ops.pad(x_BHWC, ((0, 0), (rows, rows), (1, 1), (0, 0)))
        x = ops.conv(x, self.kernel, stride, "valid", data_format="channels_last")
        widths_B = -(-widths_B // stride)
        keep_BW = keep_first(widths_B, ops.shape(x)[2])
        keep_B1W1 = ops.cast(keep_BW[:, None, :, None], x.dtype)
        if training:
            mean, variance = self.batch_statistics(x, keep_B1W1)
        else:
            mean, variance = self.mean, self.variance
        factor = self.scale * ops.rsqrt(variance + NORM_EPSILON)
        return ops.relu((x - mean) * factor + self.bias) * keep_B1W1, widths_B

    def batch_statistics(self, x: Array, keep_B1W1: Array) -> tuple[Array, Array]:
        """Mean and biased variance per channel over the lines' own columns; moves the running ones towards them."""
        count = ops.sum(keep_B1W1) * ops.cast(ops.shape(x)[1], x.dtype)
        mean = ops.sum(x * keep_B1W1, (0, 1, 2)) / count
        variance = ops.sum(ops.square(x - mean) * keep_B1W1, (0, 1, 2)) / count
        for running, of_batch in ((self.mean, mean), (self.variance, variance)):
            running.assign((1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * of_batch)
        return mean, variance


@keras.saving.register_keras_serializable("fourhands")
class Stem(layers.Layer):
    """The blocks, one after the other.

    Args:
        blocks: the arguments of each `StemBlock`.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(self, blocks: Sequence[Mapping[str, int]], **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [StemBlock(**block, name=str(i), dtype=self.dtype_policy) for i, block in enumerate(blocks)]

    @classmethod
    def of(cls, spec: LineSpec, dtype: DType) -> Self:
        """The stem that the spec describes."""
        keys = ("channels", "rows", "stride", "padding")
        return cls([{key: getattr(block, key) for key in keys} for block in spec.stem], name="stem", dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        keys = ("channels", "rows", "stride", "padding")
        return super().get_config() | {"blocks": [{key: getattr(b, key) for key in keys} for b in self.blocks]}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables."""
        channels = input_shape[-1]
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.channels

    def call(self, images_BHW1: Array, widths_B: Array, training: bool = False) -> tuple[Array, Array]:
        """The frames (B, T, C), and the mask (B, T) that keeps a line's own."""
        x = images_BHW1
        for block in self.blocks:
            x, widths_B = block(x, widths_B, training=training)
        frames_BTC = ops.squeeze(x, 1)
        return frames_BTC, keep_first(widths_B, ops.shape(frames_BTC)[1])


def keep_first(lengths_B: Array, total: int | Array) -> Array:
    """True at the first `lengths_B` of `total` columns or frames, those that belong to the line: (B, total)."""
    return ops.arange(total) < lengths_B[:, None]


def line_inputs(spec: LineSpec, dtype: DType) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The first two inputs of a model of lines: images (B, H, W, 1) and widths (B,)."""
    images_BHW1 = keras.Input((spec.height, None, 1), dtype=dtype, name="images")
    return images_BHW1, keras.Input((), dtype="int32", name="widths")


# --- model: of each rung, see lstm_ctc.py and transformer.py


# --- loss
class LineModel(keras.Model):
    """A model whose loss also needs the inputs (the line widths).

    Losses passed to `compile` see only labels and outputs. A subclass defines `line_loss`, and a constructor
    `(spec, *, dtype, name)` that builds the graph of its layers.
    """

    def __init__(
        self, spec: LineSpec, inputs: tuple[keras.KerasTensor, ...], outputs: keras.KerasTensor, **options: Any
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, **options)
        self.spec = spec
        self.step_loss = LastValue(name="step_loss", dtype=outputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; the graph of the layers follows from the spec."""
        # not the model's own dtype: a graph of layers keeps each layer's, and its own is Keras's default
        return {"spec": spec_to_dict(self.spec), "dtype": self.outputs[0].dtype, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(spec_from_dict(config["spec"]), dtype=config["dtype"], name=config["name"])

    def compute_loss(
        self,
        x: tuple[Array, ...],
        y: Array,
        y_pred: Array,
        sample_weight: Array | None = None,
        training: bool = True,
    ) -> Array:
        """The loss of a batch, which Keras asks for in every step."""
        loss = self.line_loss(x, y, y_pred)
        self.step_loss.update_state(loss)
        return loss


@keras.saving.register_keras_serializable("fourhands")
class LastValue(keras.metrics.Metric):
    """The value of the last step; Keras's own metrics are means over the epoch so far."""

    def __init__(self, name: str = "last_value", dtype: DType | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.last = self.add_variable((), "zeros", dtype=dtype, name="last")

    def update_state(self, value: Array) -> None:
        """Replace the value."""
        self.last.assign(value)

    def result(self) -> Array:
        """The value of the last update."""
        return ops.convert_to_tensor(self.last)


# --- training step: Keras's own, see Model.fit

# --- weights: a path is the canonical name with slashes; stem/0/kernel holds stem.0.kernel
