"""The border: NumPy on both sides, whichever backend Keras runs on."""

# B batch, H height, W width, K classes

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import ClassVar

import keras
import numpy as np
from jaxtyping import Float

from common.data.dataset import Batch
from common.recognizer import Device, DType
from common.spec import Spec
from common.training.run import Run
from common.weights import initial_weights
from impl_keras import cnn, mlp, train
from impl_keras.device import arrays_on, check, device_of, to_numpy
from impl_keras.gradients import loss_and_gradients

MODULES = {"mlp": mlp, "cnn": cnn}


class KerasRecognizer:
    """A Keras model and its loss."""

    packages: ClassVar[tuple[str, ...]] = ("keras", keras.backend.backend())

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        check(device, dtype)
        self.spec = spec
        self.device = device
        self.dtype = dtype
        with arrays_on(device, dtype):
            self.model = MODULES[spec.rung].build_model(spec, dtype)
            self.loss = MODULES[spec.rung].build_loss(dtype)
        # JAX is nothing without XLA; TensorFlow on a CPU is four times slower with it
        self.model.jit_compile = keras.backend.backend() == "jax" or (
            keras.backend.backend() == "tensorflow" and device == "gpu"
        )
        self.variables = {
            f"{layer.name.replace('_', '.')}.{variable.name}": variable
            for layer in self.model.layers
            for variable in layer.trainable_variables
        }
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        with arrays_on(self.device, self.dtype):
            for name, variable in self.variables.items():
                variable.assign(weights[name])

    def export_weights(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(variable) for name, variable in self.variables.items()}

    def logits(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> Float[np.ndarray, "B K"]:
        with arrays_on(self.device, self.dtype), warnings.catch_warnings():
            # Keras gives PyTorch's tensors to np.array, which misses NumPy 2's copy keyword in them
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            logits_BK: np.ndarray = self.model.predict_on_batch(images_BHW1)
        return logits_BK

    def loss_and_gradients(self, batch: Batch) -> tuple[float, dict[str, np.ndarray]]:
        with arrays_on(self.device, self.dtype):
            loss, gradients = loss_and_gradients(self.model, self.loss, batch.images_BHW1, batch.labels_B)
        return float(loss), dict(zip(self.variables, map(to_numpy, gradients), strict=True))

    def fit(self, run: Run) -> None:
        with arrays_on(self.device, self.dtype):
            train.fit(self, run)

    def placement(self) -> dict[str, Device]:
        image = np.zeros((1, self.spec.height, self.spec.width, 1), self.dtype)
        with arrays_on(self.device, self.dtype):
            arrays = {name: variable.value for name, variable in self.variables.items()}
            arrays["logits"] = self.model(image, training=False)
        return {name: device_of(array) for name, array in arrays.items()}


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> KerasRecognizer:
    """A recognizer in Keras; see `common.recognizer.Build`."""
    return KerasRecognizer(spec, seed=seed, device=device, dtype=dtype)
