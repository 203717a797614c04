"""The stem of the rungs for lines: blocks of convolution → batch norm → ReLU, which turn a line's image into frames."""

# B batch, H height, W width, C channels, T frames; h, w, c: of a block's output

from __future__ import annotations

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec


# --- layers
def keep_first(lengths_B: Int[Array, "B"], total: int) -> Bool[Array, "B {total}"]:
    """True at the first `lengths_B` of `total` columns, frames or characters: those that belong to the line."""
    return jnp.arange(total) < lengths_B[:, None]


class ConvBlock(nnx.Module):
    """Convolution without bias → batch norm over the pixels to keep → ReLU → zero at all other pixels.

    nnx.BatchNorm keeps its statistics in float32 for every dtype, and cannot leave out pixels.
    Source: Ioffe & Szegedy 2015.
    """

    def __init__(self, block: Block, *, dtype: np.dtype) -> None:
        self.strides, self.padding = block.strides, (block.padding, block.columns // 2)
        self.kernel = nnx.Param(jnp.zeros((block.rows, block.columns, block.fan_in, block.channels), dtype))
        self.scale = nnx.Param(jnp.ones(block.channels, dtype))
        self.bias = nnx.Param(jnp.zeros(block.channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(block.channels, dtype))
        self.variance = nnx.BatchStat(jnp.ones(block.channels, dtype))

    def __call__(
        self, x_BHWC: Float[Array, "B H W C"], keep_BHW1: Bool[Array, "B #h w 1"], *, training: bool
    ) -> Float[Array, "B h w c"]:
        """The block's output. In training, the running statistics move.

        Args:
            x_BHWC: images, zero past their own size.
            keep_BHW1: True at the pixels of the output that belong to an image, or one row for all rows.
            training: use the statistics of the batch.
        """
        kernel = self.kernel[...]
        rows, columns = self.padding
        if not rows:
            # a kernel as high as the image: as a convolution over columns alone, the gradient of its input takes a
            # seventh of the time
            x_BHWC = x_BHWC.swapaxes(1, 2).reshape(len(x_BHWC), 1, x_BHWC.shape[2], -1)
            kernel = kernel.swapaxes(0, 1).reshape(1, kernel.shape[1], -1, kernel.shape[-1])
        x_BHWC = jax.lax.conv_general_dilated(
            x_BHWC,
            kernel,
            window_strides=self.strides,
            padding=((rows, rows), (columns, columns)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if training:
            count = keep_BHW1.sum() * (x_BHWC.shape[1] // keep_BHW1.shape[1])
            mean_C = jnp.where(keep_BHW1, x_BHWC, 0).sum((0, 1, 2)) / count
            # Σ (x - mean) is zero, so no part of the variance's gradient flows through the mean
            centred_BHWC = jnp.where(keep_BHW1, x_BHWC - jax.lax.stop_gradient(mean_C), 0)
            variance_C = (centred_BHWC**2).sum((0, 1, 2)) / count
            self.mean[...] += BATCH_NORM_MOMENTUM * (mean_C - self.mean[...])
            self.variance[...] += BATCH_NORM_MOMENTUM * (variance_C - self.variance[...])
        else:
            mean_C, variance_C = self.mean[...], self.variance[...]
        scale_C = self.scale[...] * jax.lax.rsqrt(variance_C + NORM_EPSILON)
        # folded into one scale and one shift per channel: autodiff then needs two reductions instead of four
        x_BHWC = nnx.relu(x_BHWC * scale_C + (self.bias[...] - mean_C * scale_C))
        return jnp.where(keep_BHW1, x_BHWC, 0)


# --- model
class Stem(nnx.List):
    """The blocks in order. In training, batch norm uses the batch's statistics and moves the running ones."""

    def __init__(self, spec: LineSpec, *, dtype: np.dtype) -> None:
        super().__init__(ConvBlock(block, dtype=dtype) for block in spec.stem)

    def __call__(
        self, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, training: bool
    ) -> tuple[Float[Array, "B T C"], Bool[Array, "B T"]]:
        """The frames, zero past each line's own, and the mask that keeps its own."""
        x_BHWC = jnp.asarray(images_BHW1, self[0].kernel.dtype)
        for block in self:
            columns = -(-x_BHWC.shape[2] // block.strides[1])
            widths_B = -(-widths_B // block.strides[1])
            keep_BW = keep_first(widths_B, columns)
            x_BHWC = block(x_BHWC, keep_BW[:, None, :, None], training=training)
        # row by row, as `max` over an axis has the derivative 0 / 0 where XLA computes its argument twice and rounds
        # differently (jaxlib 0.10.2, --xla_backend_optimization_level=0); the maximum of a single row is that row
        return reduce(jnp.maximum, (x_BHWC[:, row] for row in range(x_BHWC.shape[1]))), keep_BW


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: one for every rung, see train.train_step; the running statistics are part of its state

# --- weights: in the canonical layout; the path of stem[0].kernel is stem.0.kernel
