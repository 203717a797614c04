"""Gradients outside of `Model.fit`: the one thing that Keras leaves to its backend."""

# B batch, H height, W width

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from jaxtyping import Float, Int

from common.data.lines import LineBatch
from impl_keras.device import Array, to_numpy

if TYPE_CHECKING:
    from impl_keras.recognizer import KerasRecognizer


def loss_and_gradients(
    model: keras.Model,
    loss: keras.losses.Loss,
    images_BHW1: Float[np.ndarray, "B H W 1"],
    labels_B: Int[np.ndarray, "B"],
) -> tuple[Array, list[Array]]:
    """The loss, and its gradient per trainable variable in their order, dropout off."""
    of_backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    return of_backend(model, loss, keras.ops.convert_to_tensor(images_BHW1), keras.ops.convert_to_tensor(labels_B))


def _tensorflow(model: keras.Model, loss: keras.losses.Loss, images: Array, labels: Array) -> tuple[Array, list[Array]]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss(labels, model(images, training=False))
    return value, tape.gradient(value, model.trainable_variables)


def _jax(model: keras.Model, loss: keras.losses.Loss, images: Array, labels: Array) -> tuple[Array, list[Array]]:
    import jax

    def loss_of(trainable: list[Array], rest: list[Array]) -> Any:
        logits, _ = model.stateless_call(trainable, rest, images, training=False)
        return loss(labels, logits)

    trainable = [variable.value for variable in model.trainable_variables]
    return jax.value_and_grad(loss_of)(trainable, [variable.value for variable in model.non_trainable_variables])


def _torch(model: keras.Model, loss: keras.losses.Loss, images: Array, labels: Array) -> tuple[Array, list[Array]]:
    import torch

    value = loss(labels, model(images, training=False))
    gradients = torch.autograd.grad(value, [variable.value for variable in model.trainable_variables])
    return value.detach(), list(gradients)


def line_gradients(recognizer: KerasRecognizer, batch: LineBatch) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of a step of `Model.fit` on lines, and its gradient per trained parameter, by a twin without dropout.

    The step moves the twin's running statistics, not the model's.
    """
    from impl_keras.recognizer import MODULES, variables_of

    spec = replace(recognizer.spec, dropout=0.0)
    twin = MODULES[spec.rung].build_model(spec, recognizer.dtype)
    variables = variables_of(spec, twin)
    for name, variable in variables.items():
        variable.assign(recognizer.variables[name])
    gradients = Gradients()
    # one step: compiling would take longer, but for JAX, whose eager operations are compiled one by one
    twin.compile(optimizer=gradients, run_eagerly=keras.backend.backend() != "jax")
    inputs = batch.inputs[: len(twin.inputs)]
    loss = twin.train_on_batch(inputs, batch.labels_BL, return_dict=True)["step_loss"]
    of_path = {
        variable.path: gradient for variable, gradient in zip(twin.trainable_variables, gradients.kept, strict=True)
    }
    return float(loss), {name: to_numpy(of_path[v.path]) for name, v in variables.items() if v.trainable}


class Gradients(keras.optimizers.Optimizer):
    """Keeps the gradients and leaves the parameters as they are."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0)

    def build(self, variables: list[keras.Variable]) -> None:
        """As Keras asks."""
        super().build(variables)
        self.kept = [self.add_variable_from_reference(variable, "gradient") for variable in variables]

    def update_step(self, gradient: Array, variable: keras.Variable, learning_rate: Array) -> None:
        """As Keras asks."""
        self.kept[self._get_variable_index(variable)].assign(gradient)
