"""Training with `compile` and `fit`, for every rung."""

# B batch, H height, W width, K classes, S training steps

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import keras
import numpy as np
from jaxtyping import Float

from common.batch import LineBatch, PageBatch
from common.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM, RMSPROP_DECAY, RMSPROP_EPSILON
from common.recognizer import AnyBatch, State, TrainingRun
from common.spec import Spec
from common.training.accumulate import micro_batches
from impl_keras.device import Array, to_numpy
from impl_keras.own_loss import LastValue
from impl_keras.unet import UNet


def fit(
    model: keras.Model,
    weights: Mapping[str, keras.Variable],
    run: TrainingRun,
    *,
    spec: Spec,
    loss: keras.losses.Loss | None,
    epoch_done: Callable[[State], None],
    look: Callable[[], None],
) -> None:
    """Train the model in place.

    Args:
        model: the model, built.
        weights: its variables by canonical name; the state of the run holds them under these names.
        run: batches, learning rates, and where to go on.
        spec: the model's spec.
        loss: for `compile`; None for a model that computes its own loss.
        epoch_done: called with everything that a resumed run needs, at the end of each epoch.
        look: called after each step with `run.look_due`.
    """
    optimizer = optimizer_for(run, model.trainable_variables[0].dtype)
    optimizer.build(model.trainable_variables)
    state = {**weights, **{variable.path: variable for variable in optimizer.variables}}
    if run.checkpoint:
        for name, variable in state.items():
            variable.assign(run.checkpoint[name])
    parts = run.config.accumulate  # steps of `Model.fit` that make one step of the run
    seed_dropout(model, run.config.seed, run.step * parts)
    if not run.epochs():  # a finished run; `fit` would ask for a batch
        return

    model.compile(optimizer=optimizer, jit_compile=model.jit_compile, **compiled_loss(loss))
    shares: deque[float] = deque()
    model.fit(
        batches(model, run, spec, shares),
        shuffle=False,  # the batches come in the run's own order
        steps_per_epoch=run.steps_per_epoch * parts,
        initial_epoch=run.first_epoch,
        epochs=run.config.epochs,
        callbacks=[Report(run, shares, state, epoch_done, look)],
        verbose=0,
    )


def batches(model: keras.Model, run: TrainingRun, spec: Spec, shares: deque[float]) -> Any:
    """The inputs and labels of all epochs that are left, in order. The last batch of an epoch may be smaller.

    With `run.config.accumulate`, these are micro-batches, each with the weight of its examples. The share of each
    in the loss of its step is added to `shares`.

    Not a `keras.utils.PyDataset`. On TensorFlow Keras turns one into a `tf.data` pipeline, and derives the axes that
    vary from its first two batches: if both have the same width, `fit` stops at the first batch of another width. It
    also leaves the pipeline's tuner on, for which `fit` has waited up to 38 s at its end. Here the axes are named and
    the tuner is off; `run` prepares the batches ahead of time in threads of its own.
    """
    parts = run.config.accumulate

    def generator() -> Iterator[tuple[Any, ...]]:
        for epoch in run.epochs():
            for batch in run.batches(epoch):
                for part, share in micro_batches(spec, batch, parts):
                    shares.append(share)
                    yield arguments_of(part, model) if parts == 1 else weighted(part, model, share * parts)

    if keras.backend.backend() != "tensorflow":
        return generator()
    import tensorflow as tf

    images, *integers = [tf.TensorSpec(x.shape, tf.float32 if i == 0 else tf.int32) for i, x in enumerate(model.inputs)]
    inputs = (images, *integers) if integers else images
    if isinstance(model, UNet):
        maps = model.output.shape[-1]
        truth = [tf.TensorSpec(shape, tf.uint8) for shape in ((None, None, None, maps), (None, None, None))]
    else:
        truth = [tf.TensorSpec((None, None) if integers else (None,), tf.int32)]
    if parts > 1:
        pages = (None, None, None) if isinstance(model, UNet) else (None,)
        truth[1:] = [tf.TensorSpec(pages, model.trainable_variables[0].dtype)]
    signature = (inputs, *truth)
    dataset = tf.data.Dataset.from_generator(generator, output_signature=signature).prefetch(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def arguments_of(batch: AnyBatch, model: keras.Model) -> tuple[Any, ...]:
    """The batch as Keras takes it: inputs, labels, and of pages the weight of each pixel in the loss."""
    if isinstance(batch, PageBatch):
        return batch.inputs, batch.targets_BhwM, batch.counts_Bhw
    if isinstance(batch, LineBatch):
        return batch.inputs[: len(model.inputs)], batch.labels_BL
    return batch.images_BHW1, batch.labels_B


def weighted(batch: AnyBatch, model: keras.Model, weight: float) -> tuple[Any, ...]:
    """A micro-batch as Keras takes it. All its examples, or pixels that count, have one weight.

    The optimizer takes the mean of the gradients of the micro-batches of a step, so the weight of each is its share in
    the loss of the step times their number.
    """
    inputs, labels, *counts = arguments_of(batch, model)
    ones = counts[0] if counts else np.ones(len(batch.images_BHW1))
    return inputs, labels, (ones * weight).astype(model.trainable_variables[0].dtype)


def seed_dropout(model: keras.Model, seed: int, step: int) -> None:
    """Set each dropout layer's generator to the stream of the run's seed and the layer's own seed, at `step`.

    A generator counts up by one per step, so its state is known at any step and no checkpoint keeps it.
    """
    for layer in model.layers:
        # a layer that contains dropout lists it, because Keras has no public list of nested layers
        for dropout in [layer] if isinstance(layer, keras.layers.Dropout) else getattr(layer, "dropouts", ()):
            if dropout.rate:
                stream = np.random.SeedSequence([seed, dropout.seed]).generate_state(1)[0] >> 1  # below int32's limit
                dropout.seed_generator.state.assign([stream, step])


def optimizer_for(run: TrainingRun, dtype: str = "float32") -> keras.optimizers.Optimizer:
    """The optimizer that the configuration names, with the run's learning rates, for weights of `dtype`."""
    config = run.config
    parts = config.accumulate if config.accumulate > 1 else None
    options = {"gradient_accumulation_steps": parts, "global_clipnorm": config.clip_norm or None, "name": "optimizer"}
    # a schedule counts micro-batches, though the optimizer updates once for all of a step
    rates = LearningRates(np.repeat(run.learning_rates_S, config.accumulate))
    # np.float64, because TensorFlow reads a Python float as float32, which shows in float64 weights. Not for float32
    # weights: a float32 gradient times np.float64 would be float64
    number = np.float64 if dtype == "float64" else float
    if config.optimizer in ("sgd", "sgd_nesterov"):
        # Keras folds the rate into the velocity: v ← momentum · v - rate · g. It is the same for a constant rate.
        ahead = config.optimizer == "sgd_nesterov"
        return keras.optimizers.SGD(rates, momentum=np.float64(MOMENTUM), nesterov=ahead, **options)
    if config.optimizer == "rmsprop":
        return RMSprop(rates, rho=number(RMSPROP_DECAY), epsilon=RMSPROP_EPSILON, **options)
    # Keras adds epsilon before the bias correction, the other frameworks after it
    adam = {"beta_1": number(ADAM_BETA1), "beta_2": number(ADAM_BETA2), "epsilon": ADAM_EPSILON}
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rates, **adam, **options)
    optimizer = keras.optimizers.AdamW(
        rates,
        weight_decay=number(config.weight_decay),
        **adam,
        **options,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "gamma", "beta"])
    return optimizer


