"""Layers and their derivatives: each backward directly under its forward, with an explicit cache.

`dx` is dLoss/dx. A forward returns its output and the cache that its backward needs. A function changes neither its
arguments nor a cache, so the same cache can be used again.
"""

# B batch, H height, W width, C channels in, O channels out, K classes, T frames

from __future__ import annotations

import numpy as np

from impl_numpy.device import Array, namespace


def linear(x_BC: Array, kernel_CO: Array, bias_O: Array) -> tuple[Array, tuple]:
    """y = x · kernel + bias."""
    return x_BC @ kernel_CO + bias_O, (x_BC, kernel_CO)


def linear_backward(dy_BO: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dkernel, dbias."""
    x_BC, kernel_CO = cache
    return dy_BO @ kernel_CO.T, x_BC.T @ dy_BO, dy_BO.sum(axis=0)


def relu(x: Array) -> tuple[Array, Array]:
    """max(x, 0); the cache is the output, which is positive exactly where the input was."""
    y = namespace(x).maximum(x, 0)
    return y, y


def relu_backward(dy: Array, cache: Array) -> Array:
    """dx; the derivative at 0 is 0."""
    return dy * (cache > 0)


def masked_relu(x_BHWC: Array, keep_BHW: Array) -> tuple[Array, Array]:
    """max(x, 0) in the pixels that are kept, 0 in the others; the backward is `relu_backward`.

    `keep_BHW` may also be (B, 1, W), which keeps whole columns.

    The cache is the output, which is positive exactly where a gradient passes.
    """
    y = namespace(x_BHWC).maximum(x_BHWC, 0)
    y *= keep_BHW[..., None]
    return y, y


def dropout(x: Array, rate: float, rng: np.random.Generator | None) -> tuple[Array, Array | None]:
    """Drop units at random and scale the rest by 1 / (1 - rate); without a generator, or at rate 0, the identity.

    Source: Srivastava et al. 2014.
    """
    if rng is None or rate == 0:
        return x, None
    # drawn on the CPU for every device, so that a GPU drops the same units
    keep = namespace(x).asarray((rng.random(x.shape, np.float32) >= rate) / x.dtype.type(1 - rate), dtype=x.dtype)
    return x * keep, keep


def dropout_backward(dy: Array, keep: Array | None) -> Array:
    """dx."""
    return dy if keep is None else dy * keep


def max_pool2x2(x_BHWC: Array) -> tuple[Array, tuple]:
    """Largest of each 2×2 block; an odd last row or column is left out."""
    xp = namespace(x_BHWC)
    corners = _corners(x_BHWC)
    y = xp.maximum(xp.maximum(corners[0], corners[1]), xp.maximum(corners[2], corners[3]))
    return y, (x_BHWC, y)


def max_pool2x2_backward(dy: Array, cache: tuple) -> Array:
    """dx: all of dy goes to the block's largest pixel, the first of equals."""
    x_BHWC, y = cache
    xp = namespace(dy)
    dx = xp.zeros_like(x_BHWC)
    free = xp.ones(y.shape, bool)
    for corner, d_corner in zip(_corners(x_BHWC), _corners(dx), strict=True):
        chosen = free & (corner == y)
        d_corner[...] = dy * chosen
        free &= ~chosen
    return dx


def max_over_rows(x_BHWC: Array) -> tuple[Array, tuple]:
    """Largest number of each column and channel, (B, W, C)."""
    y_BWC = x_BHWC.max(axis=1)
    return y_BWC, (x_BHWC, y_BWC)


def max_over_rows_backward(dy_BWC: Array, cache: tuple) -> Array:
    """dx: all of dy goes to the row of the largest number, the first of equals."""
    x_BHWC, y_BWC = cache
    rows_BWC = (x_BHWC == y_BWC[:, None]).argmax(axis=1)
    place_H11 = namespace(dy_BWC).arange(x_BHWC.shape[1])[:, None, None]
    return dy_BWC[:, None] * (place_H11 == rows_BWC[:, None])


def upsample2x2(x_BHWC: Array) -> Array:
    """Each pixel repeated in a block of 2×2."""
    return x_BHWC.repeat(2, axis=1).repeat(2, axis=2)


def upsample2x2_backward(dy_BHWC: Array) -> Array:
    """dx: the sum of each block."""
    top_left, top_right, bottom_left, bottom_right = _corners(dy_BHWC)
    return (top_left + top_right) + (bottom_left + bottom_right)


def _corners(x_BHWC: Array) -> list[Array]:
    """Views of the four pixels of each 2×2 block, in reading order."""
    height, width = x_BHWC.shape[1] // 2 * 2, x_BHWC.shape[2] // 2 * 2
    return [x_BHWC[:, row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]


def softmax_cross_entropy(logits_BK: Array, labels_B: Array) -> tuple[Array, tuple]:
    """Mean over the batch of -log softmax at the label, nats."""
    xp = namespace(logits_BK)
    shifted = logits_BK - logits_BK.max(axis=1, keepdims=True)  # float32 exp overflows above 88
    log_probs_BK = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    rows = xp.arange(len(labels_B))
    return -log_probs_BK[rows, labels_B].mean(), (log_probs_BK, labels_B)


def softmax_cross_entropy_backward(cache: tuple) -> Array:
    """dlogits: (softmax - one-hot) / B."""
    log_probs_BK, labels_B = cache
    xp = namespace(log_probs_BK)
    dlogits = xp.exp(log_probs_BK)
    dlogits[xp.arange(len(labels_B)), labels_B] -= 1
    return dlogits / len(labels_B)


def keep_first(lengths_B: Array, total: int) -> Array:
    """Mask (B, total), bool: True in the first `lengths_B` places of each row."""
    return namespace(lengths_B).arange(total) < lengths_B[:, None]


def reversal(lengths_B: Array, total: int) -> Array:
    """Index (B, total) that reverses the first `lengths_B` places of each row; it is its own inverse."""
    xp = namespace(lengths_B)
    place = xp.arange(total)
    return xp.where(place < lengths_B[:, None], lengths_B[:, None] - 1 - place, place)
