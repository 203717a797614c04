"""The dense network in JAX: `grad`, pytrees, `flax.nnx`, optax, `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from layer_by_layer import Digits, Plan, Weights


# --- grad
def loss_of_arrays(
    w1: jax.Array, b1: jax.Array, w2: jax.Array, b2: jax.Array, xb: jax.Array, tb: jax.Array
) -> jax.Array:
    """Mean cross-entropy; the weights are arrays."""
    hidden = jax.nn.relu(xb @ w1 + b1)
    log_p = jax.nn.log_softmax(hidden @ w2 + b2)
    return -log_p[jnp.arange(len(tb)), tb].mean()


def grad(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. JAX has gradients and functions."""
    w1, b1, w2, b2 = map(jnp.asarray, start.values())
    loss_and_gradients = jax.value_and_grad(loss_of_arrays, argnums=(0, 1, 2, 3))
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            loss, (dw1, db1, dw2, db2) = loss_and_gradients(w1, b1, w2, b2, xb, tb)
            w1 = w1 - plan.rate * dw1
            b1 = b1 - plan.rate * db1
            w2 = w2 - plan.rate * dw2
            b2 = b2 - plan.rate * db2
            losses.append(float(loss))
    return losses


# --- pytrees
def loss_of_tree(weights: dict[str, jax.Array], xb: jax.Array, tb: jax.Array) -> jax.Array:
    """Mean cross-entropy; the weights are a dictionary."""
    hidden = jax.nn.relu(xb @ weights["w1"] + weights["b1"])
    log_p = jax.nn.log_softmax(hidden @ weights["w2"] + weights["b2"])
    return -log_p[jnp.arange(len(tb)), tb].mean()


def pytrees(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. JAX goes through the tree of weights."""
    weights = jax.tree.map(jnp.asarray, start)
    loss_and_gradients = jax.value_and_grad(loss_of_tree)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            loss, gradients = loss_and_gradients(weights, xb, tb)
            weights = jax.tree.map(lambda w, dw: w - plan.rate * dw, weights, gradients)
            losses.append(float(loss))
    return losses


# --- network
class Net(nnx.Module):
    """Linear → ReLU → linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(inputs, hidden, rngs=rngs)
        self.output = nnx.Linear(hidden, outputs, rngs=rngs)

    def __call__(self, xb: jax.Array) -> jax.Array:
        return self.output(nnx.relu(self.hidden(xb)))


# --- same start
def net_from(start: Weights) -> Net:
    """A `Net` with the given weights."""
    (inputs, hidden), outputs = start["w1"].shape, len(start["b2"])
    model = Net(inputs, hidden, outputs, rngs=nnx.Rngs(0))
    for number, layer in enumerate((model.hidden, model.output), 1):
        layer.kernel.set_value(jnp.asarray(start[f"w{number}"]))
        layer.bias.set_value(jnp.asarray(start[f"b{number}"]))
    return model


# --- module
def loss_of_log_p(model: Net, xb: jax.Array, tb: jax.Array) -> jax.Array:
    """Mean cross-entropy; the weights are in a module."""
    log_p = jax.nn.log_softmax(model(xb))
    return -log_p[jnp.arange(len(tb)), tb].mean()


def module(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. Flax keeps the parameters."""
    model = net_from(start)
    loss_and_gradients = nnx.value_and_grad(loss_of_log_p)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            loss, gradients = loss_and_gradients(model, xb, tb)
            weights = nnx.state(model, nnx.Param)
            nnx.update(model, jax.tree.map(lambda w, dw: w - plan.rate * dw, weights, gradients))
            losses.append(float(loss))
    return losses


# --- loss
def loss_of(model: Net, xb: jax.Array, tb: jax.Array) -> jax.Array:
    """Mean cross-entropy; optax has the loss."""
    return optax.softmax_cross_entropy_with_integer_labels(model(xb), tb).mean()


# --- optax
def with_optax(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. Optax updates."""
    model = net_from(start)
    optimizer = nnx.Optimizer(model, optax.sgd(plan.rate), wrt=nnx.Param)
    loss_and_gradients = nnx.value_and_grad(loss_of)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            loss, gradients = loss_and_gradients(model, xb, tb)
            optimizer.update(model, gradients)
            losses.append(float(loss))
    return losses


# --- jit
@nnx.jit
def train_step(model: Net, optimizer: nnx.Optimizer, xb: jax.Array, tb: jax.Array) -> jax.Array:
    """Return the loss. Model and optimizer change in place."""
    loss, gradients = nnx.value_and_grad(loss_of)(model, xb, tb)
    optimizer.update(model, gradients)
    return loss


def jit(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. XLA compiles the step."""
    model = net_from(start)
    optimizer = nnx.Optimizer(model, optax.sgd(plan.rate), wrt=nnx.Param)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(digits.x), plan.batch):
            xb, tb = digits.x[first : first + plan.batch], digits.t[first : first + plan.batch]
            losses.append(float(train_step(model, optimizer, xb, tb)))
    return losses
