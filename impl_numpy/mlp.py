"""MLP: flatten, dense → ReLU → dropout per hidden layer, dense."""

# B batch, H height, W width, K classes

from __future__ import annotations

import numpy as np

from common.spec import MLPSpec

# --- layers
from impl_numpy.device import Array
from impl_numpy.ops import (
    dropout,
    dropout_backward,
    linear,
    linear_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)


# --- model
def forward(
    spec: MLPSpec, weights: dict[str, Array], images_BHW1: Array, rng: np.random.Generator | None = None
) -> tuple[Array, list]:
    """Logits (B, K), and the caches of the layers. Without a generator there is no dropout."""
    x = images_BHW1.reshape(len(images_BHW1), -1)
    caches = []
    for i in range(len(spec.hidden_dims)):
        x, linear_cache = linear(x, weights[f"dense.{i}.kernel"], weights[f"dense.{i}.bias"])
        x, relu_cache = relu(x)
        x, dropout_cache = dropout(x, spec.dropout, rng)
        caches.append((linear_cache, relu_cache, dropout_cache))
    last = len(spec.hidden_dims)
    logits_BK, linear_cache = linear(x, weights[f"dense.{last}.kernel"], weights[f"dense.{last}.bias"])
    return logits_BK, [*caches, linear_cache]


def backward(spec: MLPSpec, dlogits_BK: Array, caches: list) -> dict[str, Array]:
    """The gradient of each parameter, from the last layer to the first."""
    gradients = {}
    last = len(spec.hidden_dims)
    dx, gradients[f"dense.{last}.kernel"], gradients[f"dense.{last}.bias"] = linear_backward(dlogits_BK, caches[last])
    for i in reversed(range(last)):
        linear_cache, relu_cache, dropout_cache = caches[i]
        dx = dropout_backward(dx, dropout_cache)
        dx = relu_backward(dx, relu_cache)
        dx, gradients[f"dense.{i}.kernel"], gradients[f"dense.{i}.bias"] = linear_backward(dx, linear_cache)
    return gradients


# --- loss
def loss_and_gradients(
    spec: MLPSpec, weights: dict[str, Array], images_BHW1: Array, labels_B: Array, rng: np.random.Generator | None
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Mean cross-entropy in nats, its gradient per parameter, and no batch statistics."""
    logits_BK, caches = forward(spec, weights, images_BHW1, rng)
    loss, loss_cache = softmax_cross_entropy(logits_BK, labels_B)
    return loss, backward(spec, softmax_cross_entropy_backward(loss_cache), caches), {}


# --- training step: shared by all rungs, see train.fit

# --- weights: canonical names and axes are used as they are
