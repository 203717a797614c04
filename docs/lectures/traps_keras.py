"""Traps of Keras on TensorFlow."""

# B batch, T frames, L label length, K classes, H units

from __future__ import annotations

import os

# both are read when Keras and TensorFlow are imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: no notes on the processor

import keras
import numpy as np
import tensorflow as tf
from traps import ctc_batch

from impl_numpy.ctc import ctc, ctc_backward


# --- a forget bias
def new_biases(units: int) -> dict[str, float]:
    """The bias of each gate in a new LSTM."""
    cell = keras.layers.LSTMCell(units)
    cell.build((None, 3))
    return dict(zip("ifgo", cell.bias.numpy()[::units].tolist(), strict=True))


# --- Python's floats
def rounding_of_a_python_float(number: float) -> float:
    """The relative error of a number after its conversion to a float64 tensor."""
    return abs(float(keras.ops.cast(number, "float64")) / number - 1)


# --- gradients in rows
def shortfall_of_a_norm(times: int) -> float:
    """The norm that clipping sees, divided by the true one, for a class that is looked up `times` times."""
    embedding = keras.layers.Embedding(5, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(embedding(np.full(times, 2)))
    gradient = tape.gradient(loss, embedding.trainable_variables[0])
    return float(tf.linalg.global_norm([gradient]) / tf.norm(tf.convert_to_tensor(gradient)))


# --- momentum
def distance_coasted() -> dict[str, float]:
    """The distance that a weight moves in two steps after the learning rate became zero."""
    weight = keras.Variable(0.0)
    keras_sgd = keras.optimizers.SGD(learning_rate=1.0, momentum=0.9)
    velocity, other = 0.0, 0.0
    for rate, gradient in ((1.0, 1.0), (0.0, 0.0), (0.0, 0.0)):
        keras_sgd.learning_rate = rate
        keras_sgd.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        velocity = 0.9 * velocity + gradient  # as in PyTorch, optax and NumPy
        other -= rate * velocity
    return {"Keras": abs(float(weight) + 1), "the others": abs(other + 1)}


# --- a mask's count
def error_of_a_masked_mean() -> float:
    """The error of the mean of ones in float64, if half of them are masked."""
    norm = keras.layers.BatchNormalization(momentum=0.0, dtype="float64")
    norm(np.ones((1, 4, 1)), mask=np.array([[True, True, False, False]]), training=True)
    return abs(float(norm.moving_mean[0]) - 1)


# --- full width
def loss_at_full_width() -> tuple[float, float]:
    """The mean loss of the lines with `losses.CTC`, and with `ops.ctc_loss`, which takes lengths."""
    logits_BTK, frames_B, labels_BL, label_lengths_B = ctc_batch()
    logits = logits_BTK.astype("float32")
    full = keras.losses.CTC()(labels_BL, logits)
    own_B = keras.ops.ctc_loss(labels_BL, logits, label_lengths_B, frames_B, mask_index=0)
    return float(full), float(keras.ops.mean(own_B))


# --- float32 under float64
def errors_of_ctc() -> tuple[float, float]:
    """The relative errors of the loss and of its gradient for logits in float64."""
    logits_BTK, frames_B, labels_BL, label_lengths_B = ctc_batch()
    logits = tf.constant(logits_BTK)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses_B = keras.ops.ctc_loss(labels_BL, logits, label_lengths_B, frames_B, mask_index=0)
        loss = keras.ops.sum(losses_B) / label_lengths_B.sum()
    right, cache = ctc(logits_BTK, frames_B, labels_BL, label_lengths_B)
    gradient = ctc_backward(cache)
    distance = np.linalg.norm(tape.gradient(loss, logits).numpy() - gradient)
    return abs(float(loss) / float(right) - 1), float(distance / np.linalg.norm(gradient))


# --- no labels
def probability_of_nothing(places: int) -> float:
    """The probability of an empty text whose only path is certain. `places`: columns of the labels."""
    certain = np.full((1, 3, 2), -100.0, np.float32)
    certain[..., 0] = 100.0  # class 0 is the blank
    labels, no_characters = np.zeros((1, places), np.int32), np.zeros(1, np.int32)
    loss = keras.ops.ctc_loss(labels, certain, no_characters, np.array([3], np.int32))
    return float(np.exp(-loss[0]))
