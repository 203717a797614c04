"""The border: NumPy arrays outside, Keras on any of its backends inside."""

# B batch, H height, W width, K classes, L label length, T frames
# S scores per image: a row per frame of lstm_ctc, and per character and end of text of the transformer
# h and w half of H and W, M maps of a page

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cached_property, partial
from typing import Any, ClassVar, cast

import keras
import numpy as np
from jaxtyping import Float, Int

from common.errors import UserError
from common.recognizer import AnyBatch, Device, DType, TrainingRun
from common.spec import LineSpec, LSTMCTCSpec, Spec, TransformerSpec, UNetSpec
from common.weights import initial_weights
from impl_keras import cnn, lstm_ctc, mlp, train, transformer, unet
from impl_keras.device import arrays_on, check, device_of, to_numpy
from impl_keras.gradients import GradientProbe

MODELS: dict[str, Callable[..., keras.Model]] = {
    "mlp": mlp.build_model,
    "cnn": cnn.build_model,
    "lstm_ctc": lstm_ctc.LSTMCTC,
    "transformer": transformer.Transformer,
    "unet": unet.UNet,
}
LOSSES = {"mlp": mlp.build_loss, "cnn": cnn.build_loss}
"""Of the rungs for characters. A model of lines or of pages computes its own loss."""
CANONICAL_NAMES = {
    "lstm_ctc": lstm_ctc.canonical_name,
    "transformer": transformer.canonical_name,
    "unet": unet.canonical_name,
}


class KerasRecognizer:
    """A Keras model and its loss."""

    packages: ClassVar[tuple[str, ...]] = ("keras", keras.backend.backend())
    precisions: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        check(device, dtype)
        self.spec = spec
        self.device = device
        self.dtype = dtype
        with arrays_on(device, dtype):
            self.model = MODELS[spec.rung](spec, dtype=dtype)
            self.loss = LOSSES[spec.rung](dtype) if spec.rung in LOSSES else None
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
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"] | Float[np.ndarray, "B h w M"]:
        if isinstance(self.spec, TransformerSpec):
            self._check_width(images_BHW1)
        inputs = (images_BHW1, sizes, labels_BL)[: len(self.model.inputs)]
        logits: np.ndarray = self._predict(self.model, inputs if len(inputs) > 1 else images_BHW1)
        return self._zero_past_the_end(logits, sizes, labels_BL) if isinstance(self.spec, LineSpec) else logits

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"], *, cached: bool = True
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        self._check_width(images_BHW1)
        classes_BT, log_probs_BT = self._predict(self.greedy[cached], (images_BHW1, widths_B))
        return classes_BT, log_probs_BT

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        with arrays_on(self.device, self.dtype):
            return self.probe.loss_and_gradients(self.variables, *train.arguments_of(batch, self.model))

    def fit(self, run: TrainingRun) -> None:
        with arrays_on(self.device, self.dtype):
            train.fit(
                self.model,
                self.variables,
                run,
                spec=self.spec,
                loss=self.loss,
                epoch_done=partial(run.epoch_done, self),
                look=partial(run.look, self),
            )

    def placement(self) -> dict[str, Device]:
        if isinstance(self.spec, UNetSpec):
            height = width = self.spec.multiple
            size: int | list[int] = [height, width]
        else:
            height = self.spec.height
            width = size = 8 if isinstance(self.spec, LineSpec) else self.spec.width
        image = np.zeros((1, height, width, 1), self.dtype)
        inputs = (image, np.array([size], np.int32), np.array([[1]], np.int32))[: len(self.model.inputs)]
        with arrays_on(self.device, self.dtype):
            arrays = {name: variable.value for name, variable in self.variables.items()}
            arrays["logits"] = self.model(inputs if len(inputs) > 1 else image, training=False)
        return {name: device_of(array) for name, array in arrays.items()}

    @cached_property
    def probe(self) -> GradientProbe:
        """A copy of the model without dropout, whose step returns the gradients."""
        shares = [field.name for field in fields(self.spec) if field.name.endswith("dropout")]
        spec: Spec = replace(cast(Any, self.spec), **dict.fromkeys(shares, 0.0))
        model = MODELS[spec.rung](spec, dtype=self.dtype)
        return GradientProbe(model, variables_of(spec, model), **train.compiled_loss(self.loss))

    @cached_property
    def greedy(self) -> dict[bool, keras.Model]:
        """Decoding with a cache (True) and without one (False)."""
        with arrays_on(self.device, self.dtype):
            return {cached: transformer.Greedy(self.model, cached=cached) for cached in (True, False)}

    def _check_width(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> None:
        width = images_BHW1.shape[2]
        if isinstance(self.spec, TransformerSpec) and self.spec.frames(width) > transformer.MAX_LENGTH:
            raise UserError(
                f"a line of {width} pixels has {self.spec.frames(width)} frames; transformer in Keras takes at most "
                f"{transformer.MAX_LENGTH}; cut the image into lines, or use another framework"
            )

    def _zero_past_the_end(
        self, logits_BSK: np.ndarray, widths_B: np.ndarray | None, labels_BL: np.ndarray | None
    ) -> np.ndarray:
        """The logits of lines, zero past a line's own frames or the end of its text."""
        assert widths_B is not None, "lines come with their widths"
        if isinstance(self.spec, LSTMCTCSpec):
            own_B = self.spec.frames(widths_B)
        else:
            assert labels_BL is not None, "the transformer scores labels"
            own_B = (labels_BL > 0).sum(axis=1) + 1
        logits_BSK[np.arange(logits_BSK.shape[1]) >= own_B[:, None]] = 0
        return logits_BSK

    def _predict(self, model: keras.Model, inputs: Any) -> Any:
        """The model's outputs as NumPy arrays, by a compiled function where the backend has one."""
        with arrays_on(self.device, self.dtype):
            if keras.backend.backend() != "torch":
                return model.predict_on_batch(inputs)
            import torch

            # predict_on_batch is eager here too, and converts by np.array, which warns about PyTorch's tensors
            with torch.no_grad():
                return keras.tree.map_structure(to_numpy, model(inputs))


def variables_of(spec: Spec, model: keras.Model) -> dict[str, keras.Variable]:
    """Canonical name to variable, running statistics among them."""
    if spec.rung in CANONICAL_NAMES:
        named = {CANONICAL_NAMES[spec.rung](variable.path): variable for variable in model.weights}
        return {name: named[name] for name in spec.parameters()}
    return {
        f"{layer.name.replace('_', '.')}.{variable.name}": variable
        for layer in model.layers
        for variable in layer.trainable_variables
    }


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> KerasRecognizer:
    """A recognizer in Keras; see `common.recognizer.Build`."""
    return KerasRecognizer(spec, seed=seed, device=device, dtype=dtype)
