"""U-Net: a page to maps of scores at half its resolution; binary cross-entropy and Dice loss."""

# B batch, H height, W width, C channels, M maps; h and w: half of H and W, or the rows and columns of a level

from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8

from common.spec import UNetSpec
from impl_jax.cnn import max_pool2x2
from impl_jax.stem import ConvBlock, keep_first


# --- layers: nnx.Linear, the stem's ConvBlock, the pooling of the cnn, and
def keep_masks(sizes_B2: Int[Array, "B 2"], height: int, width: int, levels: int) -> list[Bool[Array, "B _ _ 1"]]:
    """Per level, from half the resolution down: True at the pixels that belong to the page."""
    masks = []
    for _ in range(levels):
        sizes_B2, height, width = -(-sizes_B2 // 2), -(-height // 2), -(-width // 2)
        rows_Bh, columns_Bw = keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)
        masks.append((rows_Bh[:, :, None] & columns_Bw[:, None])[..., None])
    return masks


def repeat2x2(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Each pixel four times."""
    return x_BHWC.repeat(2, axis=1).repeat(2, axis=2)


# --- model
class UNet(nnx.Module):
    """H and W are multiples of `spec.multiple`. In training, batch norm uses the batch's statistics."""

    def __init__(self, spec: UNetSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        blocks = {name: ConvBlock(block, dtype=dtype) for name, block in spec.blocks()}
        self.enter = blocks["enter"]
        self.down, self.up = (
            nnx.List(nnx.List(blocks[f"{side}.{level}.{i}"] for i in range(2)) for level in range(levels))
            for side, levels in (("down", len(spec.channels)), ("up", len(spec.channels) - 1))
        )
        self.head = nnx.Linear(spec.channels[0], spec.num_maps, dtype=dtype, param_dtype=dtype, rngs=rngs)

    def __call__(
        self, images_BHW1: Float[Array, "B H W 1"], sizes_B2: Int[Array, "B 2"], *, training: bool = False
    ) -> Float[Array, "B h w M"]:
        """Logits, zero past a page's own size."""
        masks = keep_masks(sizes_B2, *images_BHW1.shape[1:3], len(self.down))
        x = self.enter(jnp.asarray(images_BHW1, self.enter.kernel.dtype), masks[0], training=training)
        seen = []
        for level, (pair, keep_Bhw1) in enumerate(zip(self.down, masks, strict=True)):
            if level:
                # scores are not negative, and zero past a page's own size: padding never has the maximum
                x = max_pool2x2(x)
            x = through(pair, x, keep_Bhw1, training=training)
            seen.append(x)
        for level, pair in reversed(list(enumerate(self.up))):
            x = jnp.where(masks[level], repeat2x2(x), 0)
            x = through(pair, jnp.concatenate([seen[level], x], axis=3), masks[level], training=training)
        return jnp.where(masks[0], self.head(x), 0)


def through(
    blocks: Iterable[ConvBlock], x_BhwC: Float[Array, "B h w _"], keep_Bhw1: Bool[Array, "B h w 1"], *, training: bool
) -> Float[Array, "B h w _"]:
    """The result of the blocks one after the other."""
    for block in blocks:
        x_BhwC = block(x_BhwC, keep_Bhw1, training=training)
    return x_BhwC


# --- loss
def loss_fn(
    model: UNet,
    images_BHW1: Float[Array, "B H W 1"],
    sizes_B2: Int[Array, "B 2"],
    targets_BhwM: UInt8[Array, "B h w M"],
    counts_Bhw: UInt8[Array, "B h w"],
    _rngs: nnx.Rngs | None = None,  # there is no dropout
) -> Float[Array, ""]:
    """Mean binary cross-entropy (nats) plus mean over the maps of 1 - Dice, over the pixels with a 1 in `counts_Bhw`.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", for Dice as a loss; here with 1 added above and below.
    """
    logits_BhwM = model(images_BHW1, sizes_B2, training=True)
    counts_Bhw1 = counts_Bhw[..., None].astype(logits_BhwM.dtype)
    targets_BhwM = targets_BhwM.astype(logits_BhwM.dtype)
    entropy_BhwM = optax.sigmoid_binary_cross_entropy(logits_BhwM, targets_BhwM) * counts_Bhw1
    entropy = entropy_BhwM.sum() / jnp.maximum(counts_Bhw1.sum() * logits_BhwM.shape[3], 1)
    scores_BhwM, targets_BhwM = nnx.sigmoid(logits_BhwM) * counts_Bhw1, targets_BhwM * counts_Bhw1
    common_M = (scores_BhwM * targets_BhwM).sum((0, 1, 2))
    total_M = scores_BhwM.sum((0, 1, 2)) + targets_BhwM.sum((0, 1, 2))
    return entropy + (1 - (2 * common_M + 1) / (total_M + 1)).mean()


# --- training step: one for every rung, see train.train_step

# --- weights: in the canonical layout; the path of down[0][1].kernel is down.0.1.kernel
