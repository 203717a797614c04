"""The two-layer network in a session, as in the TensorFlow of 2015: fed weights, variables, an optimizer, layers."""

# N examples, D inputs, H hidden units, O outputs

from __future__ import annotations

import time

import numpy as np
from graphs import network
from graphs_tensorflow import tf, v1

Arrays = dict[str, np.ndarray]


# --- loss
def loss_of(x_ND: tf.Tensor, t_NO: tf.Tensor, weights: list) -> tf.Tensor:
    """Add Σ(y - t)² of linear → ReLU → linear to the graph."""
    w1, b1, w2, b2 = weights
    hidden_NH = tf.nn.relu(x_ND @ w1 + b1)
    return tf.reduce_sum((hidden_NH @ w2 + b2 - t_NO) ** 2, name="loss")


def placeholders(weights: Arrays) -> list[tf.Tensor]:
    """Add inputs (N, D) and targets (N, O) to the graph, for any number of examples."""
    sizes = {"x": len(weights["w1"]), "t": len(weights["b2"])}
    return [v1.placeholder(tf.float64, (None, size), name=name) for name, size in sizes.items()]


# --- fed weights
def with_fed_weights(weights: Arrays, rate: float) -> tf.Graph:
    """Build a graph whose operations `new_w1`, `new_b1` ... return the updated weights."""
    graph = tf.Graph()
    with graph.as_default():
        x_ND, t_NO = placeholders(weights)
        old = [v1.placeholder(tf.float64, array.shape, name) for name, array in weights.items()]
        gradients = v1.gradients(loss_of(x_ND, t_NO, old), old)
        for name, weight, gradient in zip(weights, old, gradients, strict=True):
            tf.subtract(weight, rate * gradient, name=f"new_{name}")
    return graph


# --- variables
def with_variables(weights: Arrays, rate: float) -> tf.Graph:
    """Build a graph whose operations `update_w1`, `update_b1` ... change the variables."""
    graph = tf.Graph()
    with graph.as_default():
        x_ND, t_NO = placeholders(weights)
        variables = [v1.get_variable(name, initializer=array) for name, array in weights.items()]
        gradients = v1.gradients(loss_of(x_ND, t_NO, variables), variables)
        for name, variable, gradient in zip(weights, variables, gradients, strict=True):
            variable.assign_sub(rate * gradient, name=f"update_{name}", read_value=False)
        v1.global_variables_initializer()  # adds the operation `init`
    return graph


# --- group
def grouped(weights: Arrays, rate: float) -> tf.Graph:
    """Add the operation `train`, which waits for all four updates."""
    graph = with_variables(weights, rate)
    with graph.as_default():
        updates = [graph.get_operation_by_name(f"update_{name}") for name in weights]
        tf.group(*updates, name="train")
    return graph


# --- minimize
def minimized(weights: Arrays, rate: float) -> tf.Graph:
    """Let an optimizer add gradients, updates and `train`."""
    graph = tf.Graph()
    with graph.as_default():
        x_ND, t_NO = placeholders(weights)
        variables = [v1.get_variable(name, initializer=array) for name, array in weights.items()]
        descend(loss_of(x_ND, t_NO, variables), rate)
    return graph


def descend(loss: tf.Tensor, rate: float) -> None:
    """Add what minimizes the loss, over all variables of the graph."""
    rate = tf.constant(rate, tf.float64)  # a Python float would become a float32
    v1.train.GradientDescentOptimizer(rate).minimize(loss, name="train")
    v1.global_variables_initializer()


# --- layers
def layered(weights: Arrays, rate: float) -> tf.Graph:
    """Build the graph of `minimized` without naming a variable."""
    graph = tf.Graph()
    with graph.as_default():
        x_ND, t_NO = placeholders(weights)
        hidden_NH = tf.nn.relu(dense(x_ND, weights["w1"], weights["b1"], "hidden"))
        y_NO = dense(hidden_NH, weights["w2"], weights["b2"], "output")
        descend(tf.reduce_sum((y_NO - t_NO) ** 2, name="loss"), rate)
    return graph


def dense(x_ND: tf.Tensor, kernel_DO: np.ndarray, bias_O: np.ndarray, name: str) -> tf.Tensor:
    """Add a linear layer with variables of its own, which start from the given arrays."""
    with v1.variable_scope(name):
        kernel = v1.get_variable("kernel", initializer=kernel_DO)
        return x_ND @ kernel + v1.get_variable("bias", initializer=bias_O)


# --- run
def losses_of_fed(weights: Arrays, data: Arrays, rate: float, steps: int) -> tuple[list[float], float]:
    """Train with fed weights. Return the loss before each update, and the fastest step in ms."""
    found, milliseconds = [], []
    fetches = ["loss:0", *(f"new_{name}:0" for name in weights)]
    with v1.Session(graph=with_fed_weights(weights, rate)) as session:
        for _ in range(steps):
            start = time.perf_counter()
            feed = {f"{name}:0": array for name, array in (weights | data).items()}
            loss, *updated = session.run(fetches, feed)
            weights = dict(zip(weights, updated, strict=True))
            milliseconds.append(1000 * (time.perf_counter() - start))
            found.append(float(loss))
    return found, min(milliseconds)


def losses(graph: tf.Graph, fetches: list[str], data: Arrays, steps: int) -> tuple[list[float], float]:
    """Run `fetches`, the loss first, `steps` times. Return the losses, and the fastest run in ms."""
    found, milliseconds = [], []
    with v1.Session(graph=graph) as session:
        session.run("init")
        for _ in range(steps):
            start = time.perf_counter()
            loss, *_ = session.run(fetches, {f"{name}:0": array for name, array in data.items()})
            milliseconds.append(1000 * (time.perf_counter() - start))
            found.append(float(loss))
    return found, min(milliseconds)


# --- by hand
def losses_by_hand(weights: Arrays, data: Arrays, rate: float, steps: int) -> list[float]:
    """Train with the gradients of the tape. Return the loss before each update."""
    found = []
    for _ in range(steps):
        loss, *gradients = network(weights, data["x"], data["t"])
        pairs = zip(weights.items(), gradients, strict=True)
        weights = {name: array - rate * gradient for (name, array), gradient in pairs}
        found.append(float(loss))
    return found
