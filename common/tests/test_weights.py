"""The weights file: exact round trip, initial weights from closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.charset import DIGITS
from common.spec import CNNSpec, MLPSpec, Spec, parameter_count
from common.weights import Golden, WeightsFile, initial_weights, load_weights, save_weights

SPECS = [MLPSpec(num_classes=10, hidden_dims=(8,)), CNNSpec(num_classes=10, channels=(3, 4), hidden_dim=6)]


def content(spec: Spec, weights: dict[str, np.ndarray]) -> WeightsFile:
    rng = np.random.default_rng(1)
    golden = Golden(
        images_GHW=rng.integers(0, 256, (2, spec.height, spec.width)).astype(np.uint8),
        logits=rng.normal(size=(2, 10)).astype(np.float32),
    )
    return WeightsFile(spec=spec, charset=DIGITS, weights=weights, golden=golden, provenance={"framework": "numpy"})


@pytest.mark.parametrize("spec", SPECS, ids=["mlp", "cnn"])
def test_loading_returns_what_was_saved(spec: Spec, tmp_path: Path) -> None:
    saved = content(spec, initial_weights(spec, 3))
    save_weights(tmp_path / "w", saved)
    read = load_weights(tmp_path / "w")
    assert (read.spec, read.charset, read.provenance) == (spec, DIGITS, {"framework": "numpy"})
    np.testing.assert_array_equal(read.golden.images_GHW, saved.golden.images_GHW)
    np.testing.assert_array_equal(read.golden.logits, saved.golden.logits)
    assert read.weights.keys() == saved.weights.keys()
    for name, array in saved.weights.items():
        np.testing.assert_array_equal(read.weights[name], array, err_msg=name)


def test_transposed_views_are_saved_in_their_logical_order(tmp_path: Path) -> None:
    spec = SPECS[0]
    weights = {name: np.asfortranarray(array) for name, array in initial_weights(spec, 3).items()}
    save_weights(tmp_path / "w", content(spec, weights))
    kernel = load_weights(tmp_path / "w").weights["dense.0.kernel"]
    np.testing.assert_array_equal(kernel, weights["dense.0.kernel"])


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_weights(tmp_path / name, content(SPECS[1], initial_weights(SPECS[1], 3)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_initial_kernels_have_the_variance_of_their_initializer() -> None:
    weights = initial_weights(MLPSpec(num_classes=83), 0)
    assert weights["dense.0.kernel"].var() == pytest.approx(2 / 784, rel=0.01)  # He
    assert weights["dense.2.kernel"].var() == pytest.approx(2 / (128 + 83), rel=0.05)  # Glorot
    assert np.abs(weights["dense.2.kernel"]).max() <= np.sqrt(6 / (128 + 83))
    convolution = initial_weights(CNNSpec(num_classes=83), 0)["conv.1.kernel"]
    assert convolution.var() == pytest.approx(2 / (3 * 3 * 64), rel=0.03)
    assert not weights["dense.1.bias"].any()


def test_initial_weights_follow_the_seed() -> None:
    first, again, other = (initial_weights(SPECS[0], seed)["dense.0.kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_parameter_counts_are_those_of_the_published_ladder() -> None:
    # Full Stack Deep Learning's text recognizer, 83 characters
    assert parameter_count(MLPSpec(num_classes=83)) == 945_747
    assert parameter_count(CNNSpec(num_classes=83)) == 1_654_035
