"""The border: NumPy on both sides, even when the arrays inside are CuPy's."""

# B batch, H height, W width, K classes

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from common.data.dataset import Batch
from common.recognizer import Device, DType
from common.spec import Spec
from common.training.run import Run
from common.weights import initial_weights
from impl_numpy import cnn, mlp, train
from impl_numpy.device import Array, array_module, device_of, to_numpy

MODULES = {"mlp": mlp, "cnn": cnn}


class NumpyRecognizer:
    """A rung's functions, and the weights they are called with."""

    packages: ClassVar[tuple[str, ...]] = ("numpy",)

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        self.spec = spec
        self.xp = array_module(device)
        self.dtype = np.dtype(dtype)
        self.module = MODULES[spec.rung]
        self.weights: dict[str, Array] = {}
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = {name: self.xp.array(weights[name], dtype=self.dtype) for name in self.spec.parameters()}

    def export_weights(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(array) for name, array in self.weights.items()}

    def logits(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> Float[np.ndarray, "B K"]:
        return to_numpy(self._forward(images_BHW1))

    def loss_and_gradients(self, batch: Batch) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradients = self.step_gradients(batch, rng=None)
        return float(loss), {name: to_numpy(gradients[name]) for name in self.weights}

    def fit(self, run: Run) -> None:
        train.fit(self, run)

    def placement(self) -> dict[str, Device]:
        image = np.zeros((1, self.spec.height, self.spec.width, 1), self.dtype)
        arrays = {**self.weights, "logits": self._forward(image)}
        return {name: device_of(array) for name, array in arrays.items()}

    def step_gradients(self, batch: Batch, rng: np.random.Generator | None) -> tuple[Array, dict[str, Array]]:
        """Loss and gradients on the device; dropout only with a generator."""
        images_BHW1 = self.xp.asarray(batch.images_BHW1, dtype=self.dtype)
        labels_B = self.xp.asarray(batch.labels_B)
        return self.module.loss_and_gradients(self.spec, self.weights, images_BHW1, labels_B, rng)

    def _forward(self, images_BHW1: np.ndarray) -> Array:
        logits_BK, _ = self.module.forward(self.spec, self.weights, self.xp.asarray(images_BHW1, dtype=self.dtype))
        return logits_BK


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> NumpyRecognizer:
    """A recognizer in NumPy, or in CuPy on a GPU; see `common.recognizer.Build`."""
    return NumpyRecognizer(spec, seed=seed, device=device, dtype=dtype)
