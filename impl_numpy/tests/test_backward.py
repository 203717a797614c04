"""Each backward changes neither its arguments nor its cache: called twice with them, it returns the same gradients."""

# B batch, H height, W width, T frames, L label length (characters), C channels, K classes, D model width
# U hidden units of an LSTM direction, Q = 4U values of its gates, A attention heads, M keys

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.spec import Block, LSTMCTCSpec, TransformerSpec, UNetSpec
from common.weights import initial_weights
from impl_numpy import lstm_ctc, stem, transformer, unet
from impl_numpy.attention import (
    dot_product_attention,
    dot_product_attention_backward,
    multi_head_attention,
    multi_head_attention_backward,
)
from impl_numpy.block import block, block_backward
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.ctc import ctc, ctc_backward
from impl_numpy.lstm import bidirectional_lstm, bidirectional_lstm_backward
from impl_numpy.lstm_ctc import read_backward, shortcut_backward
from impl_numpy.normalization import batch_norm, batch_norm_backward, layer_norm, layer_norm_backward
from impl_numpy.ops import (
    dropout,
    dropout_backward,
    linear,
    linear_backward,
    masked_relu,
    max_over_rows,
    max_over_rows_backward,
    max_pool2x2,
    max_pool2x2_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    upsample2x2,
    upsample2x2_backward,
)
from impl_numpy.unet import entropy_and_dice_backward

LINES: dict[str, Any] = {"num_classes": 5, "height": 4, "stem_channels": (3,), "stem_strides": (2,)}
STEM = LSTMCTCSpec(frame_dim=4, hidden_dim=3, **LINES)
DECODER = TransformerSpec(model_dim=4, num_layers=1, num_heads=2, feed_forward_dim=3, **LINES)
UNET = UNetSpec(channels=(2, 3))
BLOCK = Block(rows=3, padding=1, strides=(1, 1), fan_in=3, channels=2)
LENGTHS_B = np.array([5, 3])
KEEP_BW = np.arange(5) < LENGTHS_B[:, None]
LABELS_BL = np.array([[1, 1, 2], [3, 0, 0]])

Case = tuple[list[np.ndarray], Callable[..., tuple], Callable[..., Any]]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def attention_weights() -> dict[str, np.ndarray]:
    parts = ("query", "key", "value", "output")
    return {f"a.{part}.kernel": normal(4, 4) for part in parts} | {f"a.{part}.bias": normal(4) for part in parts}


BLOCK_WEIGHTS = {"b.kernel": normal(3, 3, 3, 2), "b.scale": normal(2), "b.bias": normal(2)}


def weights_of(spec: LSTMCTCSpec | TransformerSpec | UNetSpec) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in initial_weights(spec, seed=1).items()}


def with_gradients(backward: Callable[..., Any], *name: str) -> Callable[..., Any]:
    """A backward that stores gradients in a dictionary, as one that returns them."""

    def returning(dy: np.ndarray, cache: tuple) -> list:
        gradients: dict[str, np.ndarray] = {}
        return [backward(dy, cache, *name, gradients), gradients]

    return returning


