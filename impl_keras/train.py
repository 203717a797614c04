"""Training with `compile` and `fit`, the same for every rung."""

# B batch, H height, W width, K classes, S training steps

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from jaxtyping import Float, Int

from common.spec import LineSpec
from common.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM
from common.training.run import Run
from impl_keras.device import Array, to_numpy

if TYPE_CHECKING:
    from impl_keras.recognizer import KerasRecognizer


def fit(recognizer: KerasRecognizer, run: Run) -> None:
    """Train in place."""
    model, loss = recognizer.model, recognizer.loss
    optimizer = optimizer_for(run)
    optimizer.build(model.trainable_variables)
    state = {**recognizer.variables, **{variable.path: variable for variable in optimizer.variables}}
    if run.checkpoint:
        for name, variable in state.items():
            variable.assign(run.checkpoint[name])
    seed_dropout(model, run.config.seed, run.step)
    if not run.epochs():  # a finished run; `fit` would ask for a batch
        return

    metrics = [StepLoss(loss)] if loss else None  # a model of lines has both in it
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=model.jit_compile)
    model.fit(
        line_batches(model, run) if isinstance(recognizer.spec, LineSpec) else batches(run),
        shuffle=False,  # the batches come in the run's own order
        steps_per_epoch=run.steps_per_epoch,
        initial_epoch=run.first_epoch,
        epochs=run.config.epochs,
        callbacks=[Report(recognizer, run, state)],
        verbose=0,
    )


def batches(run: Run) -> Iterator[tuple[Float[np.ndarray, "B H W 1"], Int[np.ndarray, "B"]]]:
    """The images and labels of all epochs left, in order; the last batch of an epoch may be smaller."""
    for epoch in run.epochs():
        for batch in run.batches(epoch):
            yield batch.images_BHW1, batch.labels_B


def line_batches(model: keras.Model, run: Run) -> Any:
    """What goes into the model and the labels, of all epochs left, in order.

    From a generator Keras learns which axes vary by its first two batches, and stops where a third differs; so on
    TensorFlow, which compiles for given axes, they are named here.
    """

    def generator() -> Iterator[tuple[tuple[np.ndarray, ...], Int[np.ndarray, "B L"]]]:
        for epoch in run.epochs():
            for batch in run.batches(epoch):
                yield (batch.inputs[: len(model.inputs)], batch.labels_BL)

    if keras.backend.backend() != "tensorflow":
        return generator()
    import tensorflow as tf

    labels = tf.TensorSpec((None, None), tf.int32)
    images = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    inputs = (images, tf.TensorSpec((None,), tf.int32), labels)[: len(model.inputs)]
    dataset = tf.data.Dataset.from_generator(generator, output_signature=(inputs, labels)).prefetch(1)
    # there is nothing to tune, and the tuner's thread sleeps ever longer, which `fit` at times waits for at its end
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def seed_dropout(model: keras.Model, seed: int, step: int) -> None:
    """Set each dropout layer's generator to the stream drawn from the run's seed and its own, at `step`.

    A generator counts up by one per step, so its state is known at any step and need not be kept.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            stream = np.random.SeedSequence([seed, layer.seed]).generate_state(1)[0] >> 1  # below int32's limit
            layer.seed_generator.state.assign([stream, step])


def optimizer_for(run: Run) -> keras.optimizers.Optimizer:
    """The optimizer that the configuration names, with the run's learning rates."""
    config = run.config
    options = {"global_clipnorm": config.clip_norm or None, "name": "optimizer"}
    rates = LearningRates(run.learning_rates_S)
    if config.optimizer == "sgd":
        # Keras folds the rate into the velocity: v ← momentum · v - rate · g; the same for a constant rate.
        # np.float64, because TensorFlow reads a Python float as float32, which shows in float64 weights
        return keras.optimizers.SGD(rates, momentum=np.float64(MOMENTUM), **options)
    # Keras adds epsilon before the bias correction, the others after it
    optimizer = keras.optimizers.AdamW(
        rates,
        weight_decay=config.weight_decay,
        beta_1=ADAM_BETA1,
        beta_2=ADAM_BETA2,
        epsilon=ADAM_EPSILON,
        **options,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "gamma", "beta"])
    return optimizer


class LearningRates(keras.optimizers.schedules.LearningRateSchedule):
    """A table: the rate of each step."""

    def __init__(self, rates_S: Float[np.ndarray, "S"]) -> None:
        self.rates_S = rates_S

    def __call__(self, step: Array) -> Array:
        """The rate of `step`, counted from 0."""
        return keras.ops.take(self.rates_S, step)

    def get_config(self) -> dict[str, Any]:
        """As Keras asks."""
        return {"rates_S": self.rates_S.tolist()}


class StepLoss(keras.metrics.Metric):
    """The loss of the last step alone; Keras's own "loss" is the mean over the epoch so far."""

    def __init__(self, loss: keras.losses.Loss) -> None:
        super().__init__(name="step_loss", dtype=loss.dtype)
        self.loss = loss
        self.last = self.add_variable((), "zeros", dtype=loss.dtype, name="last")

    def update_state(self, labels_B: Array, logits_BK: Array, sample_weight: Array | None = None) -> None:
        """Replace what was there."""
        self.last.assign(self.loss(labels_B, logits_BK))

    def result(self) -> Array:
        """Nats per example."""
        return keras.ops.convert_to_tensor(self.last)


class Report(keras.callbacks.Callback):
    """Tells the run of every step and epoch."""

    def __init__(self, recognizer: KerasRecognizer, run: Run, state: Mapping[str, keras.Variable]) -> None:
        super().__init__()
        self.recognizer, self.run, self.state = recognizer, run, state

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """A step is done."""
        self.run.step_done(float(logs["step_loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """An epoch is done."""
        state = {name: to_numpy(variable) for name, variable in self.state.items()}
        self.run.epoch_done(self.recognizer, state)