@keras.saving.register_keras_serializable("fourhands")
class RMSprop(keras.optimizers.RMSprop):
    """RMSprop that divides by √v + ε as the other frameworks do. Keras's own divides by √(v + ε)."""

    def update_step(self, gradient: Array, variable: keras.Variable, learning_rate: Array) -> None:
        """Update one variable."""
        velocity = self._velocities[self._get_variable_index(variable)]
        self.assign_add(velocity, (keras.ops.square(gradient) - velocity) * (1 - self.rho))
        rate = keras.ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * gradient / (keras.ops.sqrt(velocity) + self.epsilon))


@keras.saving.register_keras_serializable("fourhands")
class LearningRates(keras.optimizers.schedules.LearningRateSchedule):
    """A table with the learning rate of each step."""

    def __init__(self, rates_S: Float[np.ndarray, "S"]) -> None:
        self.rates_S = np.asarray(rates_S, np.float32)

    def __call__(self, step: Array) -> Array:
        """The rate of `step`, counted from 0."""
        return keras.ops.take(self.rates_S, step)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"rates_S": self.rates_S.tolist()}


def compiled_loss(loss: keras.losses.Loss | None) -> dict[str, Any]:
    """The arguments of `compile` for a loss; a model that computes its own loss reports it, too."""
    return {"loss": loss, "metrics": [StepLoss(loss)]} if loss else {}


@keras.saving.register_keras_serializable("fourhands")
class StepLoss(LastValue):
    """The loss of the last step; Keras's own "loss" is the mean over the epoch so far."""

    def __init__(self, loss: keras.losses.Loss, name: str = "step_loss", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype or loss.dtype)
        self.loss = loss

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {"loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**config | {"loss": keras.saving.deserialize_keras_object(config["loss"])})

    def update_state(self, labels_B: Array, logits_BK: Array, sample_weight: Array | None = None) -> None:
        """Replace the value by the loss of this batch, nats per example."""
        super().update_state(self.loss(labels_B, logits_BK))


class Report(keras.callbacks.Callback):
    """Tells the run about every step and epoch."""

    def __init__(
        self,
        run: TrainingRun,
        shares: deque[float],
        state: Mapping[str, keras.Variable],
        epoch_done: Callable[[State], None],
        look: Callable[[], None],
    ) -> None:
        super().__init__()
        self.run, self.shares, self.state, self.epoch_done, self.look = run, shares, state, epoch_done, look
        self.step_loss = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """A step is done, or one of its micro-batches.

        Keras has fetched the loss already: its list of callbacks turns all logs into Python floats after every step.
        """
        self.step_loss += self.shares.popleft() * logs["step_loss"]
        if (batch + 1) % self.run.config.accumulate:
            return
        self.run.step_done(self.step_loss)
        self.step_loss = 0.0
        if self.run.look_due:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # within an epoch, JAX's weights are not in the variables
            self.look()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """An epoch is done."""
        self.epoch_done({name: to_numpy(variable) for name, variable in self.state.items()})
