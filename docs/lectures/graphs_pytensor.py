"""The graph of PyTensor, the successor of Theano."""

# N examples, D inputs, O outputs

from __future__ import annotations

import os

os.environ.setdefault("PYTENSOR_FLAGS", "cxx=")  # no C compiler; read when PyTensor is imported

import networkx as nx
import numpy as np
import pytensor
from pytensor import tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor import TensorVariable

# each node runs as Python: not every machine has a C compiler, and numba takes longer than this whole page
MODE = Mode("py", "fast_run")


# --- sum of products
def sum_of_products(shape: tuple[int, ...]) -> tuple[list[TensorVariable], TensorVariable]:
    """Three inputs without values, and Σ(x·y + z)."""
    x, y, z = inputs = [pt.tensor(name, shape=shape, dtype="float64") for name in "xyz"]
    return inputs, (x * y + z).sum()


def gradients(*arrays: np.ndarray) -> list[np.ndarray]:
    """c and its three gradients."""
    inputs, c = sum_of_products(arrays[0].shape)
    return pytensor.function(inputs, [c, *pytensor.grad(c, inputs)], mode=MODE)(*arrays)


# --- read the graph
def read(function: FunctionGraph) -> nx.DiGraph:
    """Convert a graph of PyTensor."""
    graph = nx.DiGraph()
    for node in function.toposort():
        for variable in node.inputs:
            if variable.owner is None:
                graph.add_node(variable, label=variable.name or str(variable))
        # the parts of a composite operation on a second line
        graph.add_node(
            node, label=str(node.op).replace("{", "\n", 1).removesuffix("}").replace("axes=None", "all axes")
        )
        graph.add_edges_from((variable.owner or variable, node) for variable in node.inputs)
    return graph


# --- network
def network(weights: dict[str, np.ndarray], x_ND: np.ndarray, t_NO: np.ndarray) -> list[np.ndarray]:
    """The loss Σ(y - t)², then the gradient of each weight."""
    arrays = [*weights.values(), x_ND, t_NO]
    w1, b1, w2, b2, x, t = inputs = [pt.tensor(shape=array.shape, dtype="float64") for array in arrays]
    hidden_NH = pt.maximum(x @ w1 + b1, 0)
    loss = ((hidden_NH @ w2 + b2 - t) ** 2).sum()
    return pytensor.function(inputs, [loss, *pytensor.grad(loss, [w1, b1, w2, b2])], mode=MODE)(*arrays)
