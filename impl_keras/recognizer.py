"""The border: NumPy on both sides, whichever backend Keras runs on."""

# B batch, H height, W width, K classes, L label length, S scores per image, T frames

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import ClassVar

import keras
import numpy as np
from jaxtyping import Float, Int

from common.batch import Batch
from common.batch import LineBatch
from common.errors import UserError
from common.recognizer import Device, DType
from common.spec import LineSpec, LSTMCTCSpec, Spec, TransformerSpec
from common.training.run import Run
from common.weights import initial_weights
from impl_keras import cnn, lstm_ctc, mlp, train, transformer
from impl_keras.device import arrays_on, check, device_of, to_numpy
from impl_keras.gradients import Twin, loss_and_gradients

MODULES = {"mlp": mlp, "cnn": cnn, "lstm_ctc": lstm_ctc, "transformer": transformer}


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
            # a model of lines has its loss in it
            self.loss = None if isinstance(spec, LineSpec) else MODULES[spec.rung].build_loss(dtype)
        # JAX is nothing without XLA; TensorFlow on a CPU is four times slower with it
        self.model.jit_compile = keras.backend.backend() == "jax" or (
            keras.backend.backend() == "tensorflow" and device == "gpu"
        )
        self.variables = variables_of(spec, self.model)
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        with arrays_on(self.device, self.dtype):
            for name, variable in self.variables.items():
                variable.assign(weights[name])

    def export_weights(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(variable) for name, variable in self.variables.items()}

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        widths_B: Int[np.ndarray, "B"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"]:
        with self._reading():
            if not isinstance(self.spec, LineSpec):
                logits_BK: np.ndarray = self.model.predict_on_batch(images_BHW1)
                return logits_BK
            self._check_width(images_BHW1)
            inputs = (images_BHW1, widths_B, labels_BL)
            logits_BSK = self.model.predict_on_batch(inputs[: len(self.model.inputs)])
        own_B = self.spec.frames(widths_B) if isinstance(self.spec, LSTMCTCSpec) else (labels_BL > 0).sum(axis=1) + 1
        logits_BSK[np.arange(logits_BSK.shape[1]) >= own_B[:, None]] = 0
        return logits_BSK

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"], *, cached: bool = True
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        self._check_width(images_BHW1)
        with self._reading():
            classes_BT, log_probs_BT = self.greedy[cached].predict_on_batch((images_BHW1, widths_B))
        return classes_BT, log_probs_BT

    def loss_and_gradients(self, batch: Batch | LineBatch) -> tuple[float, dict[str, np.ndarray]]:
        if isinstance(batch, LineBatch):
            with arrays_on(self.device, self.dtype):
                return self.twin.loss_and_gradients(self.variables, batch)
        with arrays_on(self.device, self.dtype):
            loss, gradients = loss_and_gradients(self.model, self.loss, batch.images_BHW1, batch.labels_B)
        return float(loss), dict(zip(self.variables, map(to_numpy, gradients), strict=True))

    def fit(self, run: Run) -> None:
        with arrays_on(self.device, self.dtype):
            train.fit(self, run)

    def placement(self) -> dict[str, Device]:
        lines = isinstance(self.spec, LineSpec)
        image = np.zeros((1, self.spec.height, 8 if lines else self.spec.width, 1), self.dtype)
        inputs = (image, np.array([8], np.int32), np.array([[1]], np.int32))[: len(self.model.inputs)]
        with arrays_on(self.device, self.dtype):
            arrays = {name: variable.value for name, variable in self.variables.items()}
            arrays["logits"] = self.model(inputs if lines else image, training=False)
        return {name: device_of(array) for name, array in arrays.items()}

    @cached_property
    def twin(self) -> Twin:
        """Where the gradients of lines are taken."""
        return Twin(self.spec, self.dtype)

    @cached_property
    def greedy(self) -> dict[bool, keras.Model]:
        """Decoding with a cache, and without."""
        with arrays_on(self.device, self.dtype):
            return {cached: transformer.Greedy(self.model, cached=cached) for cached in (True, False)}

    def _check_width(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> None:
        width = images_BHW1.shape[2]
        if isinstance(self.spec, TransformerSpec) and self.spec.frames(width) > transformer.MAX_LENGTH:
            raise UserError(
                f"a line of {width} pixels has {self.spec.frames(width)} frames; transformer in Keras takes at most "
                f"{transformer.MAX_LENGTH}; cut the image into lines, or use another framework"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with arrays_on(self.device, self.dtype), warnings.catch_warnings():
            # Keras gives PyTorch's tensors to np.array, which misses NumPy 2's copy keyword in them
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            yield


def variables_of(spec: Spec, model: keras.Model) -> dict[str, keras.Variable]:
    """Canonical name to variable, running statistics among them."""
    if isinstance(spec, LineSpec):
        named = {MODULES[spec.rung].canonical_name(variable.path): variable for variable in model.weights}
        return {name: named[name] for name in spec.parameters()}
    return {
        f"{layer.name.replace('_', '.')}.{variable.name}": variable
        for layer in model.layers
        for variable in layer.trainable_variables
    }


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> KerasRecognizer:
    """A recognizer in Keras; see `common.recognizer.Build`."""
    return KerasRecognizer(spec, seed=seed, device=device, dtype=dtype)
