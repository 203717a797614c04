"""The stem of the rungs that read lines: convolution → batch norm → ReLU → zero past each line's own width."""

# B batch, H height, W width, T frames, C channels

from __future__ import annotations

from common.spec import LineSpec

# --- layers
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.device import Array
from impl_numpy.normalization import batch_norm, batch_norm_backward, batch_norm_reading
from impl_numpy.ops import keep_first, masked_relu, relu_backward


# --- model
def forward(
    spec: LineSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, *, training: bool
) -> tuple[Array, Array, list, dict[str, Array]]:
    """Frames of the lines.

    Args:
        spec: heights, channels and strides of the blocks.
        weights: the model's, by canonical name.
        images_BHW1: lines, padded to a common width.
        widths_B: own width of each line, pixels.
        training: batch norm uses the batch's statistics, not the running ones.

    Returns:
        Frames (B, T, C), zero past each line's own; the number of own frames (B,); the caches; the statistics of the
        batch by canonical name, empty unless training.
    """
    x_BHWC, caches, statistics = images_BHW1, [], {}
    for i, block in enumerate(spec.stem):
        x_BHWC, conv_cache = convolution(
            x_BHWC, weights[f"stem.{i}.kernel"], stride=block.strides[0], padding=block.padding
        )
        widths_B = -(-widths_B // block.strides[1])
        keep_BW = keep_first(widths_B, x_BHWC.shape[2])
        scale_C, bias_C = weights[f"stem.{i}.scale"], weights[f"stem.{i}.bias"]
        norm_cache = None
        if training:
            x_BHWC, norm_cache, mean_C, variance_C = batch_norm(x_BHWC, scale_C, bias_C, keep_BW)
            statistics |= {f"stem.{i}.mean": mean_C, f"stem.{i}.variance": variance_C}
        else:
            mean_C, variance_C = weights[f"stem.{i}.mean"], weights[f"stem.{i}.variance"]
            x_BHWC = batch_norm_reading(x_BHWC, scale_C, bias_C, mean_C, variance_C)
        x_BHWC, relu_cache = masked_relu(x_BHWC, keep_BW)
        caches.append((conv_cache, norm_cache, relu_cache))
    return x_BHWC[:, 0], widths_B, caches, statistics


def backward(dframes_BTC: Array, caches: list) -> dict[str, Array]:
    """The gradient of each parameter, from the last block to the first."""
    gradients = {}
    dx = dframes_BTC[:, None]
    for i in reversed(range(len(caches))):
        conv_cache, norm_cache, relu_cache = caches[i]
        dx = relu_backward(dx, relu_cache)
        dx, gradients[f"stem.{i}.scale"], gradients[f"stem.{i}.bias"] = batch_norm_backward(dx, norm_cache)
        dx, gradients[f"stem.{i}.kernel"] = convolution_backward(dx, conv_cache, need_dx=i > 0)
    return gradients


# --- loss: see lstm_ctc.py and transformer.py

# --- training step: shared by all rungs, see train.fit, which also moves the running statistics

# --- weights: canonical names and axes are used as they are
