"""Gradients outside of `Model.fit`: the one thing that Keras leaves to its backend."""

# B batch, H height, W width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from jaxtyping import Float, Int

from common.batch import LineBatch
from common.recognizer import DType
from common.spec import LineSpec
from impl_keras.device import Array, to_numpy


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


class Twin:
    """A model of lines without dropout, whose training step keeps the gradients and moves no parameter."""

    def __init__(self, spec: LineSpec, dtype: DType) -> None:
        from impl_keras.recognizer import MODULES, variables_of

        spec = replace(spec, dropout=0.0)
        self.model = MODULES[spec.rung].build_model(spec, dtype)
        self.variables = variables_of(spec, self.model)
        self.gradients = Gradients()
        # eager: compiling for one step would take longer, but for JAX, whose eager operations are compiled one by one
        self.model.compile(optimizer=self.gradients, run_eagerly=keras.backend.backend() != "jax")

    def loss_and_gradients(
        self, weights: Mapping[str, keras.Variable], batch: LineBatch
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of a step of `Model.fit` on lines, and its gradient per trained parameter.

        The step moves the twin's running statistics, not those of `weights`.
        """
        for name, variable in self.variables.items():
            variable.assign(weights[name])
        inputs = batch.inputs[: len(self.model.inputs)]
        loss = self.model.train_on_batch(inputs, batch.labels_BL, return_dict=True)["step_loss"]
        kept = {v.path: g for v, g in zip(self.model.trainable_variables, self.gradients.kept, strict=True)}
        return float(loss), {name: to_numpy(kept[v.path]) for name, v in self.variables.items() if v.trainable}


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
