"""Gradients outside of `Model.fit`: the one thing that Keras leaves to its backend."""

# B batch, H height, W width

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from jaxtyping import Float, Int

from impl_keras.device import Array


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
