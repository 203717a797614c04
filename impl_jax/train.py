"""The training step and the loop around it, for every rung."""

# B batch, S training steps

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from common.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM
from common.recognizer import State, TrainingRun
from impl_jax.device import COMPILER_OPTIONS


class TrainState(NamedTuple):
    """Everything that a step changes."""

    params: PyTree
    statistics: PyTree
    """Of batch norm; they have no gradient."""
    opt_state: optax.OptState
    step: Int[Array, ""]


@partial(
    jax.jit,
    static_argnames=("graphdef", "loss_fn", "optimizer"),
    donate_argnames="state",
    compiler_options=COMPILER_OPTIONS,
)
def train_step(
    state: TrainState,
    batch: tuple[Array, ...],
    rate: Float[Array, ""],
    key: Key[Array, ""],
    *,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Float[Array, ""]]:
    """The next state, and the loss before the update. A pure function of its arguments.

    The learning rate is an argument, so that all runs share one compilation per optimizer and batch shape.
    """

    def loss_of(params: PyTree) -> tuple[Float[Array, ""], PyTree]:
        # drawn from (seed, step) alone, so that a resumed run drops the same units
        rngs = nnx.Rngs(dropout=jax.random.fold_in(key, state.step))
        model = nnx.merge(graphdef, params, state.statistics, copy=True)
        loss = loss_fn(model, *batch, rngs)
        return loss, nnx.state(model, nnx.BatchStat)  # moved by the forward pass

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    opt_state = optax.tree.set(state.opt_state, learning_rate=rate)
    updates, opt_state = optimizer.update(gradients, opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, statistics, opt_state, state.step + 1), loss


@cache  # one object per set of arguments, because jit compiles a step for each optimizer object
def make_optimizer(name: str, weight_decay: float, clip_norm: float) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with momentum. The state holds the learning rate, which each step sets."""

    def with_rate(learning_rate: Float[Array, ""]) -> optax.GradientTransformation:
        if name == "adamw":
            optimizer = optax.adamw(
                learning_rate,
                ADAM_BETA1,
                ADAM_BETA2,
                ADAM_EPSILON,
                weight_decay=weight_decay,
                mask=lambda params: jax.tree.map(lambda w: w.ndim > 1, params),  # kernels, not biases
            )
        else:
            optimizer = optax.sgd(learning_rate, MOMENTUM)
        return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer) if clip_norm else optimizer

    return optax.inject_hyperparams(with_rate)(learning_rate=0.0)


def fit(
    params: PyTree,
    statistics: PyTree,
    run: TrainingRun,
    *,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
    device: jax.Device,
) -> Iterator[TrainState]:
    """Train, and yield the state at the end of each epoch, and after each step with `run.look_due`.

    The next step donates the buffers of that state: copy what must outlive it.
    """
    optimizer = make_optimizer(run.config.optimizer, run.config.weight_decay, run.config.clip_norm)
    state = TrainState(params, statistics, optimizer.init(params), jnp.int32(0))
    if run.checkpoint:
        state = from_flat(state, run.checkpoint)
    key = jax.random.key(run.config.seed % 2**32)  # a key takes 32 bits where float64 is not enabled
    # copies, because the first step donates these buffers too, and `params` belong to the caller
    state, key = jax.device_put((state, key), device, may_alias=False)
    step = partial(train_step, graphdef=graphdef, loss_fn=loss_fn, optimizer=optimizer)

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            rate = run.learning_rates_S[run.step]
            state, loss = step(state, batch.arrays, rate, key)
            run.step_done(loss)  # still on the device: fetching it here would wait for the step
            if run.look_due:
                yield state
        yield state


def to_flat(state: TrainState) -> dict[str, np.ndarray]:
    """Each leaf of the state as a NumPy array, by its path."""
    return {path_name(path): np.array(leaf) for path, leaf in jax.tree.leaves_with_path(state)}


def from_flat(state: TrainState, arrays: State) -> TrainState:
    """The inverse of `to_flat`: `arrays` in the structure of `state`."""
    return jax.tree.map_with_path(lambda path, _: jnp.asarray(arrays[path_name(path)]), state)


def path_name(path: tuple[Any, ...]) -> str:
    """A name such as params/dense/0/kernel/value."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
