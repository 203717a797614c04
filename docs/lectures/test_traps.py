"""Tests of the trap catalogue: each trap still exists, and the project follows its rule."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import traps

from common.charset import Charset
from common.data.lines import frames_needed
from common.sampling import evenly
from common.spec import RUNGS, positions
from common.training.schedule import learning_rates
from common.weights import Golden, WeightsFile, initial_weights, load_weights, save_weights
from conformance import golden
from conformance.oracle import EPSILON_HAT
from conformance.tolerances import tolerance
from impl_numpy.ctc import ctc

ROOT = Path(__file__).parents[2]


def module(name: str) -> ModuleType:
    """Import a module of the page. Skip if one of its frameworks is missing."""
    needed = {
        "traps_pytorch": ["torch"],
        "traps_keras": ["tensorflow", "keras"],
        "traps_jax": ["jax", "flax"],
        "traps_between": ["torch", "tensorflow", "keras", "jax", "flax", "optax"],
        "traps_models": ["torch"],
    }[name]
    for framework in needed:
        pytest.importorskip(framework)
    return importlib.import_module(name)


def built(implementation: str, rung: str, dtype: str = "float32") -> Any:
    """A small recognizer of the project."""
    package = pytest.importorskip(f"impl_{implementation}")
    return package.build(golden.small(rung), dtype=dtype)


def words(package: str) -> set[str]:
    """Names and attributes in the code of a package, without comments and strings."""
    nodes = (node for path in (ROOT / package).glob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {word for node in nodes for word in (getattr(node, "id", None), getattr(node, "attr", None)) if word}


# names that are never used, and why
AVOIDED = {
    "impl_pytorch": {
        "BatchNorm2d": "sums in one float32, keeps the unbiased variance",
        "MultiheadAttention": "True blocks",
        "gelu": "has two forms",
    },
    "impl_keras": {
        "BatchNormalization": "adds a small number to the count of its mask",
        "Embedding": "has a sparse gradient",
        "CTC": "takes the padding for frames",
        "gelu": "has two forms",
    },
    "impl_jax": {
        "BatchNorm": "keeps its statistics in float32",
        "dot_product_attention": "takes its softmax in float32",
        "gelu": "has two forms",
    },
}


@pytest.mark.parametrize(("package", "word"), [(package, word) for package in AVOIDED for word in AVOIDED[package]])
def test_package_does_not_use_a_trap(package: str, word: str) -> None:
    assert word not in words(package), AVOIDED[package][word]


# --- layers
def test_layer_norms_have_three_default_epsilons_and_the_implementations_one() -> None:
    epsilons = module("traps_between").layer_norm_epsilons()
    assert epsilons == pytest.approx({"PyTorch": 1e-5, "Keras": 1e-3, "Flax": 1e-6})
    from flax import nnx
    from keras.layers import LayerNormalization
    from torch.nn import LayerNorm

    in_pytorch = [part.eps for part in built("pytorch", "transformer").model.modules() if isinstance(part, LayerNorm)]
    layers = built("keras", "transformer").model._flatten_layers()
    in_keras = [layer.epsilon for layer in layers if isinstance(layer, LayerNormalization)]
    in_jax = built("jax", "transformer")
    model = nnx.merge(in_jax.graphdef, in_jax.params, in_jax.statistics)
    in_flax = [part.epsilon for _, part in nnx.iter_graph(model) if isinstance(part, nnx.LayerNorm)]
    assert in_pytorch == in_keras == in_flax == [1e-5] * 7


def test_another_epsilon_changes_logits_by_more_than_the_gate() -> None:
    moved = module("traps_models").logits_moved_by
    assert moved(1e-3) > 10 * tolerance("logits", "float32", "keras", "transformer").limit
    assert 1000 * tolerance("logits", "float64", "keras", "transformer").limit < moved(1e-6) < 1e-4
    assert moved(1e-5) == 0


def test_momentum_is_the_share_of_the_batch_in_pytorch_alone() -> None:
    means = module("traps_between").running_means(momentum=0.25)
    assert means == pytest.approx({"PyTorch": 0.25, "Keras": 0.75, "Flax": 0.75})


def test_batch_norm_of_pytorch_keeps_the_unbiased_variance_and_ours_the_biased() -> None:
    assert module("traps_pytorch").variances_of_two() == pytest.approx((1, 2), rel=1e-4)
    import torch

    from impl_pytorch.stem import BatchNorm

    norm = BatchNorm(1)
    for tensor in norm.state_dict().values():
        tensor.fill_(0)
    norm(torch.tensor([[-1.0], [1.0]]), torch.ones(1, 2), batch_statistics=True)
    assert float(norm.variance) == pytest.approx(0.1)  # a tenth of the way from 0 to 1


def test_batch_norm_of_pytorch_sums_channels_last_in_one_float32() -> None:
    errors = module("traps_pytorch").errors_of_batch_norm()
    assert errors["channels last"] > 10 * errors["channels first"]


def test_batch_norms_of_keras_and_flax_are_not_fully_float64() -> None:
    assert module("traps_keras").error_of_a_masked_mean() > 1e-9
    assert module("traps_jax").dtypes_of_batch_norm() == ("float64", "float32")


def test_two_biases_learn_twice_as_fast_and_ours_has_one_fixed_at_zero() -> None:
    assert module("traps_pytorch").speed_of_two_biases() == pytest.approx(2)
    held = {name: p for name, p in built("pytorch", "lstm_ctc").model.named_parameters() if "bias_hh" in name}
    assert len(held) == 4
    assert not any(parameter.requires_grad or parameter.any() for parameter in held.values())


def test_new_lstm_of_keras_has_a_forget_bias_and_ours_starts_from_the_common_weights() -> None:
    assert module("traps_keras").new_biases(units=3) == {"i": 0, "f": 1, "g": 0, "o": 0}
    exported, spec = built("keras", "lstm_ctc").export_weights(), golden.small("lstm_ctc")
    assert not exported["lstm.0.forward.bias"].any()
    assert all(np.array_equal(exported[name], array) for name, array in initial_weights(spec, seed=0).items())


def test_gelu_is_the_tanh_form_in_jax_alone() -> None:
    errors = module("traps_between").errors_of_gelu()
    assert errors["JAX"] == pytest.approx(4.7e-4, rel=0.05)
    assert max(errors["PyTorch"], errors["Keras"]) < 2e-6


# --- attention
def test_true_blocks_in_multihead_attention_and_keeps_elsewhere() -> None:
    gathered = module("traps_between").gathered_by_true()
    assert gathered.pop("PyTorch, nn.MultiheadAttention") == pytest.approx((2 + 4) / 2)
    assert list(gathered.values()) == pytest.approx([1] * 4)
    import torch

    from impl_pytorch.stem import keep_first

    assert keep_first(torch.tensor([2]), 3).tolist() == [[True, True, False]]


def test_adam_makes_a_step_of_a_keys_rounding_noise_and_ours_has_no_bias_there() -> None:
    share, step = module("traps_pytorch").step_of_a_keys_bias()
    assert share < 1e-5
    assert 0.5 < step < 1.01
    assert not [name for name in golden.small("transformer").parameters() if name.endswith("key.bias")]


def test_attention_of_jax_is_float32_under_float64() -> None:
    assert 1e-10 < module("traps_jax").error_of_attention() < 1e-5


def test_positions_are_made_in_float64() -> None:
    assert traps.error_of_float32_positions() > 10 * tolerance("logits", "float32", "numpy", "transformer").limit
    assert positions(3, 4).dtype == np.float64


# --- optimizers
def test_adam_of_keras_is_another_and_has_its_formula() -> None:
    apart = module("traps_between").adam_apart()
    assert apart["Keras"] > 100 * apart["optax"]
    # the suite compares it with the formula that has its epsilon, so it needs no gate of its own
    assert {"keras"} == EPSILON_HAT
    assert tolerance("adamw steps", "float64", "keras", "mlp").limit < apart["Keras"]


def test_sgd_of_keras_keeps_its_old_rate_and_parity_has_a_constant_rate() -> None:
    coasted = module("traps_keras").distance_coasted()
    assert coasted == pytest.approx({"Keras": 0.9 + 0.81, "the others": 0})
    assert {config.schedule for config in (golden.SGD, golden.CLIPPED)} == {"constant"}


def test_clipping_in_pytorch_is_too_short_and_has_its_row() -> None:
    short = module("traps_pytorch").clipping_falls_short()
    assert short == pytest.approx(1e-6 / 5, rel=1e-4)  # of a gradient of norm five
    own, usual = (tolerance("clipped steps", "float64", name, "mlp").limit for name in ("pytorch", "jax"))
    assert usual < short < own


def test_clipping_in_keras_takes_the_norm_of_the_rows() -> None:
    assert module("traps_keras").shortfall_of_a_norm(times=4) == pytest.approx(1 / 2)


# --- CTC
def test_mean_has_four_meanings() -> None:
    means = sorted(module("traps_between").means_of_ctc().values())
    assert all(larger > 1.2 * smaller for smaller, larger in pairwise(means))


@pytest.mark.parametrize("places", [12, 0], ids=["texts", "no texts"])
@pytest.mark.parametrize("implementation", ["pytorch", "keras", "jax"])
def test_our_loss_is_in_nats_per_character_without_the_padding(implementation: str, places: int) -> None:
    pytest.importorskip(f"impl_{implementation}")
    rung = importlib.import_module(f"impl_{implementation}.lstm_ctc")
    logits_BTK, frames_B, labels_BL, lengths_B = traps.ctc_batch()
    lengths_B = np.minimum(lengths_B, places)
    loss = _loss(implementation, rung, logits_BTK.astype(np.float32), frames_B, labels_BL[:, :places], lengths_B)
    expected, _ = ctc(logits_BTK, frames_B, labels_BL, lengths_B)
    assert loss == pytest.approx(float(expected), rel=1e-6)


def _loss(
    implementation: str, rung: ModuleType, logits_BTK: Any, frames_B: Any, labels_BL: Any, lengths_B: Any
) -> float:
    """The loss of a rung for a model that returns these logits. A frame is one column wide."""
    if implementation == "keras":
        return float(rung.ctc_loss(labels_BL, logits_BTK, frames_B))
    batch = frames_B, labels_BL, lengths_B
    if implementation == "pytorch":
        import torch

        logits_BTK, *batch = (torch.from_numpy(array) for array in (logits_BTK, *batch))
        of_frames = batch[0]  # each line's number of frames
    else:
        import jax.numpy as jnp

        logits_BTK, *batch = (jnp.asarray(array) for array in (logits_BTK, *batch))
        of_frames = jnp.arange(logits_BTK.shape[1]) < batch[0][:, None]  # the mask that keeps each line's own
    model = SimpleNamespace(
        spec=SimpleNamespace(frames=lambda widths_B: widths_B),
        stem=lambda *_, **__: (None, of_frames),
        read=lambda *_, **__: logits_BTK,
        shortcut=None,
        shortcut_weight=0,
    )
    loss = rung.loss if implementation == "pytorch" else rung.loss_fn
    return float(loss(model, None, *batch))


def test_ctc_loss_class_of_keras_takes_the_padding_for_frames() -> None:
    full, own = module("traps_keras").loss_at_full_width()
    logits_BTK, frames_B, labels_BL, label_lengths_B = traps.ctc_batch()
    right = ctc(logits_BTK, frames_B, labels_BL, label_lengths_B)[0] * label_lengths_B.sum() / 4
    assert own == pytest.approx(right, rel=1e-5)
    assert full > 1.2 * own


def test_impossible_text_has_another_loss_in_each_framework_and_is_refused_here() -> None:
    losses = module("traps_between").losses_of_the_impossible()
    assert losses["PyTorch"] == np.inf
    assert 1e4 < losses["optax"] < 1e6
    assert 100 < losses["Keras"] < 1e4
    assert frames_needed("aa") == 3
    assert "frames_needed" in words("common/data")


def test_ctc_of_tensorflow_is_float32_and_has_its_rows() -> None:
    _, of_gradient = module("traps_keras").errors_of_ctc()
    own, usual = (tolerance("gradients", "float64", name, "lstm_ctc").limit for name in ("keras", "jax"))
    assert usual < of_gradient < own


def test_only_path_is_counted_twice_without_a_column_of_labels() -> None:
    probability = module("traps_keras").probability_of_nothing
    assert [probability(places) for places in (0, 1)] == pytest.approx([2, 1], rel=1e-4)


# --- rounding
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("float64", 1e-12)])
def test_noise_is_below_the_gates_and_grows(dtype: str, limit: float) -> None:
    noise = module("traps_models").noise
    few, many = noise(dtype, steps=20), noise(dtype, steps=200)
    assert 0 < max(few.values()) < limit
    assert many["parameters"] > 10 * few["parameters"]
    for name, check in {"logits": "logits", "gradients": "gradients", "parameters": "sgd steps"}.items():
        assert few[name] < tolerance(check, dtype, "pytorch", "mlp").limit


def test_python_float_is_float32_in_tensorflow_and_our_momentum_is_a_float64() -> None:
    assert module("traps_keras").rounding_of_a_python_float(0.9) == pytest.approx(abs(float(np.float32(0.9)) / 0.9 - 1))
    from impl_keras.train import optimizer_for

    run: Any = SimpleNamespace(config=golden.SGD, learning_rates_S=np.ones(1, np.float32))
    assert isinstance(optimizer_for(run).momentum, np.float64)
    assert isinstance(
        built("keras", "transformer").model.get_layer("decoder").layers[0].self_attention.scale, np.float64
    )


def test_rate_is_rounded_and_all_read_the_rounded_one() -> None:
    assert traps.rounding_of_a_rate(0.05) == pytest.approx(1.5e-8, rel=0.01)
    assert learning_rates(golden.SGD, 3).dtype == np.float32


def test_jax_converts_float64_to_float32_and_ours_does_not() -> None:
    assert module("traps_jax").dtypes_of_a_float64() == ("float32", "float64")
    assert {array.dtype.name for array in built("jax", "mlp", "float64").export_weights().values()} == {"float64"}


# --- speed
def test_denormals_are_zero_in_our_pytorch() -> None:
    pytest.importorskip("impl_pytorch")
    import torch

    assert (torch.full((1,), 1e-38) / 2).view(torch.int32).item() == 0


def test_denormals_survive_a_late_setting_but_not_an_early_one() -> None:
    surviving = module("traps_pytorch").surviving_denormals
    assert surviving(late=True) > 0.1
    assert surviving(late=False) == 0


def test_channels_are_last_in_our_pytorch() -> None:
    import torch

    kernels = [p for rung in RUNGS for p in built("pytorch", rung).model.parameters() if p.ndim == 4]
    weights = [built("pytorch", rung).export_weights().values() for rung in RUNGS]
    assert len(kernels) == sum(array.ndim == 4 for arrays in weights for array in arrays) > 8
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


# --- files
def test_transposed_view_is_misplaced_but_not_by_save_weights(tmp_path: Path) -> None:
    assert traps.numbers_misplaced() == pytest.approx(4 / 6)  # the first and the last keep their place
    content = _content()
    views = {name: np.asfortranarray(array) for name, array in content.weights.items()}
    save_weights(tmp_path / "weights.safetensors", replace(content, weights=views))
    read = load_weights(tmp_path / "weights.safetensors").weights
    assert all(np.array_equal(read[name], array) for name, array in views.items())


def test_equal_models_make_many_files_but_one_with_save_weights(tmp_path: Path) -> None:
    assert traps.files_of_one_model(saves=20) > 1
    path = tmp_path / "weights.safetensors"
    assert len({(save_weights(path, _content()), path.read_bytes()) for _ in range(10)}) == 1


def _content() -> WeightsFile:
    spec = golden.small("mlp")
    example = Golden(images_GHW=np.zeros((1, 9, 7), np.uint8), logits=np.zeros((1, 7), np.float32))
    return WeightsFile(
        spec=spec, charset=Charset(tuple("abcdefg")), weights=golden.golden_weights(spec), golden=example
    )


# --- tests
def test_word_selects_other_tests_but_in_the_suite_only_those_of_the_implementation() -> None:
    assert traps.tests_chosen("jax") == ["test_model[jax]", "test_jaxtyping"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "conformance",
        "--collect-only",
        "-q",
        "-k",
        "jax",
        "-p",
        "no:cacheprovider",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    chosen = [line for line in said.splitlines() if "::" in line]
    assert len(chosen) > 100
    assert not [name for name in chosen if "jax" not in name.partition("[")[2].rstrip("]").split("-")]


def test_run_of_skips_alone_is_a_success() -> None:
    # that `--require` fails instead is tested in conformance/test_options.py
    assert traps.exit_status_of_a_skip() == 0


def test_stride_misses_classes_and_evenly_does_not() -> None:
    assert traps.classes_seen(62, 31) == 2
    assert len({i % 62 for i in evenly(50 * 62, 100)}) > 40
