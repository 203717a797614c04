"""The block of the stem and of the U-Net: convolution → batch norm → ReLU → zero past the image's own size."""

# B batch, H height, W width, C channels; a mask is (B, 1, W) where only columns are masked

from __future__ import annotations

from common.spec import Block
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.device import Array, namespace
from impl_numpy.normalization import batch_norm, batch_norm_backward, fold_batch_norm
from impl_numpy.ops import masked_relu, relu_backward


def block(
    spec: Block, weights: dict[str, Array], name: str, x_BHWC: Array, keep_BHW: Array
) -> tuple[Array, tuple, dict[str, Array]]:
    """In training: y, the cache, and the mean and variance of the batch by canonical name."""
    x_BHWC, conv_cache = convolution(x_BHWC, weights[f"{name}.kernel"], strides=spec.strides, padding=spec.padding)
    x_BHWC, norm_cache, mean_C, variance_C = batch_norm(
        x_BHWC, weights[f"{name}.scale"], weights[f"{name}.bias"], keep_BHW
    )
    y, relu_cache = masked_relu(x_BHWC, keep_BHW)
    return y, (conv_cache, norm_cache, relu_cache), {f"{name}.mean": mean_C, f"{name}.variance": variance_C}


def block_backward(
    dy_BHWC: Array, cache: tuple, name: str, gradients: dict[str, Array], *, need_dx: bool = True
) -> Array | None:
    """dx (None unless needed); the gradients of the block's parameters are added to `gradients`."""
    conv_cache, norm_cache, relu_cache = cache
    dx = relu_backward(dy_BHWC, relu_cache)
    dx, gradients[f"{name}.scale"], gradients[f"{name}.bias"] = batch_norm_backward(dx, norm_cache)
    dx, gradients[f"{name}.kernel"] = convolution_backward(dx, conv_cache, need_dx=need_dx)
    return dx


def block_reading(spec: Block, weights: dict[str, Array], name: str, x_BHWC: Array, keep_BHW: Array) -> Array:
    """In reading: y by the running statistics, so that an image does not depend on its batch."""
    parts = (weights[f"{name}.{part}"] for part in ("kernel", "scale", "bias", "mean", "variance"))
    kernel_RSCO, bias_O = fold_batch_norm(*parts)
    y, _ = convolution(x_BHWC, kernel_RSCO, strides=spec.strides, padding=spec.padding)
    y += bias_O
    namespace(y).maximum(y, 0, out=y)
    y *= keep_BHW[..., None]
    return y
