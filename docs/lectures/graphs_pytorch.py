"""The graphs of PyTorch: the one that a run builds, and those that FX records."""

# N examples, D inputs, O outputs

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import torch
from torch import Tensor, fx


# --- sum of products
def sum_of_products(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Σ(x·y + z)."""
    return (x * y + z).sum()


def gradients(*arrays: np.ndarray) -> list[np.ndarray]:
    """c and its three gradients."""
    inputs = [torch.tensor(array, requires_grad=True) for array in arrays]
    c = sum_of_products(*inputs)
    c.backward()
    return [c.detach().numpy(), *(tensor.grad.numpy() for tensor in inputs)]


# --- read grad_fn
def read_backward(result: Tensor, names: dict[Tensor, str]) -> nx.DiGraph:
    """Convert the graph behind `result.grad_fn`. Edges run like the gradients. `names`: leaf to name."""
    graph, waiting = nx.DiGraph(), [result.grad_fn]
    while waiting:
        function = waiting.pop()
        label = names[function.variable] if hasattr(function, "variable") else function.name()
        graph.add_node(function, label=label)
        for further, _ in function.next_functions:
            if further is not None:  # None: this input needs no gradient
                graph.add_edge(function, further)
                waiting.append(further)
    return graph


# --- read FX
def read_fx(traced: fx.Graph) -> nx.DiGraph:
    """Convert an FX graph."""
    graph = nx.DiGraph()
    for node in traced.nodes:
        called = node.target if isinstance(node.target, str) else node.target.__name__
        graph.add_node(node, label=called)
        graph.add_edges_from((used, node) for used in node.all_input_nodes)
    return graph


# --- network
def network(weights: dict[str, np.ndarray], x_ND: np.ndarray, t_NO: np.ndarray) -> list[np.ndarray]:
    """The loss Σ(y - t)², then the gradient of each weight."""
    inputs = [torch.tensor(value, requires_grad=True) for value in weights.values()]
    w1, b1, w2, b2 = inputs
    hidden_NH = torch.relu(torch.from_numpy(x_ND) @ w1 + b1)
    loss = ((hidden_NH @ w2 + b2 - torch.from_numpy(t_NO)) ** 2).sum()
    loss.backward()
    return [loss.detach().numpy(), *(tensor.grad.numpy() for tensor in inputs)]


# --- branch and loop
def branch(x: Tensor) -> Tensor:
    """Σx² if Σx is positive, else -Σx."""
    if x.sum() > 0:
        return (x * x).sum()
    return -x.sum()


def halve(x: Tensor) -> Tensor:
    """Halve x until its sum is at most one, then return Σx²."""
    while x.sum() > 1:
        x = x / 2
    return (x * x).sum()


# --- capture
class Collector:
    """A backend for `torch.compile` that compiles nothing. It keeps each graph, and runs it."""

    def __init__(self) -> None:
        self.graphs: list[fx.Graph] = []

    def __call__(self, module: fx.GraphModule, _example: list[Tensor]) -> Callable:
        self.graphs.append(module.graph)
        return module.forward


# --- tree
Tree = Tensor | tuple


def tree_value(tree: Tree, w: Tensor) -> Tensor:
    """A leaf is its own value. Two parts are joined by a linear layer w (2D, D) and tanh."""
    if isinstance(tree, tuple):
        return torch.tanh(torch.cat([tree_value(part, w) for part in tree]) @ w)
    return tree
