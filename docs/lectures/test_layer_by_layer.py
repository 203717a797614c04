"""Tests of the lecture on layers: each step has the losses of NumPy; digits, diffs, hooks and image sizes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_by_layer import (
    Digits,
    Plan,
    Weights,
    code_of,
    diff,
    load_digits,
    mnist_at_hand,
    start_weights,
)

from common.batch import Batch
from common.data.idx import write_idx
from common.data.ink import draw_page
from common.spec import MLPSpec
from impl_numpy import build

PLAN = Plan(rate=0.1, batch=8, epochs=3)  # 20 examples: the last batch of an epoch has 4
STEPS = {
    "pytorch": ["tensors", "functional", "module", "optim", "loader", "validation", "train"],
    "keras": ["tape", "layers", "fit"],
    "jax": ["grad", "pytrees", "module", "with_optax", "jit"],
}
NEEDS = {"pytorch": ["torch"], "keras": ["keras", "tensorflow"], "jax": ["jax", "flax", "optax"]}


def _digits() -> Digits:
    """A few digits that are drawn like those of the page."""
    images = np.concatenate([draw_page(writer)[:10] for writer in range(3)])
    x = images.reshape(30, -1) / 255
    t = np.tile(np.arange(10), 3)
    return Digits(name="few", x=x[:20], t=t[:20], x_valid=x[20:], t_valid=t[20:])


def _numpy_losses(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    spec = MLPSpec(num_classes=10, hidden_dims=(start["w1"].shape[1],), dropout=0.0)
    model = build(spec, dtype="float64")
    weights = dict(zip(spec.parameters(), start.values(), strict=True))
    images, losses = digits.x.reshape(-1, 28, 28, 1), []
    for first in [*range(0, len(images), plan.batch)] * plan.epochs:
        rows = slice(first, first + plan.batch)
        model.load_weights(weights)
        loss, gradients = model.loss_and_gradients(Batch(images_BHW1=images[rows], labels_B=digits.t[rows]))
        weights = {name: value - plan.rate * gradients[name] for name, value in weights.items()}
        losses.append(loss)
    return losses


def _losses(framework: str, step: str, start: Weights, digits: Digits, plan: Plan) -> list[float]:
    module = _module(framework)
    if step == "train":
        return module.train(module.net_from(start), digits, plan)[0]
    found = getattr(module, step)(start, digits, plan)
    return found[0] if step == "validation" else found


def _module(framework: str) -> Any:
    for needed in NEEDS[framework]:
        pytest.importorskip(needed)
    return pytest.importorskip(f"layer_by_layer_{framework}")


@contextmanager
def _double(framework: str) -> Iterator[None]:
    """Make float64 the framework's default inside the block. PyTorch takes the type of the weights."""
    _module(framework)
    if framework == "keras":
        config = sys.modules["keras"].config
        before = config.floatx(), config.dtype_policy()  # the policy does not follow the default
        config.set_floatx("float64")
        config.set_dtype_policy("float64")
        try:
            yield
        finally:
            config.set_floatx(before[0])
            config.set_dtype_policy(before[1])
    elif framework == "jax":
        with sys.modules["jax"].enable_x64(True):
            yield
    else:
        yield


@pytest.mark.parametrize(("framework", "step"), [(name, step) for name, steps in STEPS.items() for step in steps])
def test_step_has_the_loss_curve_of_numpy(framework: str, step: str) -> None:
    start, digits = start_weights(16, dtype="float64"), _digits()
    expected = _numpy_losses(start, digits, PLAN)
    assert len(expected) == 9
    assert expected[-1] < expected[0] - 0.1
    with _double(framework):
        found = _losses(framework, step, start, digits, PLAN)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=0)


def test_first_loss_without_weights_is_the_logarithm_of_ten() -> None:
    nothing = start_weights(16, dtype="float64", scale=0)
    for step in STEPS["pytorch"]:
        first = _losses("pytorch", step, nothing, _digits(), PLAN)[0]
        assert first == pytest.approx(math.log(10), rel=1e-15), step


def test_log_softmax_does_not_overflow() -> None:
    torch = pytest.importorskip("torch")
    found = _module("pytorch").log_softmax(torch.tensor([[1000.0, 0.0], [-1000.0, -1000.0]]))
    assert found.tolist() == [[0, -1000], [pytest.approx(-math.log(2))] * 2]


def test_pytorch_records_only_operations_on_inputs_that_require_gradients() -> None:
    recorded = _module("pytorch").what_is_recorded()
    assert recorded == {"plain": False, "requires_grad": True, "no_grad": False, "inference_mode": False}


def test_tape_of_tensorflow_records_only_inside_its_block() -> None:
    assert _module("keras").what_is_recorded() == {"outside": False, "inside": True}


def test_accuracy_counts_examples_not_batches() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.eye(5)
    batches = [(logits[:4], torch.arange(4)), (logits[4:], torch.tensor([0]))]
    assert _module("pytorch").accuracy(torch.nn.Identity(), batches) == 4 / 5


def test_hooks_are_called_in_order_and_the_model_is_in_the_right_mode() -> None:
    torch = pytest.importorskip("torch")
    module = _module("pytorch")
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    batches = [(torch.ones(3, 2), torch.zeros(3, dtype=torch.long))] * 2
    called: list[Any] = []

    def validate(model: Any) -> None:
        module.accuracy(model, batches)
        called.append(("validated", model.training))

    module.fit(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        batches,
        2,
        after_step=[lambda _: called.append(("step", model.training)), called.append],
        after_epoch=[validate, lambda _: called.append("epoch")],
    )
    losses = [entry for entry in called if isinstance(entry, float)]
    step, end = [("step", True), "loss"], [("validated", False), "epoch"]
    assert ["loss" if entry in losses else entry for entry in called] == [*step, *step, *end] * 2
    assert (np.diff(losses) < 0).all()  # the same batch each time: every step helps


