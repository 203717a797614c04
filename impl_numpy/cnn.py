"""CNN: convolutions 3×3 with ReLU, max-pool 2×2, dropout, dense → ReLU, dense."""

# B batch, H height, W width, C channels, K classes

from __future__ import annotations

import numpy as np

from common.spec import CNNSpec

# --- layers
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.device import Array
from impl_numpy.ops import (
    dropout,
    dropout_backward,
    linear,
    linear_backward,
    max_pool2x2,
    max_pool2x2_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)


# --- model
def forward(
    spec: CNNSpec, weights: dict[str, Array], images_BHW1: Array, rng: np.random.Generator | None = None
) -> tuple[Array, tuple]:
    """Logits (B, K), and the caches of the layers. Without a generator there is no dropout."""
    x_BHWC = images_BHW1
    conv_caches = []
    for i in range(len(spec.channels)):
        x_BHWC, conv_cache = convolution(x_BHWC, weights[f"conv.{i}.kernel"], strides=(1, 1), padding=1)
        x_BHWC += weights[f"conv.{i}.bias"]
        x_BHWC, relu_cache = relu(x_BHWC)
        conv_caches.append((conv_cache, relu_cache))
    x_BHWC, pool_cache = max_pool2x2(x_BHWC)
    x_BHWC, dropout_cache = dropout(x_BHWC, spec.dropout, rng)
    x = x_BHWC.reshape(len(x_BHWC), -1)
    x, hidden_cache = linear(x, weights["dense.0.kernel"], weights["dense.0.bias"])
    x, relu_cache = relu(x)
    logits_BK, last_cache = linear(x, weights["dense.1.kernel"], weights["dense.1.bias"])
    return logits_BK, (conv_caches, pool_cache, dropout_cache, x_BHWC.shape, hidden_cache, relu_cache, last_cache)


def backward(dlogits_BK: Array, caches: tuple) -> dict[str, Array]:
    """The gradient of each parameter, from the last layer to the first."""
    conv_caches, pool_cache, dropout_cache, pooled_shape, hidden_cache, relu_cache, last_cache = caches
    gradients = {}
    dx, gradients["dense.1.kernel"], gradients["dense.1.bias"] = linear_backward(dlogits_BK, last_cache)
    dx = relu_backward(dx, relu_cache)
    dx, gradients["dense.0.kernel"], gradients["dense.0.bias"] = linear_backward(dx, hidden_cache)
    dx = dropout_backward(dx.reshape(pooled_shape), dropout_cache)
    dx = max_pool2x2_backward(dx, pool_cache)
    for i in reversed(range(len(conv_caches))):
        conv_cache, relu_cache = conv_caches[i]
        dx = relu_backward(dx, relu_cache)
        gradients[f"conv.{i}.bias"] = dx.sum(axis=(0, 1, 2))
        dx, gradients[f"conv.{i}.kernel"] = convolution_backward(dx, conv_cache, need_dx=i > 0)
    return gradients


# --- loss
def loss_and_gradients(
    spec: CNNSpec, weights: dict[str, Array], images_BHW1: Array, labels_B: Array, rng: np.random.Generator | None
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Mean cross-entropy in nats, its gradient per parameter, and no batch statistics."""
    logits_BK, caches = forward(spec, weights, images_BHW1, rng)
    loss, loss_cache = softmax_cross_entropy(logits_BK, labels_B)
    return loss, backward(softmax_cross_entropy_backward(loss_cache), caches), {}


# --- training step: shared by all rungs, see train.fit

# --- weights: canonical names and axes are used as they are
