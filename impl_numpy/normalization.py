"""Batch norm over the pixels that belong to the images, layer norm, and their derivatives."""

# B batch, H height, W width, C channels, X pixels of an image (H times W), R rows to normalize, D model width
# Of a kernel: R rows, S columns, C channels in, O channels out

from __future__ import annotations

from common.spec import NORM_EPSILON
from impl_numpy.device import Array, namespace


def batch_norm(x_BHWC: Array, scale_C: Array, bias_C: Array, keep_BHW: Array) -> tuple[Array, tuple, Array, Array]:
    """Normalize each channel by its mean and its biased variance over the kept pixels of the batch.

    `keep_BHW` may also be (B, 1, W), which keeps whole columns.

    Returns:
        y, the cache, and the mean (C,) and variance (C,) that were used. Source: Ioffe & Szegedy 2015.
    """
    xp = namespace(x_BHWC)
    batch, height, width, channels = x_BHWC.shape
    x_BXC = x_BHWC.reshape(batch, height * width, channels)
    keep_B1X = xp.broadcast_to(keep_BHW, (batch, height, width)).reshape(batch, 1, -1).astype(x_BHWC.dtype)
    count = keep_B1X.sum()
    mean_C = (keep_B1X @ x_BXC).sum(axis=(0, 1)) / count
    centered_BXC = x_BXC - mean_C
    squares = centered_BXC * centered_BXC
    variance_C = (keep_B1X @ squares).sum(axis=(0, 1)) / count
    inverse_C = 1 / xp.sqrt(variance_C + NORM_EPSILON)
    # in the memory of the squares: new memory costs as much as the product itself
    y = xp.multiply(centered_BXC, scale_C * inverse_C, out=squares)
    y += bias_C
    return y.reshape(x_BHWC.shape), (centered_BXC, inverse_C, scale_C, keep_B1X, count), mean_C, variance_C


def batch_norm_backward(dy_BHWC: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dscale, dbias; only kept pixels count."""
    centered_BXC, inverse_C, scale_C, keep_B1X, count = cache
    xp = namespace(dy_BHWC)
    dy = dy_BHWC.reshape(centered_BXC.shape)
    dbias_C = (keep_B1X @ dy).sum(axis=(0, 1))
    products = dy * centered_BXC
    dscale_C = (keep_B1X @ products).sum(axis=(0, 1)) * inverse_C
    # the mean and the variance depend on every kept pixel; again in memory that is there
    shared = xp.multiply(centered_BXC, inverse_C * dscale_C / count, out=products)
    shared += dbias_C / count
    dx = xp.subtract(dy, shared, out=products)
    dx *= scale_C * inverse_C
    dx *= keep_B1X.swapaxes(1, 2)
    return dx.reshape(dy_BHWC.shape), dscale_C, dbias_C


def fold_batch_norm(
    kernel_RSCO: Array, scale_O: Array, bias_O: Array, mean_O: Array, variance_O: Array
) -> tuple[Array, Array]:
    """Kernel and bias of the convolution that a convolution without bias and batch norm amount to in reading.

    The running statistics are used, so that an image does not depend on its batch.
    """
    factor_O = scale_O / namespace(kernel_RSCO).sqrt(variance_O + NORM_EPSILON)
    return kernel_RSCO * factor_O, bias_O - mean_O * factor_O


def layer_norm(x_RD: Array, scale_D: Array, bias_D: Array) -> tuple[Array, tuple]:
    """Normalize each row by its own mean and biased variance. Source: Ba et al. 2016."""
    normal_RD = x_RD - x_RD.mean(axis=1, keepdims=True)
    variance_R1 = (normal_RD * normal_RD).mean(axis=1, keepdims=True)
    inverse_R1 = 1 / namespace(x_RD).sqrt(variance_R1 + NORM_EPSILON)
    normal_RD *= inverse_R1
    return normal_RD * scale_D + bias_D, (normal_RD, inverse_R1, scale_D)


def layer_norm_backward(dy_RD: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dscale, dbias."""
    normal_RD, inverse_R1, scale_D = cache
    dnormal = dy_RD * scale_D
    shared = dnormal.mean(axis=1, keepdims=True) + normal_RD * (dnormal * normal_RD).mean(axis=1, keepdims=True)
    return (dnormal - shared) * inverse_R1, (dy_RD * normal_RD).sum(axis=0), dy_RD.sum(axis=0)
