"""Models that compute their own loss: those of lines and of pages. Characters have one of Keras's losses."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import backend, ops

from common.recognizer import DType
from common.spec import Spec, spec_from_dict, spec_to_dict
from impl_keras.device import Array


class OwnLossModel(keras.Model):
    """A model whose loss needs more than labels and outputs, which is all that a loss passed to `compile` sees.

    A subclass defines `batch_loss`, and a constructor `(spec, *, dtype, name)` that builds the graph of its layers.
    """

    def __init__(
        self, spec: Spec, inputs: tuple[keras.KerasTensor, ...], outputs: keras.KerasTensor, **options: Any
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, **options)
        self.spec = spec
        self.step_loss = LastValue(name="step_loss", dtype=outputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; the graph of the layers follows from the spec."""
        # not the model's own dtype: a graph of layers keeps each layer's, and its own is Keras's default
        return {"spec": spec_to_dict(self.spec), "dtype": self.outputs[0].dtype, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(spec_from_dict(config["spec"]), dtype=config["dtype"], name=config["name"])

    def compute_loss(
        self,
        x: tuple[Array, ...],
        y: Array,
        y_pred: Any,
        sample_weight: Array | None = None,
        training: bool = True,
    ) -> Array:
        """The loss of a batch, which Keras asks for in every step."""
        weight = None
        if sample_weight is not None and backend.is_float_dtype(sample_weight.dtype):
            # of a micro-batch, see `train.weighted`: one weight for all its examples or pixels that count
            weight, sample_weight = ops.max(sample_weight), ops.sign(sample_weight)
        loss = self.batch_loss(x, y, y_pred, sample_weight)
        self.step_loss.update_state(loss)
        return loss if weight is None else loss * weight


@keras.saving.register_keras_serializable("fourhands")
class LastValue(keras.metrics.Metric):
    """The value of the last step; Keras's own metrics are means over the epoch so far."""

    def __init__(self, name: str = "last_value", dtype: DType | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.last = self.add_variable((), "zeros", dtype=dtype, name="last")

    def update_state(self, value: Array) -> None:
        """Replace the value."""
        self.last.assign(value)

    def result(self) -> Array:
        """The value of the last update."""
        return ops.convert_to_tensor(self.last)
