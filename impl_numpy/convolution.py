"""Convolution of any height, stride and padding, and its derivative."""

# B batch, H height, W width, C channels in, O channels out, R kernel rows

from __future__ import annotations

from collections.abc import Iterator

from impl_numpy.device import Array, namespace

# numbers in the patches that are laid out at a time: more leave the processor's cache
PATCH_NUMBERS = 1 << 19


def convolution(x_BHWC: Array, kernel_R3CO: Array, stride: int, padding: int) -> tuple[Array, tuple]:
    """Cross-correlation without bias; `padding` rows of zeros above and below, one column of them on either side."""
    xp = namespace(x_BHWC)
    padded = xp.pad(x_BHWC, ((0, 0), (padding, padding), (1, 1), (0, 0)))
    rows, columns, _, out_channels = kernel_R3CO.shape
    kernel = kernel_R3CO.reshape(-1, out_channels)
    height = (padded.shape[1] - rows) // stride + 1
    width = (padded.shape[2] - columns) // stride + 1
    y_BHWO = xp.empty((len(padded), height, width, out_channels), x_BHWC.dtype)
    for images, patches in _patches(padded, rows, stride, height, width):
        xp.matmul(patches, kernel, out=y_BHWO[images].reshape(len(patches), out_channels))
    return y_BHWO, (padded, kernel_R3CO, stride, padding)


def convolution_backward(dy_BHWO: Array, cache: tuple, *, need_dx: bool) -> tuple[Array | None, Array]:
    """dx (None unless needed), dkernel."""
    padded, kernel_R3CO, stride, padding = cache
    xp = namespace(padded)
    rows, columns, channels, out_channels = kernel_R3CO.shape
    kernel = kernel_R3CO.reshape(-1, out_channels)
    _, height, width, _ = dy_BHWO.shape
    dkernel = xp.zeros_like(kernel)
    dpadded = xp.zeros_like(padded) if need_dx else None
    for images, patches in _patches(padded, rows, stride, height, width):
        dy = dy_BHWO[images].reshape(len(patches), out_channels)
        dkernel += patches.T @ dy
        if dpadded is None:
            continue
        # each number of a patch is a number of the image: what they receive is added up there
        dpatches = xp.matmul(dy, kernel.T, out=patches).reshape(-1, height, width, rows, columns, channels)
        for i in range(rows):
            for j in range(columns):
                receiver = dpadded[images, i : i + stride * height : stride, j : j + stride * width : stride]
                receiver += dpatches[:, :, :, i, j]
    dx = None if dpadded is None else dpadded[:, padding : dpadded.shape[1] - padding, 1:-1]
    return dx, dkernel.reshape(kernel_R3CO.shape)


def _patches(padded: Array, rows: int, stride: int, height: int, width: int) -> Iterator[tuple[slice, Array]]:
    """A few images at a time: their slice of the batch, and one row of R·3·C numbers per pixel of the output.

    The rows lie in one buffer, which the next images overwrite.
    """
    xp = namespace(padded)
    batch, _, _, channels = padded.shape
    image, row, column, number = padded.strides
    # three neighbouring pixels of a row lie side by side in memory, so they are copied as one run of 3·C
    windows = xp.lib.stride_tricks.as_strided(
        padded, (batch, height, width, rows, 3 * channels), (image, stride * row, stride * column, row, number)
    )
    step = max(1, PATCH_NUMBERS // windows[0].size)
    buffer = xp.empty((min(batch, step), *windows.shape[1:]), padded.dtype)
    for start in range(0, batch, step):
        images = slice(start, start + step)
        patches = buffer[: len(windows[images])]
        patches[...] = windows[images]
        yield images, patches.reshape(-1, rows * 3 * channels)
