"""Batch norm over the columns that are the lines' own, layer norm, and their derivatives."""

# B batch, H height, W width, C channels, N positions (rows times columns of an image, or characters), D model width

from __future__ import annotations

from common.spec import NORM_EPSILON
from impl_numpy.device import Array, namespace


def batch_norm(x_BHWC: Array, scale_C: Array, bias_C: Array, keep_BW: Array) -> tuple[Array, tuple, Array, Array]:
    """Normalize each channel by its mean and its biased variance over the kept columns of the batch; x is overwritten.

    Returns:
        y, the cache, and the mean (C,) and variance (C,) that were used. Source: Ioffe & Szegedy 2015.
    """
    xp = namespace(x_BHWC)
    batch, height, width, channels = x_BHWC.shape
    x_BNC = x_BHWC.reshape(batch, height * width, channels)
    keep_B1N = xp.broadcast_to(keep_BW[:, None], (batch, height, width)).reshape(batch, 1, -1).astype(x_BHWC.dtype)
    count = keep_B1N.sum()
    mean_C = (keep_B1N @ x_BNC).sum(axis=(0, 1)) / count
    x_BNC -= mean_C
    squares = x_BNC * x_BNC
    variance_C = (keep_B1N @ squares).sum(axis=(0, 1)) / count
    inverse_C = 1 / xp.sqrt(variance_C + NORM_EPSILON)
    # new memory costs as much as what is computed in it
    y = xp.multiply(x_BNC, scale_C * inverse_C, out=squares)
    y += bias_C
    return y.reshape(x_BHWC.shape), (x_BNC, inverse_C, scale_C, keep_B1N, count), mean_C, variance_C


def batch_norm_backward(dy_BHWC: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dscale, dbias; only kept columns count. dy and the cache are overwritten."""
    centered_BNC, inverse_C, scale_C, keep_B1N, count = cache
    xp = namespace(dy_BHWC)
    dy = dy_BHWC.reshape(centered_BNC.shape)
    dbias_C = (keep_B1N @ dy).sum(axis=(0, 1))
    dscale_C = (keep_B1N @ (dy * centered_BNC)).sum(axis=(0, 1)) * inverse_C
    # the mean and the variance depend on every kept position
    shared = xp.multiply(centered_BNC, inverse_C * dscale_C / count, out=centered_BNC)
    shared += dbias_C / count
    dx = xp.subtract(dy, shared, out=dy)
    dx *= scale_C * inverse_C
    dx *= keep_B1N.swapaxes(1, 2)
    return dx.reshape(dy_BHWC.shape), dscale_C, dbias_C


def batch_norm_reading(x_BHWC: Array, scale_C: Array, bias_C: Array, mean_C: Array, variance_C: Array) -> Array:
    """Normalize by the running statistics, so that a line does not depend on its batch."""
    factor_C = scale_C / namespace(x_BHWC).sqrt(variance_C + NORM_EPSILON)
    y = x_BHWC - mean_C
    y *= factor_C
    y += bias_C
    return y


def layer_norm(x_ND: Array, scale_D: Array, bias_D: Array) -> tuple[Array, tuple]:
    """Normalize each row by its own mean and biased variance. Source: Ba et al. 2016."""
    centered = x_ND - x_ND.mean(axis=1, keepdims=True)
    variance_N1 = (centered * centered).mean(axis=1, keepdims=True)
    inverse_N1 = 1 / namespace(x_ND).sqrt(variance_N1 + NORM_EPSILON)
    centered *= inverse_N1
    return centered * scale_D + bias_D, (centered, inverse_N1, scale_D)


def layer_norm_backward(dy_ND: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dscale, dbias."""
    normal_ND, inverse_N1, scale_D = cache
    dnormal = dy_ND * scale_D
    shared = dnormal.mean(axis=1, keepdims=True) + normal_ND * (dnormal * normal_ND).mean(axis=1, keepdims=True)
    return (dnormal - shared) * inverse_N1, (dy_ND * normal_ND).sum(axis=0), dy_ND.sum(axis=0)
