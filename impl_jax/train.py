"""The training step and the loop around it, the same for every rung."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from common.config import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, MOMENTUM
from common.recognizer import State
from common.training.run import Run
from impl_jax.device import COMPILER_OPTIONS

if TYPE_CHECKING:
    from impl_jax.recognizer import JaxRecognizer


class TrainState(NamedTuple):
    """Everything that a step changes."""

    params: PyTree
    statistics: PyTree
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

    Compiled once per shape and optimizer, however many runs take it; so the learning rate is an argument.
    """

    def loss_of(params: PyTree) -> tuple[Float[Array, ""], PyTree]:
        # drawn from (seed, step) alone, so that a resumed run drops the same units
        rngs = nnx.Rngs(dropout=jax.random.fold_in(key, state.step))
        model = nnx.merge(graphdef, params, state.statistics, copy=True)
        loss = loss_fn(model, *batch, rngs)
        return loss, nnx.state(model, nnx.BatchStat)  # which the loss has moved

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, optax.tree.scale(rate, updates))
    return TrainState(params, statistics, opt_state, state.step + 1), loss


@cache  # the same object for the same arguments, which the compiled step is kept under
def make_optimizer(name: str, weight_decay: float, clip_norm: float) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with momentum, at a learning rate of 1, which the step multiplies."""
    if name == "adamw":
        optimizer = optax.adamw(
            1.0,
            ADAM_BETA1,
            ADAM_BETA2,
            ADAM_EPSILON,
            weight_decay=weight_decay,
            mask=lambda params: jax.tree.map(lambda w: w.ndim > 1, params),  # kernels, not biases
        )
    else:
        optimizer = optax.sgd(1.0, MOMENTUM)
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer) if clip_norm else optimizer


def fit(recognizer: JaxRecognizer, run: Run) -> None:
    """Train in place."""
    optimizer = make_optimizer(run.config.optimizer, run.config.weight_decay, run.config.clip_norm)
    with recognizer.x64():
        params = recognizer.params
        state = TrainState(params, recognizer.statistics, optimizer.init(params), jnp.int32(0))
        if run.checkpoint:
            state = from_flat(state, run.checkpoint)
        key = jax.random.key(run.config.seed % 2**32)  # without x64 a key takes 32 bits
        # the step donates the buffers of its state, so it must own them
        state, key = jax.device_put((state, key), recognizer.device, may_alias=False)
    step = partial(train_step, graphdef=recognizer.graphdef, loss_fn=recognizer.loss_fn, optimizer=optimizer)

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            rate = run.learning_rates_S[run.step]
            with recognizer.x64():
                state, loss = step(state, batch.arrays, rate, key)
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
