"""U-Net: a page to maps of scores at half its resolution; binary cross-entropy and Dice loss."""

# B batch, H height, W width, h and w half of them, C channels, M maps

from __future__ import annotations

import numpy as np

from common.spec import UNetSpec

# --- layers
from impl_numpy.block import block, block_backward, block_reading
from impl_numpy.device import Array, namespace
from impl_numpy.ops import (
    keep_first,
    linear,
    linear_backward,
    max_pool2x2,
    max_pool2x2_backward,
    upsample2x2,
    upsample2x2_backward,
)


def keep_masks(sizes_B2: Array, height: int, width: int, levels: int) -> list[Array]:
    """Per level from half the resolution down, a mask (B, rows, columns), bool: True on a page's own pixels."""
    masks = []
    for _ in range(levels):
        sizes_B2, height, width = -(-sizes_B2 // 2), -(-height // 2), -(-width // 2)
        rows_BH, columns_BW = keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)
        masks.append(rows_BH[:, :, None] & columns_BW[:, None, :])
    return masks


# --- model
def forward(
    spec: UNetSpec, weights: dict[str, Array], images_BHW1: Array, sizes_B2: Array, *, training: bool
) -> tuple[Array, tuple, dict[str, Array]]:
    """Logits (B, h, w, M), zero past a page's own size; the caches and the statistics of the batch, of use in training.

    H and W are multiples of `spec.multiple`. Batch norm uses the batch's statistics in training, else the running ones.
    """
    blocks, levels = dict(spec.blocks()), len(spec.channels)
    masks = keep_masks(sizes_B2, *images_BHW1.shape[1:3], levels)
    caches: dict[str, tuple] = {}
    statistics: dict[str, Array] = {}

    def through(name: str, x_BHWC: Array, keep_BHW: Array) -> Array:
        if not training:
            return block_reading(blocks[name], weights, name, x_BHWC, keep_BHW)
        x_BHWC, caches[name], seen = block(blocks[name], weights, name, x_BHWC, keep_BHW)
        statistics.update(seen)
        return x_BHWC

    x_BHWC = through("enter", images_BHW1, masks[0])
    skips = []
    for level, keep_BHW in enumerate(masks):
        if level:
            # scores are not negative, and zero past a page's own size: padding never has the maximum
            x_BHWC, caches[f"pool.{level}"] = max_pool2x2(x_BHWC)
        for i in range(2):
            x_BHWC = through(f"down.{level}.{i}", x_BHWC, keep_BHW)
        skips.append(x_BHWC)
    for level in reversed(range(levels - 1)):
        x_BHWC = upsample2x2(x_BHWC) * masks[level][..., None]
        x_BHWC = namespace(x_BHWC).concatenate([skips[level], x_BHWC], axis=3)
        for i in range(2):
            x_BHWC = through(f"up.{level}.{i}", x_BHWC, masks[level])
    *size, channels = x_BHWC.shape
    logits, caches["head"] = linear(x_BHWC.reshape(-1, channels), weights["head.kernel"], weights["head.bias"])
    return logits.reshape(*size, spec.num_maps) * masks[0][..., None], (caches, masks), statistics


def backward(spec: UNetSpec, dlogits_BhwM: Array, caches: tuple) -> dict[str, Array]:
    """The gradient of each parameter, from the last layer to the first."""
    cached, masks = caches
    gradients: dict[str, Array] = {}
    levels = len(spec.channels)
    *size, maps = dlogits_BhwM.shape
    dlogits = (dlogits_BhwM * masks[0][..., None]).reshape(-1, maps)
    dx, gradients["head.kernel"], gradients["head.bias"] = linear_backward(dlogits, cached["head"])
    dx = dx.reshape(*size, -1)
    dskips = []
    for level in range(levels - 1):
        for i in (1, 0):
            dx = block_backward(dx, cached[f"up.{level}.{i}"], f"up.{level}.{i}", gradients)
        channels = spec.channels[level]
        dskips.append(dx[..., :channels])
        dx = upsample2x2_backward(dx[..., channels:] * masks[level][..., None])
    for level in reversed(range(levels)):
        if level < levels - 1:
            dx = max_pool2x2_backward(dx, cached[f"pool.{level + 1}"]) + dskips[level]
        for i in (1, 0):
            dx = block_backward(dx, cached[f"down.{level}.{i}"], f"down.{level}.{i}", gradients)
    block_backward(dx, cached["enter"], "enter", gradients, need_dx=False)
    return gradients


