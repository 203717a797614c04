"""Tests of the lecture on a network from nothing: layers, descent, gradient check, and the three frameworks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from from_nothing import (
    Array,
    Weights,
    descend,
    gradient_errors,
    line,
    linear_backward,
    mean_squared_error,
    mean_squared_error_backward,
    network,
    predict,
    relu,
    relu_backward,
    start_weights,
    wrong_relu_backward,
)


def _data(examples: int, inputs: int, outputs: int, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(examples, inputs)), rng.normal(size=(examples, outputs))


SIZES = pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 1), (3, 2)])


@SIZES
def test_gradients_of_a_line_are_those_of_least_squares(inputs: int, outputs: int) -> None:
    x, t = _data(20, inputs, outputs)
    rng = np.random.default_rng(2)
    w, b = rng.normal(size=(inputs, outputs)), rng.normal(size=outputs)
    _, gradients = line({"w": w, "b": b}, x, t)
    # the normal equations; the heights are the last row
    ones = np.column_stack([x, np.ones(len(x))])
    expected = 2 * ones.T @ (ones @ np.vstack([w, b]) - t) / t.size
    np.testing.assert_allclose(np.vstack([gradients["w"], gradients["b"]]), expected, rtol=1e-12)


@SIZES
def test_gradients_of_the_network_pass_the_check(inputs: int, outputs: int) -> None:
    errors = gradient_errors(network, start_weights(inputs, 8, outputs, seed=3), *_data(20, inputs, outputs))
    assert list(errors) == ["w1", "b1", "w2", "b2"]
    assert max(errors.values()) < 1e-7


def test_check_finds_the_wrong_relu_only_in_the_first_layer() -> None:
    wrong = partial(network, relu_backward=wrong_relu_backward)
    errors = gradient_errors(wrong, start_weights(3, 8, 2, seed=3), *_data(20, 3, 2))
    assert {name for name, error in errors.items() if error > 0.1} == {"w1", "b1"}


@pytest.mark.parametrize("name", ["w1", "b1", "w2", "b2"])
def test_check_finds_one_gradient_that_is_a_hundredth_too_large(name: str) -> None:
    def faulty(weights: Weights, x: Array, t: Array) -> tuple[float, Weights]:
        loss, gradients = network(weights, x, t)
        return loss, gradients | {name: gradients[name] * 1.01}

    errors = gradient_errors(faulty, start_weights(3, 8, 2, seed=3), *_data(20, 3, 2))
    assert errors.pop(name) == pytest.approx(0.01, rel=1e-4)
    assert max(errors.values()) < 1e-7


def test_input_gradient_of_a_linear_layer_sums_over_its_outputs() -> None:
    w = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    dx, _, _ = linear_backward(np.array([[1.0, 10.0]]), (np.zeros((1, 3)), w))
    np.testing.assert_array_equal(dx, [[21, 43, 65]])


def test_mean_squared_error_is_the_mean_over_all_numbers() -> None:
    loss, cache = mean_squared_error(np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 0.0], [3.0, 1.0]]))
    assert loss == 5
    np.testing.assert_array_equal(mean_squared_error_backward(cache), [[0, 1], [0, 2]])


def test_relu_sets_negatives_to_zero_and_its_backward_passes_only_positives() -> None:
    y, cache = relu(np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(y, [0, 0, 2])
    np.testing.assert_array_equal(relu_backward(np.array([5.0, 6.0, 7.0]), cache), [0, 0, 7])


def test_predict_returns_the_outputs_of_the_loss() -> None:
    weights, (x, t) = start_weights(3, 8, 2, seed=3), _data(20, 3, 2)
    assert mean_squared_error(predict(weights, x), t)[0] == network(weights, x, t)[0]


def test_descent_steps_against_the_gradient_and_does_not_change_the_start() -> None:
    def parabola(weights: Weights, x: Array, t: Array) -> tuple[float, Weights]:
        return float(weights["a"] ** 2), {"a": 2 * weights["a"]}

    start = {"a": np.float64(8)}
    # a step of rate 1/4 halves the weight
    history = list(descend(parabola, start, np.zeros(0), np.zeros(0), rate=0.25, steps=4))
    assert history == [(64, {"a": 8}), (16, {"a": 4}), (4, {"a": 2}), (1, {"a": 1})]
    assert start == {"a": 8}


def test_weights_are_smaller_with_more_inputs() -> None:
    weights = start_weights(50, 400, 50, seed=4)
    assert weights["w1"].std() == pytest.approx(0.2, rel=0.02)
    assert weights["w2"].std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert len(np.unique(weights["b1"])) == 400
    np.testing.assert_array_equal(weights["w1"], start_weights(50, 400, 50, seed=4)["w1"])


@pytest.fixture
def keras_precision() -> Iterator[None]:
    """Restore Keras's global precision after the test."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_floatx("float32")


@pytest.mark.usefixtures("keras_precision")
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float64", 1e-13)], ids=["float32", "float64"])
@pytest.mark.parametrize("framework", ["pytorch", "keras", "jax"])
def test_framework_has_the_loss_curve_of_numpy(framework: str, dtype: str, limit: float) -> None:
    for needed in {"pytorch": ["torch"], "keras": ["keras", "tensorflow"], "jax": ["jax"]}[framework]:
        pytest.importorskip(needed)
    module = pytest.importorskip(f"from_nothing_{framework}")
    start = {name: value.astype(dtype) for name, value in start_weights(3, 8, 2, seed=3).items()}
    x, t = (values.astype(dtype) for values in _data(20, 3, 2))
    expected = [loss for loss, _ in descend(network, start, x, t, rate=0.02, steps=50)]
    np.testing.assert_allclose(module.train(start, x, t, rate=0.02, steps=50), expected, rtol=limit, atol=0)
    assert expected[-1] < expected[0] / 1.5
