"""A tape written by hand in NumPy, and one drawing function for the graphs of all frameworks.

A graph is a `networkx.DiGraph`. Its nodes have a `label`. Its edges run in the direction of values or of gradients.
"""

# N examples, D inputs, H hidden units, O outputs

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import groupby

import networkx as nx
import numpy as np
from matplotlib.axes import Axes

Array = np.ndarray
Weights = dict[str, Array]
# x, y, z or the network's weights and data -> a number, then its gradients
Gradients = list[Array]
# the gradient of a result -> that of an input
Backward = Callable[[Array], Array]


# --- tape
@dataclass(eq=False)  # two variables with equal values are still two
class Variable:
    """A value on a tape."""

    value: Array
    name: str = ""


class Tape:
    """Records each operation when it runs, with a backward function per input."""

    def __init__(self) -> None:
        self.lines: list[tuple[Variable, tuple[tuple[Variable, Backward], ...]]] = []

    def write(self, name: str, value: Array, *inputs: tuple[Variable, Backward]) -> Variable:
        result = Variable(value, name)
        self.lines.append((result, inputs))
        return result

    def multiply(self, a: Variable, b: Variable) -> Variable:
        y = a.value * b.value
        return self.write("multiply", y, (a, lambda d: d * b.value), (b, lambda d: d * a.value))

    def add(self, a: Variable, b: Variable) -> Variable:
        return self.write("add", a.value + b.value, (a, lambda d: d), (b, lambda d: d))

    def sum(self, a: Variable) -> Variable:
        return self.write("sum", a.value.sum(), (a, lambda d: np.broadcast_to(d, a.value.shape)))

    def gradients(self, result: Variable, of: list[Variable]) -> Gradients:
        """Read the tape backwards. The gradients that a variable gets from several operations are added."""
        d = {result: np.ones_like(result.value)}
        for output, inputs in reversed(self.lines):
            if output in d:  # else the result does not depend on it
                for variable, backward in inputs:
                    d[variable] = d.get(variable, 0) + backward(d[output])
        return [d[variable] for variable in of]


# --- sum of products
def sum_of_products(tape: Tape, x: Variable, y: Variable, z: Variable) -> Variable:
    """Σ(x·y + z)."""
    return tape.sum(tape.add(tape.multiply(x, y), z))


# --- operations of a network
class NetworkTape(Tape):
    """A tape with three more operations, enough for two layers and a squared error."""

    def matmul(self, a: Variable, b: Variable) -> Variable:
        y = a.value @ b.value
        return self.write("matmul", y, (a, lambda d: d @ b.value.T), (b, lambda d: a.value.T @ d))

    def add_rows(self, a: Variable, row: Variable) -> Variable:
        """Add `row` to each row of `a`. Its gradient is the sum over the rows."""
        y = a.value + row.value
        return self.write("add rows", y, (a, lambda d: d), (row, lambda d: d.sum(axis=0)))

    def relu(self, a: Variable) -> Variable:
        y = np.maximum(a.value, 0)
        return self.write("relu", y, (a, lambda d: np.where(a.value > 0, d, 0)))


# --- network
def network(weights: Weights, x_ND: Array, t_NO: Array) -> Gradients:
    """Loss Σ(y - t)² of linear → ReLU → linear, then the gradient of each weight."""
    tape = NetworkTape()
    variables = {name: Variable(value, name) for name, value in weights.items()}
    hidden_NH = tape.matmul(Variable(x_ND), variables["w1"])
    hidden_NH = tape.relu(tape.add_rows(hidden_NH, variables["b1"]))
    y_NO = tape.add_rows(tape.matmul(hidden_NH, variables["w2"]), variables["b2"])
    error_NO = tape.add(y_NO, Variable(-t_NO))
    loss = tape.sum(tape.multiply(error_NO, error_NO))
    return [loss.value, *tape.gradients(loss, list(variables.values()))]


def start_weights(inputs: int, hidden: int, outputs: int, seed: int) -> Weights:
    """Draw random weights, also for the biases."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (inputs, hidden), "b1": hidden, "w2": (hidden, outputs), "b2": outputs}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


# --- read the tape
def read(tape: Tape) -> nx.DiGraph:
    """Convert a tape to a graph, with an edge from each input to the operation that uses it."""
    graph = nx.DiGraph()
    for output, inputs in tape.lines:
        for variable, _ in inputs:
            graph.add_node(variable, label=variable.name)
            graph.add_edge(variable, output)
        graph.add_node(output, label=output.name)
    return graph


# --- draw
def places(graph: nx.DiGraph) -> dict:
    """Positions of the nodes: each directly above the first node that uses it, near the middle of all that do."""
    row: dict = {}
    for node in reversed(list(nx.topological_sort(graph))):
        row[node] = 1 + max((row[user] for user in graph.successors(node)), default=-1)
    found: dict = {}
    for height, nodes in groupby(sorted(graph, key=row.get), key=row.get):
        # as far right as the nodes that use it; nodes of one operation in the order of its inputs
        wish = {
            node: (
                float(np.mean([found[user][0] for user in graph.successors(node)] or [0.0])),
                max((list(graph.predecessors(user)).index(node) for user in graph.successors(node)), default=0),
            )
            for node in nodes
        }
        line, x = {}, -np.inf
        for node in sorted(wish, key=wish.get):
            line[node] = x = max(wish[node][0], x + 1)
        shift = np.mean([middle for middle, _ in wish.values()]) - np.mean(list(line.values()))
        found |= {node: (x + shift, height) for node, x in line.items()}
    return found


def draw(
    graph: nx.DiGraph, axes: Axes, title: str, *, given: Collection | None = None, asleep: Collection = ()
) -> None:
    """Draw boxes and arrows, inputs at the top.

    `given`: nodes drawn in blue; by default those without a predecessor. `asleep`: nodes that do not run, dashed.
    """
    place = places(graph)
    given = [node for node in graph if not graph.pred[node]] if given is None else given
    half = {node: 9 + 5 * label.count("\n") for node, label in graph.nodes(data="label")}  # of a box, points
    for start, end in graph.edges:
        look = {"color": "grey", "linestyle": "--"} if end in asleep else {"color": "black"}
        arrow = {"arrowstyle": "->", "shrinkA": half[start], "shrinkB": half[end], "linewidth": 1, **look}
        if place[start][1] - place[end][1] > 2:  # curve around the nodes in between
            arrow["connectionstyle"] = "arc3,rad=-0.65"
        axes.annotate("", place[end], place[start], arrowprops=arrow)
    for node, label in graph.nodes(data="label"):
        box = {"boxstyle": "round", "facecolor": "#cce3f2" if node in given else "white"}
        box |= {"edgecolor": "grey", "linestyle": "--"} if node in asleep else {"edgecolor": "black"}
        axes.text(*place[node], label, ha="center", va="center", fontsize=9, bbox=box)
    across, height = np.array(list(place.values())).T
    axes.set(xlim=(across.min() - 0.7, across.max() + 0.7), ylim=(height.min() - 0.5, height.max() + 0.5))
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def operations(graph: nx.DiGraph) -> list[str]:
    """Labels of the operations, in an order in which they can run. Inputs are left out."""
    return [graph.nodes[node]["label"] for node in nx.topological_sort(graph) if graph.pred[node]]
