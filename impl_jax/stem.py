"""The stem that the rungs for lines share: blocks of convolution → batch norm → ReLU, from an image to frames."""

# B batch, H height, W width, C channels, T frames, D numbers in a frame

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec


# --- layers
def keep_own(widths_B: Int[Array, "B"], width: int) -> Bool[Array, "B {width}"]:
    """Which of `width` columns or frames are a line's own."""
    return jnp.arange(width) < widths_B[:, None]


class ConvBlock(nnx.Module):
    """Convolution without bias → batch norm over the lines' own columns → ReLU → zero past them.

    nnx.BatchNorm holds its statistics in float32 whatever its dtype, and this one knows which columns count. Source:
    Ioffe & Szegedy 2015.
    """

    def __init__(self, block: Block, *, dtype: np.dtype) -> None:
        self.stride, self.padding = block.stride, block.padding
        self.kernel = nnx.Param(jnp.zeros((block.rows, 3, block.fan_in, block.channels), dtype))
        self.scale = nnx.Param(jnp.ones(block.channels, dtype))
        self.bias = nnx.Param(jnp.zeros(block.channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(block.channels, dtype))
        self.variance = nnx.BatchStat(jnp.ones(block.channels, dtype))

    def __call__(
        self, x_BHWC: Float[Array, "B H W C"], widths_B: Int[Array, "B"], *, training: bool
    ) -> tuple[Float[Array, "B h w c"], Int[Array, "B"]]:
        kernel = self.kernel[...]
        if not self.padding:
            # as tall as the image: a convolution over columns, the gradient of whose input takes a seventh of the time
            x_BHWC = x_BHWC.swapaxes(1, 2).reshape(len(x_BHWC), 1, x_BHWC.shape[2], -1)
            kernel = kernel.swapaxes(0, 1).reshape(1, 3, -1, kernel.shape[-1])
        x_BHWC = jax.lax.conv_general_dilated(
            x_BHWC,
            kernel,
            window_strides=(self.stride, self.stride),
            padding=((self.padding, self.padding), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        widths_B = -(-widths_B // self.stride)
        keep_B1W1 = keep_own(widths_B, x_BHWC.shape[2])[:, None, :, None]
        if training:
            count = widths_B.sum() * x_BHWC.shape[1]
            mean_C = jnp.where(keep_B1W1, x_BHWC, 0).sum((0, 1, 2)) / count
            # Σ (x - mean) is zero, so the variance's gradient does not go through the mean
            centred_BHWC = jnp.where(keep_B1W1, x_BHWC - jax.lax.stop_gradient(mean_C), 0)
            variance_C = (centred_BHWC**2).sum((0, 1, 2)) / count
            self.mean[...] += BATCH_NORM_MOMENTUM * (mean_C - self.mean[...])
            self.variance[...] += BATCH_NORM_MOMENTUM * (variance_C - self.variance[...])
        else:
            mean_C, variance_C = self.mean[...], self.variance[...]
        scale_C = self.scale[...] * jax.lax.rsqrt(variance_C + NORM_EPSILON)
        # one factor and one summand per channel, of whose gradients all others are made
        x_BHWC = nnx.relu(x_BHWC * scale_C + (self.bias[...] - mean_C * scale_C))
        return jnp.where(keep_B1W1, x_BHWC, 0), widths_B


# --- model
class Stem(nnx.List):
    """The blocks, in order. In training the batch's statistics serve, and move the running ones."""

    def __init__(self, spec: LineSpec, *, dtype: np.dtype) -> None:
        super().__init__(ConvBlock(block, dtype=dtype) for block in spec.stem)

    def __call__(
        self, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, training: bool
    ) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
        """Frames, and which of them are a line's own; the others are zero."""
        x_BHWC = jnp.asarray(images_BHW1, self[0].kernel.dtype)
        for block in self:
            x_BHWC, widths_B = block(x_BHWC, widths_B, training=training)
        frames_BTD = x_BHWC.squeeze(1)
        return frames_BTD, keep_own(widths_B, frames_BTD.shape[1])

    def frames(self, widths_B: Int[Array, "B"]) -> Int[Array, "B"]:
        """How many frames are a line's own."""
        for block in self:
            widths_B = -(-widths_B // block.stride)
        return widths_B


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: the same for every rung, see train.train_step; the running statistics are part of its state

# --- weights: canonical as they are; the path of stem[0].kernel is stem.0.kernel
