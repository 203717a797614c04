"""Tests of the lecture on graphs: equal gradients, the nodes of each graph, and what follows from the difference."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import networkx as nx
import numpy as np
import pytest
from graphs import (
    Array,
    NetworkTape,
    Tape,
    Variable,
    draw,
    network,
    operations,
    places,
    read,
    start_weights,
    sum_of_products,
)
from matplotlib.figure import Figure

NEEDS = {"pytorch": "torch", "tensorflow": "tensorflow", "jax": "jax", "pytensor": "pytensor"}
FRAMEWORKS = pytest.mark.parametrize("framework", NEEDS)


def _module(framework: str) -> ModuleType:
    pytest.importorskip(NEEDS[framework])
    return importlib.import_module(f"graphs_{framework}")


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Give JAX float64, like the others."""
    try:
        import jax
    except ImportError:
        yield
    else:
        with jax.enable_x64(True):
            yield


def _inputs(seed: int = 1) -> list[Array]:
    return list(np.random.default_rng(seed).normal(size=(3, 2, 3)))


def _on_tape(tape: Tape) -> tuple[list[Variable], Variable]:
    inputs = [Variable(array, name) for array, name in zip(_inputs(), "xyz", strict=True)]
    return inputs, sum_of_products(tape, *inputs)


def test_tape_has_the_gradients_of_the_closed_form() -> None:
    tape = Tape()
    inputs, c = _on_tape(tape)
    x, y, z = _inputs()
    assert c.value == pytest.approx((x * y).sum() + z.sum())
    for found, expected in zip(tape.gradients(c, inputs), [y, x, np.ones_like(z)], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_tape_adds_the_gradients_of_a_variable_that_is_used_twice() -> None:
    tape, x = Tape(), Variable(np.array([1.0, 2.0, 5.0]))
    y = tape.sum(tape.add(tape.multiply(x, x), x))  # x² + x
    np.testing.assert_array_equal(tape.gradients(y, [x])[0], [3, 5, 11])


def test_tape_ignores_operations_after_the_result() -> None:
    tape, x = Tape(), Variable(np.array([3.0]))
    y = tape.multiply(x, x)
    tape.multiply(y, y)
    assert tape.gradients(y, [x]) == [6]


def test_network_on_the_tape_has_the_gradients_of_central_differences() -> None:
    rng = np.random.default_rng(2)
    weights, x, t = start_weights(3, 5, 2, seed=3), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    _, *gradients = network(weights, x, t)
    for (name, value), gradient in zip(weights.items(), gradients, strict=True):
        for index in np.ndindex(value.shape):
            nudge = np.zeros_like(value)
            nudge[index] = 1e-6
            above, below = (network(weights | {name: value + sign * nudge}, x, t)[0] for sign in (1, -1))
            assert gradient[index] == pytest.approx((above - below) / 2e-6, rel=1e-6, abs=1e-7), (name, index)


@FRAMEWORKS
def test_sum_of_products_has_the_gradients_of_the_tape(framework: str) -> None:
    tape = Tape()
    inputs, c = _on_tape(tape)
    expected = [c.value, *tape.gradients(c, inputs)]
    for one, other in zip(_module(framework).gradients(*_inputs()), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=0)


@FRAMEWORKS
def test_network_has_the_gradients_of_the_tape(framework: str) -> None:
    rng = np.random.default_rng(2)
    weights, x, t = start_weights(3, 5, 2, seed=3), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    for one, other in zip(_module(framework).network(weights, x, t), network(weights, x, t), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_tape_converts_to_three_operations_on_three_inputs() -> None:
    tape = Tape()
    inputs, c = _on_tape(tape)
    graph = read(tape)
    assert operations(graph) == ["multiply", "add", "sum"]
    assert nx.ancestors(graph, c) == {*inputs, *graph} - {c}


def test_network_tape_records_each_operation_once() -> None:
    tape, x = NetworkTape(), Variable(np.ones((2, 3)), "x")
    tape.relu(tape.add_rows(tape.matmul(x, Variable(np.ones((3, 4)), "w")), Variable(np.ones(4), "b")))
    assert operations(read(tape)) == ["matmul", "add rows", "relu"]


def test_drawing_puts_inputs_above_their_users_and_no_two_nodes_on_one_spot() -> None:
    graph = nx.DiGraph([("x", "m"), ("y", "m"), ("m", "a"), ("z", "a"), ("a", "s"), ("x", "s")])
    place = places(graph)
    assert all(place[start][1] > place[end][1] for start, end in graph.edges)
    assert place["z"][1] == place["m"][1]
    for one in graph:
        for other in set(graph) - {one}:
            assert place[one][1] != place[other][1] or abs(place[one][0] - place[other][0]) >= 1 - 1e-9


def test_drawing_has_a_box_per_node_and_dashes_for_nodes_that_do_not_run() -> None:
    graph = nx.DiGraph([("x", "m"), ("m", "a"), ("u", "v")])
    nx.set_node_attributes(graph, {node: node.upper() for node in graph}, "label")
    axes = Figure().add_subplot()
    draw(graph, axes, "title", asleep={"u", "v"})
    boxes = {text.get_text(): text.get_bbox_patch() for text in axes.texts if text.get_text()}
    assert boxes.keys() == set("XMAUV")
    assert {label for label, box in boxes.items() if box.get_linestyle() == "--"} == set("UV")
    white = boxes["M"].get_facecolor()
    assert {label for label, box in boxes.items() if box.get_facecolor() != white} == set("XU")


def test_grad_fn_leads_from_the_result_to_the_leaves() -> None:
    torch, module = pytest.importorskip("torch"), _module("pytorch")
    names = {torch.tensor(array, requires_grad=True): name for array, name in zip(_inputs(), "xyz", strict=True)}
    graph = module.read_backward(module.sum_of_products(*names), names)
    labels = [graph.nodes[node]["label"] for node in nx.topological_sort(graph)]
    assert labels[:2] == ["SumBackward0", "AddBackward0"]
    assert {label for label in labels if len(label) == 1} == set("xyz")


def test_fx_records_placeholders_operations_and_output() -> None:
    fx, module = pytest.importorskip("torch.fx"), _module("pytorch")
    graph = module.read_fx(fx.symbolic_trace(module.sum_of_products).graph)
    assert operations(graph) == ["mul", "add", "sum", "output"]


def test_fx_cannot_trace_a_branch_on_a_value() -> None:
    fx, module = pytest.importorskip("torch.fx"), _module("pytorch")
    with pytest.raises(fx.proxy.TraceError, match="control flow"):
        fx.symbolic_trace(module.branch)


def test_dynamo_breaks_the_graph_at_a_branch_on_a_value() -> None:
    torch, module = pytest.importorskip("torch"), _module("pytorch")
    straight, broken = module.Collector(), module.Collector()
    torch.compile(module.sum_of_products, backend=straight)(*map(torch.tensor, _inputs()))
    assert len(straight.graphs) == 1
    compiled = torch.compile(module.branch, backend=broken)
    assert compiled(torch.ones(3)) == 3
    assert len(broken.graphs) == 2  # the condition, and the branch that was taken
    assert compiled(-torch.ones(3)) == 3
    assert len(broken.graphs) == 3


def test_session_runs_only_what_the_program_asks_for() -> None:
    module = _module("tensorflow")
    graph = module.build((2, 3))
    module.add_gradients(graph)
    x, y, z = _inputs()
    with module.v1.Session(graph=graph) as session:
        session.run("runs/Assign")
        given = dict(zip(["x:0", "y:0", "z:0"], (x, y, z), strict=True))
        c, dx = session.run(["c:0", "dx:0"], given)
        assert c == pytest.approx((x * y + z).sum())
        np.testing.assert_array_equal(dx, y)
        assert session.run("runs:0") == 0
        session.run(["c:0", "update:0"], given)
        assert session.run("runs:0") == 1


def test_no_path_leads_from_the_update_to_the_result() -> None:
    module = _module("tensorflow")
    graph = module.build((2, 3))
    awake = nx.ancestors(module.read(graph), graph.get_operation_by_name("c"))
    assert {operation.name for operation in awake} >= {"x", "y", "z", "mul", "add"}
    assert graph.get_operation_by_name("update") not in awake


def test_jaxpr_and_hlo_hold_the_three_operations() -> None:
    jax, module = pytest.importorskip("jax"), _module("jax")
    traced = jax.make_jaxpr(module.sum_of_products)(*_inputs())
    assert operations(module.read_jaxpr(traced.jaxpr, "xyz")) == ["mul", "add", "reduce_sum"]
    before, after = (module.read_hlo(text) for text in module.hlo(module.sum_of_products, *_inputs()))
    assert {"multiply", "add", "reduce"} <= set(operations(before))
    assert len(operations(after)) < len(operations(before))


def test_pytensor_fuses_multiplication_and_addition() -> None:
    module = _module("pytensor")
    inputs, c = module.sum_of_products((2, 3))
    written = module.read(module.FunctionGraph(inputs, [c], clone=False))
    assert [label.lower().split("\n")[0] for label in operations(written)] == ["mul", "add", "sum"]
    compiled = module.read(module.pytensor.function(inputs, c, mode=module.MODE).maker.fgraph)
    assert [label.split("\n")[0] for label in operations(compiled)] == ["Composite", "Sum"]


CASES = pytest.mark.parametrize(("x", "branch", "halved"), [([3.0, 1.0], 10, 0.625), ([-3.0, 1.0], 2, 10)])


@CASES
@pytest.mark.parametrize("framework", ["pytorch", "tensorflow", "jax"])
def test_branch_and_loop_return_the_values_computed_by_hand(
    framework: str, x: list[float], branch: float, halved: float
) -> None:
    module = _module(framework)
    if framework == "pytorch":
        tensor = module.torch.tensor(x)
        functions = module.branch, module.halve
    elif framework == "tensorflow":
        tensor = module.tf.constant(x)
        functions = module.tf.function(module.branch), module.tf.function(module.halve)
    else:
        tensor = module.jnp.array(x)
        functions = module.jax.jit(module.branch), module.jax.jit(module.halve)
    assert [float(function(tensor)) for function in functions] == [branch, halved]


def test_autograph_rewrites_a_plain_branch_and_without_it_tracing_fails() -> None:
    module = _module("tensorflow")
    x = module.tf.constant([3.0, 1.0])
    assert module.tf.function(module.plain_branch)(x) == 10
    with pytest.raises(TypeError, match="symbolic"):
        module.tf.function(module.plain_branch, autograph=False)(x)


def test_jit_cannot_trace_a_plain_branch() -> None:
    jax, module = pytest.importorskip("jax"), _module("jax")
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(module.plain_branch)(np.ones(3))


def test_scan_with_enough_rounds_has_a_gradient_and_while_loop_has_none() -> None:
    jax, module = pytest.importorskip("jax"), _module("jax")
    x = np.array([3.0, 1.0])
    assert module.halve_within(x, 5) == module.halve(x) == 0.625
    assert module.halve_within(x, 1) == 2.5  # too few rounds
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(module.halve)(x)
    # x was divided by 4: the gradient of Σ(x/4)² is x/8
    np.testing.assert_allclose(jax.grad(lambda x: module.halve_within(x, 5))(x), x / 8)


def test_while_loop_of_tensorflow_has_a_gradient() -> None:
    module = _module("tensorflow")
    x = module.tf.Variable([3.0, 1.0])
    with module.tf.GradientTape() as tape:
        result = module.tf.function(module.halve)(x)
    np.testing.assert_allclose(tape.gradient(result, x), [3 / 8, 1 / 8])


def test_tree_has_the_same_value_and_gradient_in_pytorch_and_jax() -> None:
    ours, theirs = _module("pytorch"), _module("jax")
    rng = np.random.default_rng(5)
    a, b, c, w = (*rng.normal(size=(3, 2)), rng.normal(size=(4, 2)))
    kernel = ours.torch.tensor(w, requires_grad=True)
    ours.tree_value(tuple_of(ours.torch.tensor, a, b, c), kernel).sum().backward()
    value = np.tanh(np.concatenate([np.tanh(np.concatenate([a, b]) @ w), c]) @ w).sum()
    tree = tuple_of(theirs.jnp.array, a, b, c)
    found, gradient = theirs.jax.value_and_grad(lambda w: theirs.tree_value(tree, w).sum())(w)
    assert float(found) == pytest.approx(value)
    np.testing.assert_allclose(gradient, kernel.grad.numpy(), rtol=1e-12)


def tuple_of(make: object, a: Array, b: Array, c: Array) -> tuple:
    """The tree ((a, b), c)."""
    return (make(a), make(b)), make(c)


def _training() -> tuple[dict[str, Array], dict[str, Array]]:
    rng = np.random.default_rng(2)
    return start_weights(3, 5, 2, seed=3), {"x": rng.normal(size=(4, 3)), "t": rng.normal(size=(4, 2))}


def _session_graphs() -> tuple[ModuleType, list]:
    _module("tensorflow")
    module = importlib.import_module("graphs_session")
    return module, [module.grouped, module.minimized, module.layered]


def test_training_without_its_update_has_a_flat_loss() -> None:
    module, builders = _session_graphs()
    weights, data = _training()
    for build in (module.with_variables, *builders):
        losses, _ = module.losses(build(weights, 1e-3), ["loss:0"], data, steps=4)
        assert losses == [losses[0]] * 4, build.__name__


def test_training_with_its_update_has_the_losses_of_the_tape() -> None:
    module, builders = _session_graphs()
    weights, data = _training()
    expected = module.losses_by_hand(weights, data, 1e-3, steps=6)
    assert expected[-1] < 0.8 * expected[0]
    found = {"fed": module.losses_of_fed(weights, data, 1e-3, steps=6)[0]}
    for build in builders:
        found[build.__name__], _ = module.losses(build(weights, 1e-3), ["loss:0", "train"], data, steps=6)
    for name, losses in found.items():
        np.testing.assert_allclose(losses, expected, rtol=1e-12, err_msg=name)


def test_no_path_leads_from_a_weights_update_to_the_loss_and_train_waits_for_all_four() -> None:
    module, _ = _session_graphs()
    graph = module.grouped(_training()[0], 1e-3)
    updates = {f"update_{name}" for name in ("w1", "b1", "w2", "b2")}
    drawn = _module("tensorflow").read(graph)
    loss, train = (graph.get_operation_by_name(name) for name in ("loss", "train"))
    assert not updates & {operation.name for operation in nx.ancestors(drawn, loss)}
    assert updates <= {operation.name for operation in train.control_inputs}


def test_jax_outside_jit_is_eager_and_takes_a_branch_on_a_value() -> None:
    module = _module("jax")
    x, y, z = _inputs()
    for shifted, sign in ((z + 10, "positive"), (z - 10, "negative")):
        seen = module.what_the_function_sees(x, y, shifted)
        assert seen == {"as it is": sign, "grad": sign, "jit": "no value"}
    gradient = module.jax.grad(module.plain_branch)
    assert gradient(np.array([3.0, 1.0])).tolist() == [6, 2]
    assert gradient(np.array([-3.0, 1.0])).tolist() == [-1, -1]


@pytest.mark.parametrize("kind", ["PyTorch", "TensorFlow", "JAX", "weights file"])
def test_saved_network_runs_without_its_source(kind: str, tmp_path: Path) -> None:
    for needed in ("torch", "tensorflow", "jax"):
        pytest.importorskip(needed)
    module = importlib.import_module("graphs_save")
    rng = np.random.default_rng(2)
    weights = {name: value.astype(np.float32) for name, value in start_weights(3, 5, 2, seed=3).items()}
    x = rng.normal(size=(7, 3)).astype(np.float32)
    module.SAVERS[kind](weights, path := tmp_path / "net.pt2")
    expected = np.maximum(x @ weights["w1"] + weights["b1"], 0) @ weights["w2"] + weights["b2"]
    np.testing.assert_allclose(module.run_elsewhere(kind, path, x), expected, rtol=1e-5, atol=1e-6)
