"""The dense network in Keras on TensorFlow: a tape, layers, `fit`."""

from __future__ import annotations

import os

# both are read when Keras and TensorFlow are imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: no notes on the processor

import keras
import tensorflow as tf
from layer_by_layer import Digits, Plan, Weights


# --- tape
def tape(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. TensorFlow has gradients and functions."""
    w1, b1, w2, b2 = weights = [tf.Variable(value) for value in start.values()]
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            with tf.GradientTape() as tape:
                hidden = tf.nn.relu(xb @ w1 + b1)
                log_p = tf.nn.log_softmax(hidden @ w2 + b2)
                loss = -tf.reduce_mean(tf.gather(log_p, tb, batch_dims=1))
            gradients = tape.gradient(loss, weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.assign_sub(plan.rate * gradient)
            losses.append(float(loss))
    return losses


# --- what is recorded
def what_is_recorded() -> dict[str, bool]:
    """Whether a tape knows the operation 2·x, outside and inside its block."""
    x = tf.Variable(1.0)
    outside = 2 * x
    with tf.GradientTape(persistent=True) as tape:
        inside = 2 * x
    results = {"outside": outside, "inside": inside}
    return {name: tape.gradient(y, x) is not None for name, y in results.items()}


# --- layers
def layers(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. Keras keeps the parameters and updates."""
    model = network(start)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(plan.rate)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            with tf.GradientTape() as tape:
                loss = loss_of(tb, model(xb))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            losses.append(float(loss))
    return losses


# --- network
def network(start: Weights) -> keras.Sequential:
    """Linear → ReLU → linear, with the given weights."""
    hidden, outputs = start["w2"].shape
    model = keras.Sequential(
        [
            keras.Input((len(start["w1"]),)),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(outputs),
        ]
    )
    model.set_weights(list(start.values()))
    return model


# --- report
class Report(keras.callbacks.Callback):
    """Records the loss of each batch. Keras reports the mean since the epoch began, so this resets it."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        self.losses.append(logs["loss"])


# --- fit
def fit(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. Keras has the loop."""
    model = network(start)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.SGD(plan.rate),
    )
    report = Report()
    model.fit(
        digits.x,
        digits.t,
        batch_size=plan.batch,
        epochs=plan.epochs,
        shuffle=False,
        callbacks=[report],
        verbose=0,
    )
    return report.losses