def logits(
    spec: UNetSpec, weights: dict[str, Array], images_BHW1: Array, sizes_B2: Array, _labels_BL: Array | None = None
) -> Array:
    """Scores (B, h, w, M) for reading, zero past a page's own size; there are no labels."""
    return forward(spec, weights, images_BHW1, sizes_B2, training=False)[0]


# --- loss
def entropy_and_dice(logits_BhwM: Array, targets_BhwM: Array, counts_Bhw: Array) -> tuple[Array, tuple]:
    """Mean binary cross-entropy (nats) plus mean over the maps of 1 - Dice, over the pixels with a 1 in `counts_Bhw`.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", for Dice as a loss; here with 1 added above and below.
    """
    xp = namespace(logits_BhwM)
    targets_BhwM = targets_BhwM.astype(logits_BhwM.dtype)
    counts_Bhw1 = counts_Bhw.astype(logits_BhwM.dtype)[..., None]
    # exp of a number that is not above 0 does not overflow
    small_BhwM = xp.exp(-abs(logits_BhwM))
    entropy_BhwM = xp.maximum(logits_BhwM, 0) - logits_BhwM * targets_BhwM + xp.log1p(small_BhwM)
    scores_BhwM = xp.where(logits_BhwM >= 0, 1, small_BhwM) / (1 + small_BhwM)
    # in float64: float32 has no digits left for one pixel in a sum of many pages
    count = max(float(counts_Bhw1.sum(dtype=np.float64)) * logits_BhwM.shape[3], 1)
    entropy = (entropy_BhwM * counts_Bhw1).sum(dtype=np.float64) / count
    common_M, scores_M, targets_M = (
        (maps * counts_Bhw1).sum(axis=(0, 1, 2), dtype=np.float64)
        for maps in (scores_BhwM * targets_BhwM, scores_BhwM, targets_BhwM)
    )
    above_M, below_M = 2 * common_M + 1, scores_M + targets_M + 1
    loss = entropy + (1 - above_M / below_M).mean()
    return loss, (scores_BhwM, targets_BhwM, counts_Bhw1, count, above_M, below_M)


def entropy_and_dice_backward(cache: tuple) -> Array:
    """dlogits: of the cross-entropy (score - target) / count, and of Dice by the quotient rule."""
    scores_BhwM, targets_BhwM, counts_Bhw1, count, above_M, below_M = cache
    dtype, maps = scores_BhwM.dtype, scores_BhwM.shape[3]
    of_target_M, of_score_M = (2 / below_M / maps).astype(dtype), (above_M / below_M**2 / maps).astype(dtype)
    dscores = of_score_M - targets_BhwM * of_target_M
    dlogits = (scores_BhwM - targets_BhwM) / count + dscores * scores_BhwM * (1 - scores_BhwM)
    return dlogits * counts_Bhw1


def loss_and_gradients(
    spec: UNetSpec,
    weights: dict[str, Array],
    images_BHW1: Array,
    sizes_B2: Array,
    targets_BhwM: Array,
    counts_Bhw: Array,
    _rng: np.random.Generator | None,
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """The loss, its gradient per trained parameter, and the statistics of the batch; there is no dropout."""
    logits_BhwM, caches, statistics = forward(spec, weights, images_BHW1, sizes_B2, training=True)
    loss, loss_cache = entropy_and_dice(logits_BhwM, targets_BhwM, counts_Bhw)
    return loss, backward(spec, entropy_and_dice_backward(loss_cache), caches), statistics


# --- training step: shared by all rungs, see train.fit, which also moves the running statistics

# --- weights: canonical names and axes are used as they are
