"""Gradients outside of `Model.fit`, in the same way on every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from impl_keras.device import Array, to_numpy


@keras.saving.register_keras_serializable("fourhands")
class KeepGradients(keras.optimizers.Optimizer):
    """An optimizer that keeps the gradients and does not move the parameters."""

    def __init__(self, learning_rate: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate=learning_rate, **options)

    def build(self, variables: list[keras.Variable]) -> None:
        """Create a variable for each gradient."""
        super().build(variables)
        self.kept = [self.add_variable_from_reference(variable, "gradient") for variable in variables]

    def apply(self, grads: list[Array], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Keep the gradients, which Keras passes in the order of the trainable variables."""
        for kept, gradient in zip(self.kept, grads, strict=True):
            kept.assign(gradient)


class GradientProbe:
    """A model without dropout, whose training step returns its loss and its gradients, and moves no parameter.

    Keras leaves differentiation to its backends (GradientTape, jax.grad, backward). `train_on_batch` hides which.

    Args:
        model: without dropout. It is compiled here, and its running statistics move, so it must be a copy.
        variables: the model's variables by canonical name.
        loss: the loss and the metrics for `compile`; empty for a model that computes its own loss.
    """

    def __init__(self, model: keras.Model, variables: Mapping[str, keras.Variable], **loss: Any) -> None:
        self.model, self.variables = model, variables
        self.optimizer = KeepGradients()
        self.optimizer.build(model.trainable_variables)
        # eager, because compiling takes longer than one step. Not on JAX, which compiles eager operations one by one
        model.compile(optimizer=self.optimizer, run_eagerly=keras.backend.backend() != "jax", **loss)

    def loss_and_gradients(
        self, weights: Mapping[str, keras.Variable], *batch: Any
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of a training step that starts from `weights`, and its gradient per trained parameter.

        Args:
            weights: the variables of the model that this one is a copy of, by canonical name.
            batch: inputs, labels, and perhaps the weights of the examples, as `train_on_batch` takes them.
        """
        for name, variable in self.variables.items():
            # a copy: on JAX the step donates the buffers of its own variables
            variable.assign(to_numpy(weights[name]))
        loss = self.model.train_on_batch(*batch, return_dict=True)["step_loss"]
        gradients = {v.path: kept for v, kept in zip(self.model.trainable_variables, self.optimizer.kept, strict=True)}
        return float(loss), {name: to_numpy(gradients[v.path]) for name, v in self.variables.items() if v.trainable}
