"""The network of `from_nothing.py` in JAX."""

# N examples, D inputs, O outputs

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Weights = dict[str, jax.Array]


# --- train
def loss_of(weights: Weights, x_ND: jax.Array, t_NO: jax.Array) -> jax.Array:
    """The loss. There is no backward to write."""
    hidden_NH = jax.nn.relu(x_ND @ weights["w1"] + weights["b1"])
    y_NO = hidden_NH @ weights["w2"] + weights["b2"]
    return jnp.mean((y_NO - t_NO) ** 2)


@jax.jit
def train_step(
    weights: Weights,
    x_ND: jax.Array,
    t_NO: jax.Array,
    rate: float,
) -> tuple[jax.Array, Weights]:
    """The loss, and the weights after the update. The old weights do not change."""
    loss, gradients = jax.value_and_grad(loss_of)(weights, x_ND, t_NO)
    return loss, jax.tree.map(lambda w, dw: w - rate * dw, weights, gradients)


def train(
    weights: dict[str, np.ndarray],
    x_ND: np.ndarray,
    t_NO: np.ndarray,
    *,
    rate: float,
    steps: int,
) -> list[float]:
    """The loss before each update."""
    losses = []
    with jax.enable_x64(True):  # without it, JAX converts float64 to float32
        for _ in range(steps):
            loss, weights = train_step(weights, x_ND, t_NO, rate)
            losses.append(float(loss))
    return losses
