"""The rung `unet` computed by hand, one number at a time, from its definition.

Like `conformance.oracle`, this is plain Python and slow on purpose. Each page is computed at its own size, so there is
no padding that could leak into a result. Only batch norm looks at the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from common.batch import PageBatch
from common.spec import UNetSpec

Weights = Mapping[str, np.ndarray]
Image = list[list[list[float]]]  # row, column, channel
Statistics = dict[str, list[float]]

# Written down here again and not imported from the spec, which they are to check; see `conformance.line_oracle`
NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1


def logits(spec: UNetSpec, weights: Weights, batch: PageBatch) -> list[Image]:
    """Each page's scores per pixel and map when reading: batch norm uses its running statistics."""
    return _maps(spec, weights, batch, training=False)[0]


def loss(spec: UNetSpec, weights: Weights, batch: PageBatch) -> float:
    """The loss of a training step: cross-entropy in nats, plus 1 - Dice of each map."""
    pages, _ = _maps(spec, weights, batch, training=True)
    entropy, counted = 0.0, 0
    common, scores, targets = ([0.0] * spec.num_maps for _ in range(3))
    for page, target_hwM, count_hw in zip(pages, batch.targets_BhwM.tolist(), batch.counts_Bhw.tolist(), strict=True):
        for y, row in enumerate(page):
            for x, pixel in enumerate(row):
                if not count_hw[y][x]:
                    continue
                for m, logit in enumerate(pixel):
                    score, target = 1 / (1 + math.exp(-logit)), target_hwM[y][x][m]
                    entropy -= math.log(score if target else 1 / (1 + math.exp(logit)))
                    counted += 1
                    common[m] += score * target
                    scores[m] += score
                    targets[m] += target
    dice = [(2 * common[m] + 1) / (scores[m] + targets[m] + 1) for m in range(spec.num_maps)]
    return entropy / max(1, counted) + sum(1 - share for share in dice) / spec.num_maps


def running_statistics(spec: UNetSpec, weights: Weights, batch: PageBatch) -> dict[str, np.ndarray]:
    """The running means and variances after a training step on the batch."""
    _, statistics = _maps(spec, weights, batch, training=True)
    share = BATCH_NORM_MOMENTUM
    return {name: (1 - share) * weights[name] + share * np.array(seen) for name, seen in statistics.items()}


def _maps(spec: UNetSpec, weights: Weights, batch: PageBatch, *, training: bool) -> tuple[list[Image], Statistics]:
    """The logits of each page, and the batch's means and variances by name."""
    seen: Statistics = {}
    pages: list[Image] = [
        image[:height, :width].astype(np.float64).tolist()
        for image, (height, width) in zip(batch.images_BHW1, batch.sizes_B2.tolist(), strict=True)
    ]
    pages = _block(weights, "enter", pages, seen, training=training)
    skips = []
    for level in range(len(spec.channels)):
        if level > 0:
            pages = [_max_pool(page) for page in pages]
        for i in range(2):
            pages = _block(weights, f"down.{level}.{i}", pages, seen, training=training)
        skips.append(pages)
    for level in range(len(spec.channels) - 2, -1, -1):
        pages = [_join(skip, page) for skip, page in zip(skips[level], pages, strict=True)]
        for i in range(2):
            pages = _block(weights, f"up.{level}.{i}", pages, seen, training=training)
    columns, bias = weights["head.kernel"].T.tolist(), weights["head.bias"].tolist()
    logits = [
        [[[b + _dot(pixel, column) for column, b in zip(columns, bias, strict=True)] for pixel in row] for row in page]
        for page in pages
    ]
    return logits, seen


def _block(weights: Weights, name: str, pages: list[Image], seen: Statistics, *, training: bool) -> list[Image]:
    pages = [_convolve(page, weights[f"{name}.kernel"], stride=2 if name == "enter" else 1) for page in pages]
    pixels = [pixel for page in pages for row in page for pixel in row]
    channels = range(len(pixels[0]))
    mean = [sum(pixel[c] for pixel in pixels) / len(pixels) for c in channels]
    variance = [sum((pixel[c] - mean[c]) ** 2 for pixel in pixels) / len(pixels) for c in channels]
    seen |= {f"{name}.mean": mean, f"{name}.variance": variance}
    if not training:
        mean, variance = weights[f"{name}.mean"].tolist(), weights[f"{name}.variance"].tolist()
    scale, bias = weights[f"{name}.scale"].tolist(), weights[f"{name}.bias"].tolist()
    root = [math.sqrt(v + NORM_EPSILON) for v in variance]
    return [
        [
            [[max(0.0, scale[c] * (pixel[c] - mean[c]) / root[c] + bias[c]) for c in channels] for pixel in row]
            for row in page
        ]
        for page in pages
    ]


def _convolve(page: Image, kernel: np.ndarray, stride: int) -> Image:
    """The kernel is as wide as high, an odd number. It is centred on each pixel in turn; outside the page is zero."""
    height, width, side = len(page), len(page[0]), len(kernel)
    nothing = [0.0] * len(page[0][0])
    # the numbers of each output channel in the order row, column, input channel
    flat = kernel.reshape(-1, kernel.shape[3]).T.tolist()

    def pixel(centre_y: int, centre_x: int) -> list[float]:
        patch: list[float] = []
        for y in range(centre_y - side // 2, centre_y + side // 2 + 1):
            for x in range(centre_x - side // 2, centre_x + side // 2 + 1):
                patch += page[y][x] if 0 <= y < height and 0 <= x < width else nothing
        return [_dot(patch, numbers) for numbers in flat]

    return [[pixel(y, x) for x in range(0, width, stride)] for y in range(0, height, stride)]


def _max_pool(page: Image) -> Image:
    """The largest of each 2×2 block; a block at the edge may have fewer pixels."""
    return [
        [
            [max(numbers) for numbers in zip(*[p for row in page[y : y + 2] for p in row[x : x + 2]], strict=True)]
            for x in range(0, len(page[0]), 2)
        ]
        for y in range(0, len(page), 2)
    ]


def _join(skip: Image, coarse: Image) -> Image:
    """The channels of the skip, then those of the coarse pixel that each pixel lies in."""
    return [[pixel + coarse[y // 2][x // 2] for x, pixel in enumerate(row)] for y, row in enumerate(skip)]


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
