"""Layers and their derivatives: each backward directly under its forward, with an explicit cache.

`dx` is dLoss/dx. A forward returns its output and the cache that its backward needs.
"""

# B batch, H height, W width, C channels in, O channels out, K classes

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from impl_numpy.device import Array, namespace

# images whose 3×3 patches are laid out at a time: 4 fit the processor's cache
# (128 images, 64 channels: 50 ms by fours against 79 ms all at once, two cores)
PATCH_IMAGES = 4


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


def dropout(x: Array, rate: float, rng: np.random.Generator | None) -> tuple[Array, Array | None]:
    """Drop units at random and scale the rest by 1 / (1 - rate); without a generator, or at rate 0, the identity.

    Source: Srivastava et al. 2014.
    """
    if rng is None or rate == 0:
        return x, None
    # drawn on the CPU whatever the device, so that a GPU drops the same units
    keep = namespace(x).asarray((rng.random(x.shape, np.float32) >= rate) / x.dtype.type(1 - rate), dtype=x.dtype)
    return x * keep, keep


def dropout_backward(dy: Array, keep: Array | None) -> Array:
    """dx."""
    return dy if keep is None else dy * keep


def conv3x3(x_BHWC: Array, kernel_33CO: Array, bias_O: Array) -> tuple[Array, tuple]:
    """Cross-correlation with a 3×3 kernel, stride 1, one pixel of zeros around the image."""
    y_BHWO = _correlate(x_BHWC, kernel_33CO)
    y_BHWO += bias_O
    return y_BHWO, (x_BHWC, kernel_33CO)


def conv3x3_backward(dy_BHWO: Array, cache: tuple, *, need_dx: bool) -> tuple[Array | None, Array, Array]:
    """dx (None unless needed), dkernel, dbias."""
    x_BHWC, kernel_33CO = cache
    xp = namespace(dy_BHWO)
    dkernel = xp.zeros((kernel_33CO[..., 0].size, kernel_33CO.shape[-1]), dy_BHWO.dtype)
    for images, patches in _patches(x_BHWC):
        dkernel += patches.T @ dy_BHWO[images].reshape(len(patches), -1)
    dx = None
    if need_dx:  # each input pixel met the kernel mirrored, with its in and out channels exchanged
        dx = _correlate(dy_BHWO, xp.ascontiguousarray(kernel_33CO[::-1, ::-1].transpose(0, 1, 3, 2)))
    return dx, dkernel.reshape(kernel_33CO.shape), dy_BHWO.sum(axis=(0, 1, 2))


def _correlate(x_BHWC: Array, kernel_33CO: Array) -> Array:
    xp = namespace(x_BHWC)
    out_channels = kernel_33CO.shape[-1]
    y_BHWO = xp.empty((*x_BHWC.shape[:3], out_channels), x_BHWC.dtype)
    kernel = kernel_33CO.reshape(-1, out_channels)
    for images, patches in _patches(x_BHWC):
        xp.matmul(patches, kernel, out=y_BHWO[images].reshape(len(patches), out_channels))
    return y_BHWO


def _patches(x_BHWC: Array) -> Iterator[tuple[slice, Array]]:
    """A few images at a time: their slice of the batch, and one row of 3·3·C numbers per pixel.

    The rows lie in one buffer, which the next images overwrite: new memory for each costs twice the time of the copy.
    """
    xp = namespace(x_BHWC)
    batch, height, width, channels = x_BHWC.shape
    padded = xp.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    image, row, column, number = padded.strides
    # three neighbouring pixels of a row lie side by side in memory, so they are copied as one run of 3·C
    windows = xp.lib.stride_tricks.as_strided(
        padded, (batch, height, width, 3, 3 * channels), (image, row, column, row, number)
    )
    buffer = xp.empty((min(batch, PATCH_IMAGES), *windows.shape[1:]), x_BHWC.dtype)
    for start in range(0, batch, PATCH_IMAGES):
        images = slice(start, start + PATCH_IMAGES)
        patches = buffer[: len(windows[images])]
        patches[...] = windows[images]
        yield images, patches.reshape(-1, 9 * channels)


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
