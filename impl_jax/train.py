"""The training step and the loop around it, the same for every rung."""

# S training steps

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from common.training.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM, TrainConfig
from common.training.run import Run, State
from impl_jax.device import COMPILER_OPTIONS

if TYPE_CHECKING:
    from impl_jax.recognizer import JaxRecognizer


class TrainState(NamedTuple):
    """Everything that a step changes."""

    params: PyTree
    statistics: PyTree
    opt_state: optax.OptState
    step: Int[Array, ""]


def train_step(
    state: TrainState,
    batch: tuple[Array, ...],
    key: Key[Array, ""],
    *,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Float[Array, ""]]:
    """The next state, and the loss before the update. A pure function of its arguments."""

    def loss_of(params: PyTree) -> tuple[Float[Array, ""], PyTree]:
        # drawn from (seed, step) alone, so that a resumed run drops the same units
        rngs = nnx.Rngs(dropout=jax.random.fold_in(key, state.step))
        model = nnx.merge(graphdef, params, state.statistics, copy=True)
        loss = loss_fn(model, *batch, rngs)
        return loss, nnx.state(model, nnx.BatchStat)  # which the loss has moved

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, statistics, opt_state, state.step + 1), loss


def make_optimizer(config: TrainConfig, learning_rates_S: Float[np.ndarray, "S"]) -> optax.GradientTransformation:
    """Clipping, then the optimizer that the configuration names; it counts the steps and looks up each one's rate."""

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.asarray(learning_rates_S)[step]

    if config.optimizer == "adamw":
        optimizer = optax.adamw(
            rate,
            ADAM_BETA1,
            ADAM_BETA2,
            ADAM_EPSILON,
            weight_decay=config.weight_decay,
            mask=lambda params: jax.tree.map(lambda w: w.ndim > 1, params),  # kernels, not biases
        )
    else:
        optimizer = optax.sgd(rate, MOMENTUM)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer) if config.clip_norm else optimizer


def fit(recognizer: JaxRecognizer, run: Run) -> None:
    """Train in place."""
    with recognizer.x64():
        optimizer = make_optimizer(run.config, run.learning_rates_S)
        params = recognizer.params
        state = TrainState(params, recognizer.statistics, optimizer.init(params), jnp.int32(0))
        if run.checkpoint:
            state = from_flat(state, run.checkpoint)
        key = jax.random.key(run.config.seed % 2**32)  # without x64 a key takes 32 bits
        # the step donates the buffers of its state, so it must own them
        state, key = jax.device_put((state, key), recognizer.device, may_alias=False)
        step = jax.jit(
            partial(train_step, graphdef=recognizer.graphdef, loss_fn=recognizer.loss_fn, optimizer=optimizer),
            donate_argnums=0,
            compiler_options=COMPILER_OPTIONS,
        )

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            with recognizer.x64():
                state, loss = step(state, batch.arrays, key)
            recognizer.params, recognizer.statistics = state.params, state.statistics
            run.step_done(float(loss))
        run.epoch_done(recognizer, to_flat(state))


def to_flat(state: TrainState) -> dict[str, np.ndarray]:
    """Each leaf of the state as a NumPy array, under its path."""
    return {path_name(path): np.array(leaf) for path, leaf in jax.tree.leaves_with_path(state)}


def from_flat(state: TrainState, arrays: State) -> TrainState:
    """The state that `to_flat` took apart, in the structure of `state`."""
    return jax.tree.map_with_path(lambda path, _: jnp.asarray(arrays[path_name(path)]), state)


def path_name(path: tuple[Any, ...]) -> str:
    """Such as params/dense/0/kernel/value."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
