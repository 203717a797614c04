"""Warm start: initial weights from another model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.charset import Charset
from common.errors import UserError
from common.spec import CNNSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec, UNetSpec
from common.training.warm_start import carry_over
from common.weights import Golden, WeightsFile, initial_weights

BEFORE, NOW = Charset(tuple("abc")), Charset(tuple("cdab"))
SPECS: dict[str, Spec] = {
    "lstm_ctc": LSTMCTCSpec(num_classes=4, stem_channels=(2,), stem_strides=(2,), frame_dim=3, hidden_dim=2),
    "transformer": TransformerSpec(
        num_classes=4, stem_channels=(2,), stem_strides=(2,), model_dim=4, num_heads=2, feed_forward_dim=3
    ),
    "mlp": MLPSpec(num_classes=3, hidden_dims=(4,)),
    "cnn": CNNSpec(num_classes=3, channels=(2,), hidden_dim=4),
}


def trained(spec: Spec) -> WeightsFile:
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=array.shape).astype(np.float32) for name, array in initial_weights(spec, 0).items()
    }
    golden = Golden(images_GHW=np.zeros((1, 28, 28), np.uint8), logits=np.zeros((1, spec.num_classes), np.float32))
    return WeightsFile(spec=spec, charset=BEFORE, weights=weights, golden=golden)


@pytest.mark.parametrize("rung", SPECS)
def test_classes_follow_their_characters_and_new_ones_start_from_the_seed(rung: str) -> None:
    lines = rung in ("lstm_ctc", "transformer")
    before, spec = trained(SPECS[rung]), replace(SPECS[rung], num_classes=4 + lines)
    start, fresh = carry_over(before, spec, NOW, seed=5), initial_weights(spec, 5)
    assert start.carried == f"3 of {len(NOW)} characters"
    *inner, kernel, bias = spec.parameters()
    # in "cdab", c was class 2, a was 0 and b was 1
    places = {0: 0, 1: 3, 3: 1, 4: 2} if lines else {0: 2, 2: 0, 3: 1}
    new = 2 if lines else 1
    for ours, theirs in places.items():
        np.testing.assert_array_equal(start.weights[kernel][:, ours], before.weights[kernel][:, theirs])
        assert start.weights[bias][ours] == before.weights[bias][theirs]
    np.testing.assert_array_equal(start.weights[kernel][:, new], fresh[kernel][:, new])
    assert start.weights[bias][new] == 0
    for name in inner:
        if name == "embedding.kernel":
            for ours, theirs in places.items():
                np.testing.assert_array_equal(start.weights[name][ours], before.weights[name][theirs])
            np.testing.assert_array_equal(start.weights[name][new], fresh[name][new])
        else:
            np.testing.assert_array_equal(start.weights[name], before.weights[name], err_msg=name)


def test_characters_that_the_new_charset_lacks_are_dropped() -> None:
    spec = replace(SPECS["lstm_ctc"], num_classes=2)
    start = carry_over(trained(SPECS["lstm_ctc"]), spec, Charset(("b",)), seed=0)
    assert start.carried == "1 of 1 characters"
    assert start.weights["head.bias"].tolist() == trained(SPECS["lstm_ctc"]).weights["head.bias"][[0, 2]].tolist()


def test_a_line_rung_takes_the_stem_of_the_other() -> None:
    spec = TransformerSpec(num_classes=5, stem_channels=(2,), stem_strides=(2,), model_dim=4, feed_forward_dim=3)
    before = trained(replace(SPECS["lstm_ctc"], frame_dim=4))
    start, fresh = carry_over(before, spec, NOW, seed=5), initial_weights(spec, 5)
    assert start.carried == "its stem"
    for name, array in start.weights.items():
        source = before.weights if name.startswith("stem.") else fresh
        np.testing.assert_array_equal(array, source[name], err_msg=name)
    with pytest.raises(UserError, match=r"^the stem of the lstm_ctc to start from has other sizes; give the same"):
        carry_over(before, replace(spec, model_dim=8), NOW, seed=5)


def test_a_finder_of_lines_carries_all_its_weights() -> None:
    spec = UNetSpec(channels=(2, 3))
    weights = {name: array + 1 for name, array in initial_weights(spec, 0).items()}
    golden = Golden(images_GHW=np.zeros((1, 4, 4), np.uint8), logits=np.zeros((1, 2, 2, 2), np.float32))
    before = WeightsFile(spec=spec, charset=Charset(()), weights=weights, golden=golden)
    start = carry_over(before, spec, Charset(()), seed=5)
    assert start.carried == "all weights"
    assert start.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(start.weights[name], array)


def test_dropout_may_differ() -> None:
    carry_over(trained(SPECS["mlp"]), replace(SPECS["mlp"], dropout=0.0), BEFORE, seed=0)
    carry_over(trained(SPECS["lstm_ctc"]), replace(SPECS["lstm_ctc"], head_dropout=0.5), BEFORE, seed=0)


def test_the_classes_of_a_shortcut_follow_their_characters_too() -> None:
    with_shortcut = replace(SPECS["lstm_ctc"], shortcut_weight=0.1)
    before = trained(with_shortcut)
    start = carry_over(before, replace(with_shortcut, num_classes=5), NOW, seed=5)
    for name in ("head.kernel", "shortcut.kernel"):  # class 3 is a now, and was class 1
        np.testing.assert_array_equal(start.weights[name][..., 3], before.weights[name][..., 1], err_msg=name)


@pytest.mark.parametrize(("before", "now"), [(0.1, 0.0), (0.0, 0.1)], ids=["left out", "new"])
def test_a_shortcut_may_be_left_out_or_be_new(before: float, now: float) -> None:
    spec = replace(SPECS["lstm_ctc"], shortcut_weight=now)
    start = carry_over(trained(replace(spec, shortcut_weight=before)), spec, BEFORE, seed=5)
    assert start.weights.keys() == spec.parameters().keys()
    if now:
        np.testing.assert_array_equal(start.weights["shortcut.kernel"], initial_weights(spec, 5)["shortcut.kernel"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SPECS["mlp"], "rung 'transformer' and not 'mlp'"),
        (replace(SPECS["transformer"], num_heads=1), "spec.num_heads 2 and not 1"),
        (replace(SPECS["transformer"], height=32), "spec.height 28 and not 32"),
    ],
    ids=["another rung", "another number of heads", "another height"],
)
def test_weights_of_another_model_are_refused(spec: Spec, words: str) -> None:
    with pytest.raises(UserError, match=words):
        carry_over(trained(SPECS["transformer"]), spec, BEFORE, seed=0)
