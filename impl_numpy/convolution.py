"""Convolution with any kernel of odd width, strides and padding, and its derivative."""

# B batch, H height, W width, C channels in, O channels out, R rows and S columns of the kernel

from __future__ import annotations

from collections.abc import Iterator

from impl_numpy.device import Array, namespace

# size of the buffer of patches: a larger one no longer fits the processor's cache
# (128 images of 28×28, 64 channels, one core, forward: 61 ms, and 67 ms with a buffer four times as large)
PATCH_NUMBERS = 1 << 19


def convolution(x_BHWC: Array, kernel_RSCO: Array, *, strides: tuple[int, int], padding: int) -> tuple[Array, tuple]:
    """Cross-correlation without bias.

    Args:
        x_BHWC: images.
        kernel_RSCO: an odd number S of columns wide.
        strides: down the rows and along the columns, pixels.
        padding: rows of zeros above and below. On the left and on the right there are always S // 2 columns of zeros.
    """
    columns = kernel_RSCO.shape[1] // 2
    padded = namespace(x_BHWC).pad(x_BHWC, ((0, 0), (padding, padding), (columns, columns), (0, 0)))
    return _correlate(padded, kernel_RSCO, strides), (padded, kernel_RSCO, strides, padding)


def convolution_backward(dy_BHWO: Array, cache: tuple, *, need_dx: bool) -> tuple[Array | None, Array]:
    """dx (None unless needed), dkernel."""
    padded, kernel_RSCO, strides, padding = cache
    rows, columns, channels, out_channels = kernel_RSCO.shape
    xp = namespace(padded)
    dkernel = xp.zeros((rows * columns * channels, out_channels), dy_BHWO.dtype)
    for place, patches in _patches(padded, (rows, columns), strides, dy_BHWO.shape):
        dkernel += patches.T @ dy_BHWO[place].reshape(len(patches), out_channels)
    dx = None
    if need_dx and strides == (1, 1) and rows == 2 * padding + 1:
        # the output is as large as the input: each input pixel met the kernel mirrored, in and out channels exchanged
        # (128 images of 28×28, 64 channels, one core, whole backward: 137 ms, and 146 ms by the sums below)
        mirrored_RSOC = xp.ascontiguousarray(kernel_RSCO[::-1, ::-1].swapaxes(2, 3))
        dx, _ = convolution(dy_BHWO, mirrored_RSOC, strides=strides, padding=padding)
    elif need_dx:
        dpadded = _sum_of_patches(dy_BHWO, kernel_RSCO, padded, strides)
        _, height, width, _ = padded.shape
        dx = dpadded[:, padding : height - padding, columns // 2 : width - columns // 2]
    return dx, dkernel.reshape(kernel_RSCO.shape)


def _correlate(padded: Array, kernel_RSCO: Array, strides: tuple[int, int]) -> Array:
    """One matrix product of all patches of a few images, or of a few rows of one, with the kernel."""
    xp = namespace(padded)
    rows, columns, _, out_channels = kernel_RSCO.shape
    kernel = kernel_RSCO.reshape(-1, out_channels)
    height = (padded.shape[1] - rows) // strides[0] + 1
    width = (padded.shape[2] - columns) // strides[1] + 1
    y_BHWO = xp.empty((len(padded), height, width, out_channels), padded.dtype)
    for place, patches in _patches(padded, (rows, columns), strides, y_BHWO.shape):
        xp.matmul(patches, kernel, out=y_BHWO[place].reshape(len(patches), out_channels))
    return y_BHWO


def _sum_of_patches(dy_BHWO: Array, kernel_RSCO: Array, padded: Array, strides: tuple[int, int]) -> Array:
    """Gradient of the padded images: each pixel is in several patches and receives the sum of their gradients."""
    xp = namespace(padded)
    rows, columns, channels, out_channels = kernel_RSCO.shape
    batch, height, width, _ = dy_BHWO.shape
    transposed = kernel_RSCO.reshape(-1, out_channels).T
    dpadded = xp.zeros_like(padded)
    step = max(1, PATCH_NUMBERS // (height * width * transposed.shape[1]))
    buffer = xp.empty((min(batch, step) * height * width, transposed.shape[1]), padded.dtype)
    down, along = strides
    for start in range(0, batch, step):
        images = slice(start, start + step)
        dy = dy_BHWO[images].reshape(-1, out_channels)
        dpatches = xp.matmul(dy, transposed, out=buffer[: len(dy)])
        dpatches = dpatches.reshape(-1, height, width, rows, columns, channels)
        for i in range(rows):
            for j in range(columns):
                receiver = dpadded[images, i : i + down * height : down, j : j + along * width : along]
                receiver += dpatches[:, :, :, i, j]
    return dpadded


def _patches(
    padded: Array, kernel: tuple[int, int], strides: tuple[int, int], output: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """A few images at a time, or a few rows of one that is too large: their place in the output, and their patches.

    `kernel` has the kernel's rows and columns, `output` the shape of the output. A patch is a row of R·S·C numbers per
    pixel of the output. All are in one buffer, which the next patches overwrite: new memory for each costs twice the
    time of the copy.
    """
    xp = namespace(padded)
    rows, columns = kernel
    batch, height, width, _ = output
    channels = padded.shape[3]
    image, row, column, number = padded.strides
    # neighbouring pixels of a row are contiguous in memory, so they are copied as one run of S·C
    windows = xp.lib.stride_tricks.as_strided(
        padded,
        (batch, height, width, rows, columns * channels),
        (image, strides[0] * row, strides[1] * column, row, number),
    )
    of_row = width * rows * columns * channels
    images = max(1, PATCH_NUMBERS // (of_row * height))
    lines = height if images > 1 else min(height, max(1, PATCH_NUMBERS // of_row))
    buffer = xp.empty((min(batch, images) * lines * width * rows * columns * channels,), padded.dtype)
    for start in range(0, batch, images):
        for top in range(0, height, lines):
            place = slice(start, start + images), slice(top, top + lines)
            some = windows[place]
            patches = buffer[: some.size].reshape(some.shape)
            patches[...] = some
            yield place, patches.reshape(-1, rows * columns * channels)
