"""MLP: flatten, dense → ReLU → dropout per hidden layer, dense."""

# B batch, H height, W width, K classes

from __future__ import annotations

import keras
from keras import layers

from common.recognizer import DType
from common.spec import MLPSpec

# --- layers: Keras's own, see keras.layers


# --- model
def build_model(spec: MLPSpec, *, dtype: DType) -> keras.Model:
    """A model from images (B, H, W, 1) to logits (B, K)."""

    def dense(i: int, width: int, activation: str | None) -> layers.Dense:
        # zeros, because `common.weights` draws the weights; Keras would draw from Python's global generator
        return layers.Dense(width, activation, kernel_initializer="zeros", name=f"dense_{i}", dtype=dtype)

    images = keras.Input((spec.height, spec.width, 1), dtype=dtype)
    x = layers.Flatten(data_format="channels_last", dtype=dtype)(images)
    for i, width in enumerate(spec.hidden_dims):
        x = dense(i, width, "relu")(x)
        x = layers.Dropout(spec.dropout, seed=i, dtype=dtype)(x)  # `train.fit` adds the run's seed
    logits = dense(len(spec.hidden_dims), spec.num_classes, None)(x)
    return keras.Model(images, logits, name="mlp", dtype=dtype)


# --- loss
def build_loss(dtype: DType) -> keras.losses.Loss:
    """Mean softmax cross-entropy, nats per image."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)


# --- training step: Keras's own, see Model.fit

# --- weights: in the canonical layout; layer dense_0 holds dense.0.kernel and dense.0.bias
