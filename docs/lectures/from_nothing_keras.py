"""The network of `from_nothing.py` in Keras, on TensorFlow."""

# N examples, D inputs, O outputs

from __future__ import annotations

import os

# both are read when Keras and TensorFlow are imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: no notes on the processor

import keras
import numpy as np


# --- train
def train(
    weights: dict[str, np.ndarray],
    x_ND: np.ndarray,
    t_NO: np.ndarray,
    *,
    rate: float,
    steps: int,
) -> list[float]:
    """The loss before each update."""
    (inputs, hidden), dtype = weights["w1"].shape, x_ND.dtype.name
    keras.config.set_floatx(dtype)  # the loss uses the global precision, not that of the layers
    model = keras.Sequential(
        [
            keras.Input((inputs,), dtype=dtype),
            keras.layers.Dense(hidden, activation="relu", dtype=dtype),
            keras.layers.Dense(t_NO.shape[1], dtype=dtype),
        ]
    )
    model.set_weights(list(weights.values()))
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    return [float(model.train_on_batch(x_ND, t_NO)) for _ in range(steps)]
