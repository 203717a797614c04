"""The border: inputs and outputs are NumPy arrays, also when the model's arrays are CuPy's."""

# B batch, H height, W width, K classes, L label length (characters), S scores per image, T frames
# h and w half of H and W, M maps of a page

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from common.recognizer import AnyBatch, Device, DType, TrainingRun
from common.spec import LineSpec, Spec, UNetSpec
from common.weights import initial_weights
from impl_numpy import cnn, lstm_ctc, mlp, train, transformer, unet
from impl_numpy.device import Array, array_module, device_of, to_numpy

MODULES = {"mlp": mlp, "cnn": cnn, "lstm_ctc": lstm_ctc, "transformer": transformer, "unet": unet}


class NumpyRecognizer:
    """The functions of a rung and their weights."""

    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)

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

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"] | Float[np.ndarray, "B h w M"]:
        if sizes is None:
            return to_numpy(self._forward(images_BHW1))
        return to_numpy(self.module.logits(self.spec, self.weights, *self._on_device(images_BHW1, sizes, labels_BL)))

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"], *, cached: bool = True
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        arrays = self._on_device(images_BHW1, widths_B)
        classes_BT, log_probs_BT = self.module.decode(self.spec, self.weights, *arrays, cached=cached)
        return to_numpy(classes_BT), to_numpy(log_probs_BT)

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradients, _ = self.step_gradients(batch, rng=None)
        return float(loss), {name: to_numpy(gradients[name]) for name in self.weights if name in gradients}

    def fit(self, run: TrainingRun) -> None:
        train.fit(self, self.weights, self.step_gradients, run)

    def placement(self) -> dict[str, Device]:
        if isinstance(self.spec, LineSpec):
            image = np.zeros((1, self.spec.height, 8, 1), self.dtype)
            line = self._on_device(image, np.array([8]), np.array([[1]]))
            logits = self.module.logits(self.spec, self.weights, *line)
        elif isinstance(self.spec, UNetSpec):
            side = self.spec.multiple
            page = self._on_device(np.zeros((1, side, side, 1), self.dtype), np.array([[side, side]]))
            logits = self.module.logits(self.spec, self.weights, *page)
        else:
            logits = self._forward(np.zeros((1, self.spec.height, self.spec.width, 1), self.dtype))
        return {name: device_of(array) for name, array in {**self.weights, "logits": logits}.items()}

    def step_gradients(
        self, batch: AnyBatch, rng: np.random.Generator | None
    ) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """Loss, gradients and the statistics of the batch, on the device; without a generator there is no dropout."""
        arrays = self._on_device(*batch.arrays)
        found: tuple[Array, dict[str, Array], dict[str, Array]] = self.module.loss_and_gradients(
            self.spec, self.weights, *arrays, rng
        )
        return found

    def _forward(self, images_BHW1: np.ndarray) -> Array:
        logits_BK, _ = self.module.forward(self.spec, self.weights, self.xp.asarray(images_BHW1, dtype=self.dtype))
        return logits_BK

    def _on_device(self, images_BHW1: np.ndarray, *integers: np.ndarray | None) -> list[Array | None]:
        images = self.xp.asarray(images_BHW1, self.dtype)
        return [images, *(None if array is None else self.xp.asarray(array) for array in integers)]


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> NumpyRecognizer:
    """A recognizer in NumPy, or in CuPy on a GPU; see `common.recognizer.Build`."""
    return NumpyRecognizer(spec, seed=seed, device=device, dtype=dtype)
