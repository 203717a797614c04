"""CNN: convolutions 3×3 with ReLU, max-pool 2×2, dropout, dense → ReLU, dense."""

# B batch, H height, W width, C channels, K classes

from __future__ import annotations

from itertools import pairwise

import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from common.spec import CNNSpec


# --- layers: nnx.Conv, nnx.relu, nnx.Dropout, nnx.Linear, and
def max_pool2x2(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B H//2 W//2 C"]:
    """The largest value of each 2×2 block; an odd last row or column is left out."""
    # not nnx.max_pool: its gradient (select and scatter) makes the whole step 1.2 times as long on a CPU
    batch, height, width, channels = x_BHWC.shape
    even = x_BHWC[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


# --- model
class CNN(nnx.Module):
    """Dropout is on if the call passes random streams (`rngs`), and off otherwise."""

    def __init__(self, spec: CNNSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.conv = nnx.List(
            nnx.Conv(
                fan_in,
                fan_out,
                (3, 3),
                padding=((1, 1), (1, 1)),
                dtype=dtype,
                param_dtype=dtype,
                rngs=rngs,
            )
            for fan_in, fan_out in pairwise((1, *spec.channels))
        )
        self.dropout = nnx.Dropout(spec.dropout)
        self.dense = nnx.List(
            nnx.Linear(fan_in, fan_out, dtype=dtype, param_dtype=dtype, rngs=rngs)
            for fan_in, fan_out in pairwise((spec.flat_dim, spec.hidden_dim, spec.num_classes))
        )

    def __call__(self, images_BHW1: Float[Array, "B H W 1"], rngs: nnx.Rngs | None = None) -> Float[Array, "B K"]:
        x_BHWC = images_BHW1
        for conv in self.conv:
            x_BHWC = nnx.relu(conv(x_BHWC))
        x_BHWC = max_pool2x2(x_BHWC)
        x_BHWC = self.dropout(x_BHWC, deterministic=rngs is None, rngs=rngs)
        x = x_BHWC.reshape(len(x_BHWC), -1)
        return self.dense[1](nnx.relu(self.dense[0](x)))


# --- loss
def loss_fn(
    model: CNN, images_BHW1: Float[Array, "B H W 1"], labels_B: Int[Array, "B"], rngs: nnx.Rngs | None = None
) -> Float[Array, ""]:
    """Mean cross-entropy, nats."""
    return optax.softmax_cross_entropy_with_integer_labels(model(images_BHW1, rngs), labels_B).mean()


# --- training step: one for every rung, see train.train_step

# --- weights: in the canonical layout; the path of conv[0].kernel is conv.0.kernel
