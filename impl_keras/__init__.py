"""The recognizer in Keras 3, on TensorFlow or on the backend that KERAS_BACKEND names (jax, torch)."""

from __future__ import annotations

import os

from common.errors import unknown_name

# Keras and TensorFlow read both variables while they are imported; the user's own values stay
backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if backend not in ("tensorflow", "jax", "torch"):
    raise unknown_name("KERAS_BACKEND", backend, ("tensorflow", "jax", "torch"))
# errors only: no notes on the processor, and no "Not handling type DT_DOUBLE" for each operation in float64
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from impl_keras.recognizer import build  # noqa: E402

__all__ = ["build"]
