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

from common.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM, RMSPROP_DECAY, RMSPROP_EPSILON
from common.recognizer import State, TrainingRun
from common.spec import Spec
from common.training.accumulate import micro_batches
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
    # drawn from (seed, step) alone, so that a resumed run drops the same units
    dropout_key = jax.random.fold_in(key, state.step)
    loss, statistics, gradients = gradients_of(state, batch, dropout_key, graphdef, loss_fn)
    return update(state._replace(statistics=statistics), gradients, rate, optimizer), loss


@partial(
    jax.jit,
    static_argnames=("graphdef", "loss_fn"),
    donate_argnames="total",
    compiler_options=COMPILER_OPTIONS,
)
def micro_step(
    state: TrainState,
    total: tuple[Float[Array, ""], PyTree, PyTree] | None,
    batch: tuple[Array, ...],
    share: Float[Array, ""],
    key: Key[Array, ""],
    part: Int[Array, ""],
    *,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Loss, statistics and gradients of a step, up to and including one of its micro-batches.

    Args:
        state: what the step starts from.
        total: the result for the micro-batches before; None for the first one.
        batch: the micro-batch.
        share: its share in the loss of the step, see `common.training.accumulate`.
        key: of the run.
        part: number of the micro-batch in the step, from 0.
        graphdef: the model without its arrays.
        loss_fn: the rung's loss.
    """
    dropout_key = jax.random.fold_in(jax.random.fold_in(key, state.step), part)
    before = state if total is None else state._replace(statistics=total[1])
    loss, statistics, gradients = gradients_of(before, batch, dropout_key, graphdef, loss_fn)
    loss, gradients = jax.tree.map(lambda x: x * share.astype(x.dtype), (loss, gradients))
    if total is not None:
        loss, gradients = jax.tree.map(jnp.add, (total[0], total[2]), (loss, gradients))
    return loss, statistics, gradients


@partial(jax.jit, static_argnames="optimizer", donate_argnames="state", compiler_options=COMPILER_OPTIONS)
def accumulated_update(
    state: TrainState,
    statistics: PyTree,
    gradients: PyTree,
    rate: Float[Array, ""],
    *,
    optimizer: optax.GradientTransformation,
) -> TrainState:
    """The next state, from the gradients that `micro_step` added up."""
    return update(state._replace(statistics=statistics), gradients, rate, optimizer)


def gradients_of(
    state: TrainState,
    batch: tuple[Array, ...],
    dropout_key: Key[Array, ""],
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Loss, running statistics and gradients of a batch."""

    def loss_of(params: PyTree) -> tuple[Float[Array, ""], PyTree]:
        model = nnx.merge(graphdef, params, state.statistics, copy=True)
        loss = loss_fn(model, *batch, nnx.Rngs(dropout=dropout_key))
        return loss, nnx.state(model, nnx.BatchStat)  # moved by the forward pass

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    return loss, statistics, gradients


def update(
    state: TrainState, gradients: PyTree, rate: Float[Array, ""], optimizer: optax.GradientTransformation
) -> TrainState:
    """The state after one update of the parameters."""
    opt_state = optax.tree.set(state.opt_state, learning_rate=rate)
    updates, opt_state = optimizer.update(gradients, opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, state.statistics, opt_state, state.step + 1)


@cache  # one object per set of arguments, because jit compiles a step for each optimizer object
def make_optimizer(name: str, weight_decay: float, clip_norm: float) -> optax.GradientTransformation:
    """Clipping, then the named optimizer. The state holds the learning rate, which each step sets."""

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
        elif name == "adam":
            optimizer = optax.adam(learning_rate, ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON)
        elif name == "rmsprop":  # by default, optax adds epsilon inside the root
            optimizer = optax.rmsprop(learning_rate, RMSPROP_DECAY, RMSPROP_EPSILON, eps_in_sqrt=False)
        else:
            optimizer = optax.sgd(learning_rate, MOMENTUM, nesterov=name == "sgd_nesterov")
        return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer) if clip_norm else optimizer

    return optax.inject_hyperparams(with_rate)(learning_rate=0.0)


def fit(
    params: PyTree,
    statistics: PyTree,
    run: TrainingRun,
    *,
    spec: Spec,
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
    part_step = partial(micro_step, graphdef=graphdef, loss_fn=loss_fn)

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            rate = run.learning_rates_S[run.step]
            if run.config.accumulate == 1:
                state, loss = step(state, batch.arrays, rate, key)
            else:
                total = None
                for i, (part, share) in enumerate(micro_batches(spec, batch, run.config.accumulate)):
                    total = part_step(state, total, part.arrays, jnp.asarray(share), key, jnp.int32(i))
                loss, statistics, gradients = total
                state = accumulated_update(state, statistics, gradients, rate, optimizer=optimizer)
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
