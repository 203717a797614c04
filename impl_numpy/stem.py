"""The stem of the rungs that read lines: convolution → batch norm → ReLU → zero past each line's own width."""

# B batch, H height, W width, T frames, C channels

from __future__ import annotations

from common.spec import LineSpec

# --- layers
from impl_numpy.block import block, block_backward, block_reading
from impl_numpy.device import Array
from impl_numpy.ops import keep_first, max_over_rows, max_over_rows_backward


# --- model
def forward(
    spec: LineSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, *, training: bool
) -> tuple[Array, Array, tuple, dict[str, Array]]:
    """Frames of the lines.

    Args:
        spec: heights, channels and strides of the blocks.
        weights: the model's, by canonical name.
        images_BHW1: lines, padded to a common width.
        widths_B: own width of each line, pixels.
        training: batch norm uses the batch's statistics, not the running ones.

    Returns:
        Frames (B, T, C), zero past each line's own; the number of own frames (B,); the caches and the statistics of the
        batch by canonical name, both empty unless training.
    """
    x_BHWC, caches, statistics = images_BHW1, [], {}
    for i, size in enumerate(spec.stem):
        widths_B = -(-widths_B // size.strides[1])
        keep_B1W = keep_first(widths_B, -(-x_BHWC.shape[2] // size.strides[1]))[:, None]
        if training:
            x_BHWC, cache, seen = block(size, weights, f"stem.{i}", x_BHWC, keep_B1W)
            caches.append(cache)
            statistics |= seen
        else:
            x_BHWC = block_reading(size, weights, f"stem.{i}", x_BHWC, keep_B1W)
    # the maximum over a single row is that row
    frames_BTC, max_cache = max_over_rows(x_BHWC)
    return frames_BTC, widths_B, (caches, max_cache), statistics


def backward(dframes_BTC: Array, caches: tuple) -> dict[str, Array]:
    """The gradient of each parameter, from the last block to the first."""
    block_caches, max_cache = caches
    gradients: dict[str, Array] = {}
    dx = max_over_rows_backward(dframes_BTC, max_cache)
    for i in reversed(range(len(block_caches))):
        dx = block_backward(dx, block_caches[i], f"stem.{i}", gradients, need_dx=i > 0)
    return gradients


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: shared by all rungs, see train.fit, which also moves the running statistics

# --- weights: canonical names and axes are used as they are
