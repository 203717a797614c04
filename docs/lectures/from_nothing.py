"""A network from nothing: layers, their backwards, gradient descent and the gradient check, in NumPy alone.

Each backward is under its forward. A forward returns its output and the cache for its backward. `dx` is dLoss/dx.
"""

# N examples, D inputs, O outputs, H hidden units

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]
# weights, inputs (N, D), targets (N, O) -> the loss, and its gradient for each of the weights
LossAndGradients = Callable[[Weights, Array, Array], tuple[float, Weights]]


# --- linear
def linear(x_ND: Array, w_DO: Array, b_O: Array) -> tuple[Array, tuple]:
    """y = x · w + b, one row per example."""
    return x_ND @ w_DO + b_O, (x_ND, w_DO)


def linear_backward(dy_NO: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """dx, dw, db. Every example contributes to dw and db, so the contributions are summed."""
    x_ND, w_DO = cache
    return dy_NO @ w_DO.T, x_ND.T @ dy_NO, dy_NO.sum(axis=0)


# --- mean squared error
def mean_squared_error(y_NO: Array, t_NO: Array) -> tuple[float, Array]:
    """The mean of (y - t)² over all numbers. The cache is the error y - t."""
    error_NO = y_NO - t_NO
    return float((error_NO**2).mean()), error_NO


def mean_squared_error_backward(error_NO: Array) -> Array:
    """dy."""
    return 2 * error_NO / error_NO.size


# --- a line
def line(weights: Weights, x_ND: Array, t_NO: Array) -> tuple[float, Weights]:
    """Loss and gradients of one linear layer."""
    y_NO, linear_cache = linear(x_ND, weights["w"], weights["b"])
    loss, error_NO = mean_squared_error(y_NO, t_NO)

    dy_NO = mean_squared_error_backward(error_NO)
    _, dw, db = linear_backward(dy_NO, linear_cache)
    return loss, {"w": dw, "b": db}


# --- descend
def descend(
    loss_and_gradients: LossAndGradients,
    weights: Weights,
    x_ND: Array,
    t_NO: Array,
    *,
    rate: float,
    steps: int,
) -> Iterator[tuple[float, Weights]]:
    """Gradient descent: yields the loss and the weights before each update."""
    for _ in range(steps):
        loss, gradients = loss_and_gradients(weights, x_ND, t_NO)
        yield loss, weights
        weights = {name: weights[name] - rate * gradients[name] for name in weights}


# --- relu
def relu(x: Array) -> tuple[Array, Array]:
    """max(x, 0). The cache is the input."""
    return np.maximum(x, 0), x


def relu_backward(dy: Array, x: Array) -> Array:
    """dx. The derivative is one where x is positive, zero elsewhere."""
    return np.where(x > 0, dy, 0)


# --- network
def network(
    weights: Weights,
    x_ND: Array,
    t_NO: Array,
    relu_backward: Callable[[Array, Array], Array] = relu_backward,
) -> tuple[float, Weights]:
    """Loss and gradients of linear → ReLU → linear."""
    a_NH, first_cache = linear(x_ND, weights["w1"], weights["b1"])
    h_NH, relu_cache = relu(a_NH)
    y_NO, second_cache = linear(h_NH, weights["w2"], weights["b2"])
    loss, error_NO = mean_squared_error(y_NO, t_NO)

    dy_NO = mean_squared_error_backward(error_NO)
    dh_NH, dw2, db2 = linear_backward(dy_NO, second_cache)
    da_NH = relu_backward(dh_NH, relu_cache)
    _, dw1, db1 = linear_backward(da_NH, first_cache)
    return loss, {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}


def predict(weights: Weights, x_ND: Array) -> Array:
    """The output of the network."""
    hidden_NH, _ = relu(linear(x_ND, weights["w1"], weights["b1"])[0])
    return linear(hidden_NH, weights["w2"], weights["b2"])[0]


# --- start
def start_weights(inputs: int, hidden: int, outputs: int, seed: int) -> Weights:
    """Draw random weights. The scale of a layer depends on its inputs. Source: He et al. 2015.

    The first biases are random too. With zeros, every unit would bend at the origin.
    """
    rng = np.random.default_rng(seed)
    return {
        "w1": rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, hidden)),
        "b1": rng.normal(size=hidden),
        "w2": rng.normal(scale=np.sqrt(2 / hidden), size=(hidden, outputs)),
        "b2": np.zeros(outputs),
    }


# --- gradient check
def gradient_errors(
    loss_and_gradients: LossAndGradients,
    weights: Weights,
    x_ND: Array,
    t_NO: Array,
    step: float = 1e-6,
) -> dict[str, float]:
    """The relative distance (L2) of each gradient from central differences."""
    _, gradients = loss_and_gradients(weights, x_ND, t_NO)
    errors = {}
    for name, value in weights.items():
        slopes = np.empty_like(value)
        for index in np.ndindex(value.shape):
            nudge = np.zeros_like(value)
            nudge[index] = step
            above, _ = loss_and_gradients(weights | {name: value + nudge}, x_ND, t_NO)
            below, _ = loss_and_gradients(weights | {name: value - nudge}, x_ND, t_NO)
            slopes[index] = (above - below) / (2 * step)
        distance = np.linalg.norm(gradients[name] - slopes)
        errors[name] = float(distance / np.linalg.norm(slopes))
    return errors


# --- a wrong backward
def wrong_relu_backward(dy: Array, x: Array) -> Array:
    """The mistake: where x is positive, the derivative is x instead of one."""
    return np.where(x > 0, dy * x, 0)
