"""The graphs of TensorFlow: built once by hand and run in a session, or traced by `tf.function`."""

# N examples, D inputs, O outputs

from __future__ import annotations

import os

# both are read when TensorFlow is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN has no float64, and warns at each operation

from collections.abc import Iterable

import networkx as nx
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


# --- build
def build(shape: tuple[int, ...]) -> tf.Graph:
    """A graph as in 2015: placeholders, c, a counter and its update. Nothing is computed."""
    graph = tf.Graph()
    with graph.as_default():
        x, y, z = (v1.placeholder(tf.float64, shape, name=name) for name in "xyz")
        tf.reduce_sum(x * y + z, name="c")
        runs = v1.Variable(0, name="runs", use_resource=False)
        v1.assign_add(runs, 1, name="update")
    return graph


def add_gradients(graph: tf.Graph) -> None:
    """Add the gradients of c to the same graph."""
    with graph.as_default():
        c, *inputs = (graph.get_tensor_by_name(f"{name}:0") for name in "cxyz")
        for name, gradient in zip("xyz", v1.gradients(c, inputs), strict=True):
            tf.identity(gradient, name=f"d{name}")


# --- tf.function
@tf.function
def sum_of_products(x: tf.Tensor, y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Σ(x·y + z)."""
    return tf.reduce_sum(x * y + z)


def gradients(*arrays: np.ndarray) -> list[np.ndarray]:
    """c and its three gradients."""
    inputs = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        c = sum_of_products(*inputs)
    return [c.numpy(), *(gradient.numpy() for gradient in tape.gradient(c, inputs))]


# --- read the graph
def read(graph: tf.Graph, only: Iterable[tf.Operation] = ()) -> nx.DiGraph:
    """Convert a graph, or some of its operations."""
    kept = list(only) or graph.get_operations()
    found = nx.DiGraph()
    for operation in kept:
        found.add_node(operation, label=operation.name if operation.type == "Placeholder" else operation.type)
    for operation in kept:
        found.add_edges_from((used.op, operation) for used in operation.inputs if used.op in found)
    return found


# --- network
@tf.function
def network_loss(weights: dict[str, tf.Tensor], x_ND: tf.Tensor, t_NO: tf.Tensor) -> tf.Tensor:
    """Σ(y - t)² of linear → ReLU → linear."""
    hidden_NH = tf.nn.relu(x_ND @ weights["w1"] + weights["b1"])
    return tf.reduce_sum((hidden_NH @ weights["w2"] + weights["b2"] - t_NO) ** 2)


def network(weights: dict[str, np.ndarray], x_ND: np.ndarray, t_NO: np.ndarray) -> list[np.ndarray]:
    """The loss, then the gradient of each weight."""
    variables = {name: tf.Variable(value) for name, value in weights.items()}
    with tf.GradientTape() as tape:
        loss = network_loss(variables, tf.constant(x_ND), tf.constant(t_NO))
    return [loss.numpy(), *(gradient.numpy() for gradient in tape.gradient(loss, list(variables.values())))]


# --- branch and loop
def plain_branch(x: tf.Tensor) -> tf.Tensor:
    """Python's `if`."""
    if tf.reduce_sum(x) > 0:
        return tf.reduce_sum(x * x)
    return -tf.reduce_sum(x)


def branch(x: tf.Tensor) -> tf.Tensor:
    """Both branches are built. One runs."""
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.reduce_sum(x * x), lambda: -tf.reduce_sum(x))


def halve(x: tf.Tensor) -> tf.Tensor:
    """The loop is one operation of the graph."""
    (x,) = tf.while_loop(lambda x: tf.reduce_sum(x) > 1, lambda x: (x / 2,), (x,))
    return tf.reduce_sum(x * x)
