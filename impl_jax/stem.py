"""The stem of the rungs for lines: blocks of convolution → batch norm → ReLU, which turn a line's image into frames."""

# B batch, H height, W width, C channels, T frames; h, w, c: the same after a block

from __future__ import annotations

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
    """Convolution without bias → batch norm over the lines' own columns → ReLU → zero past each line's own width.

    nnx.BatchNorm keeps its statistics in float32 for every dtype, and cannot leave out columns.
    Source: Ioffe & Szegedy 2015.
    """

    def __init__(self, block: Block, *, dtype: np.dtype) -> None:
        self.stride, self.padding = block.strides[0], block.padding
        self.kernel = nnx.Param(jnp.zeros((block.rows, 3, block.fan_in, block.channels), dtype))
        self.scale = nnx.Param(jnp.ones(block.channels, dtype))
        self.bias = nnx.Param(jnp.zeros(block.channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(block.channels, dtype))
        self.variance = nnx.BatchStat(jnp.ones(block.channels, dtype))

    def __call__(
        self, x_BHWC: Float[Array, "B H W C"], widths_B: Int[Array, "B"], *, training: bool
    ) -> tuple[Float[Array, "B h w c"], Int[Array, "B"]]:
        """The block's output, and each line's own width in it. In training, the running statistics move."""
        kernel = self.kernel[...]
        if not self.padding:
            # a kernel as high as the image: as a convolution over columns alone, the gradient of its input takes a
            # seventh of the time
            x_BHWC = x_BHWC.swapaxes(1, 2).reshape(len(x_BHWC), 1, x_BHWC.shape[2], -1)
            kernel = kernel.swapaxes(0, 1).reshape(1, 3, -1, kernel.shape[-1])
        x_BHWC = jax.lax.conv_general_dilated(
            x_BHWC,
            kernel,
            window_strides=(self.stride, self.stride),
            padding=((self.padding, self.padding), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        widths_B = -(-widths_B // self.stride)
        keep_BW = keep_first(widths_B, x_BHWC.shape[2])
        keep_B1W1 = keep_BW[:, None, :, None]
        if training:
            count = widths_B.sum() * x_BHWC.shape[1]
            mean_C = jnp.where(keep_B1W1, x_BHWC, 0).sum((0, 1, 2)) / count
            # Σ (x - mean) is zero, so no part of the variance's gradient flows through the mean
            centred_BHWC = jnp.where(keep_B1W1, x_BHWC - jax.lax.stop_gradient(mean_C), 0)
            variance_C = (centred_BHWC**2).sum((0, 1, 2)) / count
            self.mean[...] += BATCH_NORM_MOMENTUM * (mean_C - self.mean[...])
            self.variance[...] += BATCH_NORM_MOMENTUM * (variance_C - self.variance[...])
        else:
            mean_C, variance_C = self.mean[...], self.variance[...]
        scale_C = self.scale[...] * jax.lax.rsqrt(variance_C + NORM_EPSILON)
        # folded into one scale and one shift per channel: autodiff then needs two reductions instead of four
        x_BHWC = nnx.relu(x_BHWC * scale_C + (self.bias[...] - mean_C * scale_C))
        return jnp.where(keep_B1W1, x_BHWC, 0), widths_B


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
            x_BHWC, widths_B = block(x_BHWC, widths_B, training=training)
        frames_BTC = x_BHWC.squeeze(1)
        return frames_BTC, keep_first(widths_B, frames_BTC.shape[1])

    def frames(self, widths_B: Int[Array, "B"]) -> Int[Array, "B"]:
        """The number of frames of lines that are `widths_B` pixels wide."""
        for block in self:
            widths_B = -(-widths_B // block.strides[1])
        return widths_B


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: one for every rung, see train.train_step; the running statistics are part of its state

# --- weights: in the canonical layout; the path of stem[0].kernel is stem.0.kernel
