"""U-Net: a page to maps of scores at half its resolution; binary cross-entropy and Dice loss."""

# B batch, H height, W width, C channels, M maps; h and w: half of H and W, or the rows and columns of a level

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import UNetSpec
from impl_keras.device import Array
from impl_keras.own_loss import OwnLossModel
from impl_keras.stem import ConvBlock, keep_first, shape_of


# --- layers: Keras's own, see keras.layers, the stem's ConvBlock, and
@keras.saving.register_keras_serializable("fourhands")
class KeepMasks(layers.Layer):
    """Per level, from half the resolution down, a mask (B, h, w, 1): 1 at the pixels that belong to the page.

    Args:
        levels: how many.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(self, levels: int, **options: Any) -> None:
        super().__init__(**options)
        self.levels = levels

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {"levels": self.levels}

    def call(self, images_BHW1: Array, sizes_B2: Array) -> list[Array]:
        """The masks, in the dtype of the images."""
        height, width = ops.shape(images_BHW1)[1:3]
        masks = []
        for _ in range(self.levels):
            sizes_B2, height, width = -(-sizes_B2 // 2), -(-height // 2), -(-width // 2)
            rows_Bh, columns_Bw = keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)
            keep_Bhw = ops.logical_and(rows_Bh[:, :, None], columns_Bw[:, None])
            masks.append(ops.cast(keep_Bhw[..., None], images_BHW1.dtype))
        return masks


# --- model
@keras.saving.register_keras_serializable("fourhands")
class UNet(OwnLossModel):
    """Pages (B, H, W, 1) and their sizes (B, 2) to logits (B, h, w, M), zero past a page's own size.

    H and W are multiples of `spec.multiple`.
    """

    def __init__(self, spec: UNetSpec, *, dtype: DType, name: str = "unet") -> None:
        image = {"data_format": "channels_last", "dtype": dtype}
        blocks = {
            name: ConvBlock(**shape_of(block), name=name.replace(".", "_"), dtype=dtype)
            for name, block in spec.blocks()
        }

        images = keras.Input((None, None, 1), dtype=dtype, name="images")
        sizes = keras.Input((2,), dtype="int32", name="sizes")
        masks = KeepMasks(len(spec.channels), dtype=dtype)(images, sizes)
        x = blocks["enter"](images, masks[0])
        seen = []
        for level, keep in enumerate(masks):
            if level:
                # scores are not negative, and zero past a page's own size: padding never has the maximum
                x = layers.MaxPooling2D(2, **image)(x)
            x = blocks[f"down.{level}.1"](blocks[f"down.{level}.0"](x, keep), keep)
            seen.append(x)
        for level in reversed(range(len(masks) - 1)):
            x = layers.UpSampling2D(2, **image)(x) * masks[level]
            x = layers.Concatenate(dtype=dtype)([seen[level], x])
            x = blocks[f"up.{level}.1"](blocks[f"up.{level}.0"](x, masks[level]), masks[level])
        # zeros, because `common.weights` draws the weights; Keras would draw from Python's global generator
        head = layers.Dense(spec.num_maps, name="head", kernel_initializer="zeros", dtype=dtype)
        super().__init__(spec, (images, sizes), head(x) * masks[0], name=name, dtype=dtype)

    def batch_loss(
        self, x: tuple[Array, Array], targets_BhwM: Array, logits_BhwM: Array, sample_weight: Array
    ) -> Array:
        """Nats per pixel, plus 1 - Dice; the weights are 1 for the pixels that count."""
        return page_loss(targets_BhwM, logits_BhwM, sample_weight)


# --- loss
def page_loss(targets_BhwM: Array, logits_BhwM: Array, counts_Bhw: Array) -> Array:
    """Mean binary cross-entropy (nats) plus mean over the maps of 1 - Dice, over the pixels with a 1 in `counts_Bhw`.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", for Dice as a loss; here with 1 added above and below.
    """
    dtype = logits_BhwM.dtype
    targets_BhwM, counts_Bhw1 = ops.cast(targets_BhwM, dtype), ops.cast(counts_Bhw[..., None], dtype)
    # from the logits: the cross-entropy of scores would have to cut off scores close to 0 and 1
    entropy_BhwM = ops.softplus(logits_BhwM) - logits_BhwM * targets_BhwM
    pixels = ops.sum(counts_Bhw1) * logits_BhwM.shape[3]
    entropy = ops.sum(entropy_BhwM * counts_Bhw1) / ops.maximum(pixels, 1)
    scores_BhwM, targets_BhwM = ops.sigmoid(logits_BhwM) * counts_Bhw1, targets_BhwM * counts_Bhw1
    common_M = ops.sum(scores_BhwM * targets_BhwM, (0, 1, 2))
    total_M = ops.sum(scores_BhwM, (0, 1, 2)) + ops.sum(targets_BhwM, (0, 1, 2))
    return entropy + ops.mean(1 - (2 * common_M + 1) / (total_M + 1))


# --- training step: Keras's own, see Model.fit


# --- weights
def canonical_name(path: str) -> str:
    """down_0_1/kernel holds down.0.1.kernel."""
    return path.replace("/", ".").replace("_", ".")
