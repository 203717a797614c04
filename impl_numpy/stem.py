"""The stem that the rungs for lines share: convolution → batch norm → ReLU → zero past each line's own width."""

# B batch, H height, W width, T frames, C channels

from __future__ import annotations

from common.spec import LineSpec

# --- layers
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.device import Array, namespace
from impl_numpy.normalization import batch_norm, batch_norm_backward, batch_norm_reading
from impl_numpy.ops import relu, relu_backward


def keep_columns(widths_B: Array, width: int) -> Array:
    """(B, W) bool: which columns of each line are its own."""
    return namespace(widths_B).arange(width) < widths_B[:, None]


# --- model
def forward(
    spec: LineSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, *, training: bool
) -> tuple[Array, Array, list, dict[str, Array]]:
    """Frames (B, T, C), zero past each line's own; how many those are (B,); the caches; the batch's statistics.

    In training, batch norm is by the batch's own statistics, else by the running ones and there are none to return.
    """
    x_BHWC, caches, statistics = images_BHW1, [], {}
    for i, block in enumerate(spec.stem):
        x_BHWC, conv_cache = convolution(x_BHWC, weights[f"stem.{i}.kernel"], block.stride, block.padding)
        widths_B = -(-widths_B // block.stride)
        keep_BW = keep_columns(widths_B, x_BHWC.shape[2])
        scale_C, bias_C = weights[f"stem.{i}.scale"], weights[f"stem.{i}.bias"]
        norm_cache = None
        if training:
            x_BHWC, norm_cache, mean_C, variance_C = batch_norm(x_BHWC, scale_C, bias_C, keep_BW)
            statistics |= {f"stem.{i}.mean": mean_C, f"stem.{i}.variance": variance_C}
        else:
            mean_C, variance_C = weights[f"stem.{i}.mean"], weights[f"stem.{i}.variance"]
            x_BHWC = batch_norm_reading(x_BHWC, scale_C, bias_C, mean_C, variance_C)
        x_BHWC, relu_cache = relu(x_BHWC)
        x_BHWC *= keep_BW[:, None, :, None]  # in the ReLU's cache too, which so passes nothing back there
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

# --- training step: the same for every rung, see train.fit, which also moves the running statistics

# --- weights: canonical as they are
