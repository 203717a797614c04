"""CNN: convolutions 3×3 with ReLU, max-pool 2×2, dropout, dense → ReLU, dense."""

# B batch, H height, W width, C channels, K classes

from __future__ import annotations

import keras
from keras import layers

from common.recognizer import DType
from common.spec import CNNSpec

# --- layers: Keras's own, see keras.layers


# --- model
def build_model(spec: CNNSpec, *, dtype: DType) -> keras.Model:
    """A model from images (B, H, W, 1) to logits (B, K)."""
    # zeros, because `common.weights` draws the weights; Keras would draw from Python's global generator
    weights = {"kernel_initializer": "zeros", "dtype": dtype}
    image = {"data_format": "channels_last", "dtype": dtype}

    x = images = keras.Input((spec.height, spec.width, 1), dtype=dtype)
    for i, channels in enumerate(spec.channels):
        # "same" is one pixel on each side, because the kernel is 3×3 and the stride 1
        x = layers.Conv2D(
            channels, 3, padding="same", activation="relu", name=f"conv_{i}", data_format="channels_last", **weights
        )(x)
    x = layers.MaxPooling2D(2, **image)(x)
    x = layers.Dropout(spec.dropout, seed=0, dtype=dtype)(x)  # `train.fit` adds the run's seed
    x = layers.Flatten(**image)(x)
    x = layers.Dense(spec.hidden_dim, activation="relu", name="dense_0", **weights)(x)
    logits = layers.Dense(spec.num_classes, name="dense_1", **weights)(x)
    return keras.Model(images, logits, name="cnn", dtype=dtype)


# --- loss
def build_loss(dtype: DType) -> keras.losses.Loss:
    """Mean softmax cross-entropy, nats per image."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)


# --- training step: Keras's own, see Model.fit

# --- weights: in the canonical layout; layer conv_0 holds conv.0.kernel and conv.0.bias