# arguments, forward and backward of each layer; the first output of a forward is y, the second its cache
CASES: dict[str, Case] = {
    "linear": ([normal(2, 3), normal(3, 4), normal(4)], linear, linear_backward),
    "relu": ([normal(2, 3)], relu, relu_backward),
    "masked relu": ([normal(2, 4, 5, 3), KEEP_BW[:, None]], masked_relu, relu_backward),
    "dropout": ([normal(3, 8)], lambda x: dropout(x, 0.5, np.random.default_rng(0)), dropout_backward),
    "max over rows": ([normal(2, 4, 5, 3)], max_over_rows, max_over_rows_backward),
    "upsampling": (
        [normal(2, 2, 3, 4)],
        lambda x: (upsample2x2(x), np.ones(1)),
        lambda dy, _: upsample2x2_backward(dy),
    ),
    "max pool": ([normal(2, 5, 4, 3)], max_pool2x2, max_pool2x2_backward),
    "cross-entropy": (
        [normal(2, 3), np.array([2, 0])],
        softmax_cross_entropy,
        lambda _, cache: softmax_cross_entropy_backward(cache),
    ),
    "convolution, same size": (
        [normal(2, 4, 5, 3), normal(3, 3, 3, 2)],
        lambda x, kernel: convolution(x, kernel, strides=(1, 1), padding=1),
        lambda dy, cache: convolution_backward(dy, cache, need_dx=True),
    ),
    "convolution, strides 2 and 1": (
        [normal(2, 4, 5, 3), normal(3, 3, 3, 2)],
        lambda x, kernel: convolution(x, kernel, strides=(2, 1), padding=1),
        lambda dy, cache: convolution_backward(dy, cache, need_dx=True),
    ),
    "convolution, no padding": (
        [normal(2, 4, 5, 3), normal(4, 3, 3, 2)],
        lambda x, kernel: convolution(x, kernel, strides=(1, 1), padding=0),
        lambda dy, cache: convolution_backward(dy, cache, need_dx=True),
    ),
    "batch norm": ([normal(2, 4, 5, 3), normal(3), normal(3), KEEP_BW[:, None]], batch_norm, batch_norm_backward),
    "layer norm": ([normal(6, 4), normal(4), normal(4)], layer_norm, layer_norm_backward),
    "lstm": (
        [normal(2, 5, 3), LENGTHS_B, normal(2, 3, 8), normal(2, 2, 8), normal(2, 8)],
        bidirectional_lstm,
        bidirectional_lstm_backward,
    ),
    "ctc": ([normal(2, 5, 4), LENGTHS_B, LABELS_BL, np.array([3, 1])], ctc, lambda _, cache: ctc_backward(cache)),
    "attention": (
        [normal(2, 2, 3, 2), normal(2, 2, 5, 2), normal(2, 2, 5, 2), KEEP_BW[:, None, None]],
        dot_product_attention,
        dot_product_attention_backward,
    ),
    "multi-head attention": (
        [normal(2, 3, 4), normal(2, 5, 4)],
        lambda queries, memory: multi_head_attention(
            attention_weights(), "a", 2, queries, memory, KEEP_BW[:, None, None]
        ),
        with_gradients(multi_head_attention_backward, "a"),
    ),
    "feed-forward": (
        [normal(2, 3, 4)],
        lambda x: transformer.feed_forward(weights_of(DECODER), "decoder.0.feed_forward", x),
        with_gradients(transformer.feed_forward_backward, "decoder.0.feed_forward"),
    ),
    "norm": (
        [normal(2, 3, 4)],
        lambda x: transformer.norm(weights_of(DECODER), "decoder.norm", x),
        with_gradients(transformer.norm_backward, "decoder.norm"),
    ),
    "decoder": (
        [normal(2, 5, 4), KEEP_BW, LABELS_BL],
        lambda *arguments: transformer.decode_text(DECODER, weights_of(DECODER), *arguments),
        transformer.decode_text_backward,
    ),
    "convolution, 3×5": (
        [normal(2, 4, 6, 3), normal(3, 5, 3, 2)],
        lambda x, kernel: convolution(x, kernel, strides=(2, 2), padding=1),
        lambda dy, cache: convolution_backward(dy, cache, need_dx=True),
    ),
    "block": (
        [normal(2, 4, 5, 3), KEEP_BW[:, None]],
        lambda *arguments: block(BLOCK, BLOCK_WEIGHTS, "b", *arguments),
        with_gradients(block_backward, "b"),
    ),
    "lstm_ctc after its stem": (
        [normal(2, 5, 4), LENGTHS_B],
        lambda *arguments: lstm_ctc.read(STEM, weights_of(STEM), *arguments),
        read_backward,
    ),
    "shortcut": (
        [normal(2, 5, 4)],
        lambda x: lstm_ctc.shortcut({"shortcut.kernel": normal(3, 4, 5), "shortcut.bias": normal(5)}, x),
        shortcut_backward,
    ),
    "loss of a page": (
        [normal(2, 3, 4, 2), normal(2, 3, 4, 2) > 0, normal(2, 3, 4) > 0],
        unet.entropy_and_dice,
        lambda _, cache: entropy_and_dice_backward(cache),
    ),
    "unet": (
        [normal(2, 8, 12, 1), np.array([[7, 12], [8, 5]])],
        lambda *arguments: unet.forward(UNET, weights_of(UNET), *arguments, training=True)[:2],
        lambda dy, caches: unet.backward(UNET, dy, caches),
    ),
    "stem": (
        [normal(2, 4, 10, 1), 2 * LENGTHS_B],
        lambda *arguments: stem.forward(STEM, weights_of(STEM), *arguments, training=True)[::2],
        stem.backward,
    ),
}


def arrays_in(value: Any) -> list[np.ndarray]:
    """All arrays in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, np.ndarray | np.generic):
        return [np.asarray(value)]
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [array for part in nested for array in arrays_in(part)]


def copies_of(value: Any) -> list[np.ndarray]:
    return [array.copy() for array in arrays_in(value)]


def assert_equal(actual: Any, expected: list[np.ndarray]) -> None:
    arrays = arrays_in(actual)
    assert len(arrays) == len(expected) > 0
    for left, right in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("layer", CASES)
def test_backward_twice_returns_the_same_gradients(layer: str) -> None:
    arguments, forward, backward = CASES[layer]
    y, cache, *_ = forward(*arguments)
    dy = normal(*np.shape(y))
    before, cached, incoming = copies_of(arguments), copies_of(cache), dy.copy()
    first = copies_of(backward(dy, cache))
    assert_equal(backward(dy, cache), first)
    assert_equal(cache, cached)
    assert_equal(arguments, before)
    np.testing.assert_array_equal(dy, incoming)


@pytest.mark.parametrize("layer", CASES)
def test_forward_twice_returns_the_same_output(layer: str) -> None:
    arguments, forward, _ = CASES[layer]
    before = copies_of(arguments)
    first = copies_of(forward(*arguments))
    assert_equal(forward(*arguments), first)
    assert_equal(arguments, before)


def test_every_backward_is_tried() -> None:
    """A new layer needs a case; `keys_and_values_backward` is tried in multi-head attention."""
    modules = ("attention", "block", "convolution", "ctc", "lstm", "lstm_ctc", "normalization", "ops", "unet")
    names = {
        name
        for module in modules
        for name in vars(__import__(f"impl_numpy.{module}", fromlist=["_"]))
        if name.endswith("_backward")
    }
    here = {name for name in globals() if name.endswith("_backward")}
    assert names - here == {"keys_and_values_backward"}
