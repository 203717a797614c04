"""The graphs of JAX: the jaxpr of a trace, and the HLO that XLA compiles."""

# N examples, D inputs, O outputs

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jax import Array, lax


# --- sum of products
def sum_of_products(x: Array, y: Array, z: Array) -> Array:
    """Σ(x·y + z)."""
    return (x * y + z).sum()


def gradients(*arrays: np.ndarray) -> list[np.ndarray]:
    """c and its three gradients."""
    c, found = jax.jit(jax.value_and_grad(sum_of_products, argnums=(0, 1, 2)))(*arrays)
    return [np.asarray(c), *map(np.asarray, found)]


# --- what the function sees
def what_the_function_sees(*arrays: np.ndarray) -> dict[str, str]:
    """What `if` sees of c inside the function: called as it is, by `grad` and by `jit`."""
    seen: list[str] = []

    def noting(x: Array, y: Array, z: Array) -> Array:
        c = sum_of_products(x, y, z)
        try:
            seen.append("positive" if c > 0 else "negative")
        except jax.errors.TracerBoolConversionError:
            seen.append("no value")
        return c

    inputs = [jnp.asarray(array) for array in arrays]  # else NumPy computes
    callers = {"as it is": noting, "grad": jax.grad(noting), "jit": jax.jit(noting)}
    for call in callers.values():
        call(*inputs)
    return dict(zip(callers, seen, strict=True))


# --- read the jaxpr
def read_jaxpr(jaxpr: jax.extend.core.Jaxpr, names: str) -> nx.DiGraph:
    """Convert a jaxpr to a graph. `names`: one letter per input."""
    graph, maker = nx.DiGraph(), {}
    for variable, name in zip(jaxpr.invars, names, strict=True):
        maker[variable] = name
        graph.add_node(name, label=name)
    for number, equation in enumerate(jaxpr.eqns):
        graph.add_node(number, label=equation.primitive.name)
        # literals, such as the 1.0 in x * 1.0, are not variables
        graph.add_edges_from((maker[used], number) for used in equation.invars if not hasattr(used, "val"))
        maker |= dict.fromkeys(equation.outvars, number)
    return graph


# --- read the HLO
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%?(\S+) = (?:\(.*?\)|\S+) ([\w-]+)\((.*?)\)(?:,|$)", re.MULTILINE)


def read_hlo(text: str) -> nx.DiGraph:
    """Convert the entry computation of an HLO text to a graph."""
    entry = re.search(r"^ENTRY .*?^}", text, re.MULTILINE | re.DOTALL)
    graph = nx.DiGraph()
    for name, operation, used in _INSTRUCTION.findall(re.sub(r"/\*.*?\*/", "", entry[0])):
        graph.add_node(name, label=name.split(".")[0] if operation == "parameter" else operation)
        graph.add_edges_from((other, name) for other in re.findall(r"[\w.-]+", used) if other in graph)
    return graph


def hlo(function: object, *arguments: object) -> tuple[str, str]:
    """HLO text of a jitted function, as traced and as compiled."""
    lowered = jax.jit(function).lower(*arguments)
    return lowered.compiler_ir(dialect="hlo").as_hlo_text(), lowered.compile().as_text()


# --- network
def network_loss(weights: dict[str, Array], x_ND: Array, t_NO: Array) -> Array:
    """Σ(y - t)² of linear → ReLU → linear."""
    hidden_NH = jax.nn.relu(x_ND @ weights["w1"] + weights["b1"])
    return ((hidden_NH @ weights["w2"] + weights["b2"] - t_NO) ** 2).sum()


def network(weights: dict[str, np.ndarray], x_ND: np.ndarray, t_NO: np.ndarray) -> list[np.ndarray]:
    """The loss, then the gradient of each weight."""
    loss, found = jax.jit(jax.value_and_grad(network_loss))(weights, x_ND, t_NO)
    return [np.asarray(loss), *(np.asarray(found[name]) for name in weights)]


# --- branch and loop
def plain_branch(x: Array) -> Array:
    """Python's `if`."""
    if x.sum() > 0:
        return (x * x).sum()
    return -x.sum()


def branch(x: Array) -> Array:
    """Both branches are in the jaxpr. One runs."""
    return lax.cond(x.sum() > 0, lambda x: (x * x).sum(), lambda x: -x.sum(), x)


def halve(x: Array) -> Array:
    """The number of rounds depends on x."""
    x = lax.while_loop(lambda x: x.sum() > 1, lambda x: x / 2, x)
    return (x * x).sum()


# --- scan
def halve_within(x: Array, rounds: int) -> Array:
    """A fixed number of rounds. Spare rounds leave x unchanged."""
    x, _ = lax.scan(lambda x, _: (jnp.where(x.sum() > 1, x / 2, x), None), x, length=rounds)
    return (x * x).sum()


# --- tree
Tree = Array | tuple


def tree_value(tree: Tree, w: Array) -> Array:
    """A leaf is its own value. Two parts are joined by a linear layer w (2D, D) and tanh."""
    if isinstance(tree, tuple):
        return jnp.tanh(jnp.concatenate([tree_value(part, w) for part in tree]) @ w)
    return tree
