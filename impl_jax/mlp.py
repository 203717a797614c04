"""MLP: flatten, dense → ReLU → dropout per hidden layer, dense."""

# B batch, H height, W width, K classes

from __future__ import annotations

from itertools import pairwise

import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from common.spec import MLPSpec

# --- layers: nnx.Linear, nnx.relu, nnx.Dropout


# --- model
class MLP(nnx.Module):
    """Dropout is on if the call passes random streams (`rngs`), and off otherwise."""

    def __init__(self, spec: MLPSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        dims = [spec.height * spec.width, *spec.hidden_dims, spec.num_classes]
        self.dense = nnx.List(
            nnx.Linear(fan_in, fan_out, dtype=dtype, param_dtype=dtype, rngs=rngs) for fan_in, fan_out in pairwise(dims)
        )
        self.dropout = nnx.Dropout(spec.dropout)

    def __call__(self, images_BHW1: Float[Array, "B H W 1"], rngs: nnx.Rngs | None = None) -> Float[Array, "B K"]:
        x = images_BHW1.reshape(len(images_BHW1), -1)
        *hidden, last = self.dense
        for linear in hidden:
            x = self.dropout(nnx.relu(linear(x)), deterministic=rngs is None, rngs=rngs)
        return last(x)


# --- loss
def loss_fn(
    model: MLP, images_BHW1: Float[Array, "B H W 1"], labels_B: Int[Array, "B"], rngs: nnx.Rngs | None = None
) -> Float[Array, ""]:
    """Mean cross-entropy, nats."""
    return optax.softmax_cross_entropy_with_integer_labels(model(images_BHW1, rngs), labels_B).mean()


# --- training step: one for every rung, see train.train_step

# --- weights: in the canonical layout; the path of dense[0].kernel is dense.0.kernel