def _cnn() -> Any:
    _module("pytorch")
    return pytest.importorskip("layer_by_layer_pytorch_cnn")


@pytest.mark.parametrize("name", ["sequential", "any_size"])
def test_cnn_in_another_form_has_the_same_logits_and_gradients(name: str) -> None:
    torch, cnn = pytest.importorskip("torch"), _cnn()
    torch.manual_seed(0)
    drawn = cnn.CNN().double()
    other = cnn.same_start(getattr(cnn, name)().double(), drawn)
    digits = _digits()
    x = torch.from_numpy((digits.as_images() if name == "any_size" else digits).x)
    for model, images in ((drawn, torch.from_numpy(digits.x)), (other, x)):
        model.logits = model(images)
        model.logits.square().mean().backward()
    torch.testing.assert_close(other.logits, drawn.logits, rtol=0, atol=1e-14)
    for mine, its in zip(other.parameters(), drawn.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (28, 41), (64, 9)], ids=str)
def test_adaptive_pooling_takes_the_mean_of_any_size(height: int, width: int) -> None:
    torch, cnn = pytest.importorskip("torch"), _cnn()
    model = cnn.any_size()
    images = torch.rand(3, 1, height, width)
    features, (flatten, linear_layer) = model[:6](images), model[7:]
    expected = linear_layer(features.mean(dim=(2, 3)))
    torch.testing.assert_close(model(images), expected)
    assert flatten(features.mean(dim=(2, 3))).shape == (3, 32)
    with pytest.raises(RuntimeError):
        cnn.sequential()(images.flatten(1))


def test_batches_get_the_sizes_in_turn_across_epochs() -> None:
    torch, cnn = pytest.importorskip("torch"), _cnn()
    images, labels = torch.ones(2, 1, 28, 28), torch.tensor([3, 4])
    batches = cnn.Resized([(images, labels)] * 3, [20, 30])
    shapes = [tuple(xb.shape) for _ in range(2) for xb, tb in batches if tb is labels]
    assert shapes == [(2, 1, size, size) for size in (20, 30) * 3]
    torch.testing.assert_close(cnn.resized(images, 20), torch.ones(2, 1, 20, 20))


def test_forward_hook_measures_zeros_and_is_removed() -> None:
    torch, cnn = pytest.importorskip("torch"), _cnn()
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.ReLU())
    for _ in range(2):
        assert cnn.zeros_after_relu(model, torch.tensor([[-1.0, 2.0, -3.0, 0.0]])) == [0.75, 0.75]
    assert not any(layer._forward_hooks for layer in model)


def test_training_on_a_device_has_the_same_losses() -> None:
    torch, cnn = pytest.importorskip("torch"), _cnn()
    module, digits = _module("pytorch"), _digits()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan, start = replace(PLAN, momentum=0.9), start_weights(16, dtype="float64")
    expected = module.train(module.net_from(start), digits, plan)
    model = module.net_from(start)
    losses, accuracies = cnn.train_on(device, model, digits, plan)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-12)
    assert accuracies == expected[1]
    assert {parameter.device.type for parameter in model.parameters()} == {device}
    moved = [(xb.device.type, tb.device.type) for xb, tb in cnn.OnDevice([(torch.ones(1), torch.ones(1))], device)]
    assert moved == [(device, device)]


def test_training_and_validation_digits_are_by_different_writers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOURHANDS_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    digits = load_digits(100, dtype="float64")
    assert digits.name == "ink"
    assert (digits.x.shape, digits.x_valid.shape) == ((100, 784), (20, 784))
    assert digits.x.max() == 1
    assert set(digits.t) == set(range(10))
    assert not (digits.x[:, None] == digits.x_valid).all(axis=2).any()
    assert digits.as_images().x_valid.shape == (20, 1, 28, 28)
    nines = np.array([draw_page(writer)[9] for writer in range(120, 130)]).reshape(10, -1) / 255
    rows = digits.x[digits.t == 9]
    assert {row.tobytes() for row in rows} == {row.astype("f4").astype("f8").tobytes() for row in nines.astype("f4")}


def test_mnist_is_taken_from_the_cache_and_never_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("common.data.mnist.fetch", lambda *_: pytest.fail("downloads"))
    monkeypatch.delenv("FOURHANDS_DATA", raising=False)
    monkeypatch.setattr("layer_by_layer.cache_folder", lambda: tmp_path)
    assert mnist_at_hand() is None
    folder = tmp_path / "mnist"
    folder.mkdir()
    assert mnist_at_hand() is None
    labels = (np.arange(60) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", np.multiply.outer(labels, np.ones((28, 28), np.uint8)))
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    digits = load_digits(50, dtype="float64")
    assert digits.name == "mnist"
    np.testing.assert_allclose(digits.x[:, 0] * 255, digits.t, rtol=1e-6)


def test_diff_has_all_lines_of_both_steps() -> None:
    before, after = (code_of("layer_by_layer_pytorch.py", name) for name in ("module", "optim"))
    lines = diff(before, after).splitlines()
    assert [line[1:] for line in lines if line[0] in "- "] == before.splitlines()
    assert [line[1:] for line in lines if line[0] in "+ "] == after.splitlines()
    assert "+            optimizer.step()" in lines
    assert "-            with torch.no_grad():" in lines


def test_code_of_a_step_has_its_sections_without_markers() -> None:
    code = code_of("layer_by_layer_keras.py", "network", "fit")
    assert code.startswith("def network(")
    assert code.count("\ndef fit(") == 1
    assert "# ---" not in code
    assert "class Report" not in code
