"""LSTM-CTC: stem, bidirectional LSTM layers each followed by dropout, dense to the scores of each frame; CTC loss."""

# B batch, H height, W width, T frames, C channels, K classes, L label length (characters)

from __future__ import annotations

import numpy as np

from common.spec import LSTMCTCSpec

# --- layers
from impl_numpy import stem
from impl_numpy.ctc import ctc, ctc_backward
from impl_numpy.device import Array, namespace
from impl_numpy.lstm import bidirectional_lstm, bidirectional_lstm_backward
from impl_numpy.ops import dropout, dropout_backward, keep_first, linear, linear_backward

DIRECTIONS = ("forward", "backward")
PARTS = ("kernel", "recurrent_kernel", "bias")


# --- model
def forward(
    spec: LSTMCTCSpec,
    weights: dict[str, Array],
    images_BHW1: Array,
    widths_B: Array,
    rng: np.random.Generator | None = None,
    *,
    training: bool,
) -> tuple[Array, Array, tuple, dict[str, Array]]:
    """Logits (B, T, K), the number of each line's own frames (B,), the caches, and the statistics of the batch.

    Without a generator there is no dropout. Batch norm uses the batch's statistics in training, else the running ones.
    """
    xp = namespace(images_BHW1)
    x_BTC, lengths_B, stem_caches, statistics = stem.forward(spec, weights, images_BHW1, widths_B, training=training)
    lstm_caches = []
    for i in range(spec.num_layers):
        both = [xp.stack([weights[f"lstm.{i}.{direction}.{part}"] for direction in DIRECTIONS]) for part in PARTS]
        x_BTC, lstm_cache = bidirectional_lstm(x_BTC, lengths_B, *both)
        x_BTC, dropout_cache = dropout(x_BTC, spec.dropout, rng)
        lstm_caches.append((lstm_cache, dropout_cache))
    batch, length, channels = x_BTC.shape
    logits, head_cache = linear(x_BTC.reshape(-1, channels), weights["head.kernel"], weights["head.bias"])
    return logits.reshape(batch, length, -1), lengths_B, (stem_caches, lstm_caches, head_cache), statistics


def backward(dlogits_BTK: Array, caches: tuple) -> dict[str, Array]:
    """The gradient of each parameter, from the last layer to the first."""
    stem_caches, lstm_caches, head_cache = caches
    gradients = {}
    batch, length, classes = dlogits_BTK.shape
    dx, gradients["head.kernel"], gradients["head.bias"] = linear_backward(dlogits_BTK.reshape(-1, classes), head_cache)
    dx = dx.reshape(batch, length, -1)
    for i in reversed(range(len(lstm_caches))):
        lstm_cache, dropout_cache = lstm_caches[i]
        dx = dropout_backward(dx, dropout_cache)
        dx, *both = bidirectional_lstm_backward(dx, lstm_cache)
        for part, gradient in zip(PARTS, both, strict=True):
            gradients |= {f"lstm.{i}.{direction}.{part}": g for direction, g in zip(DIRECTIONS, gradient, strict=True)}
    return gradients | stem.backward(dx, stem_caches)


def logits(
    spec: LSTMCTCSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, _labels_BL: Array | None
) -> Array:
    """Scores (B, T, K) for reading, zero past each line's own frames; the labels are not used."""
    logits_BTK, lengths_B, _, _ = forward(spec, weights, images_BHW1, widths_B, training=False)
    keep_BT = keep_first(lengths_B, logits_BTK.shape[1])
    return logits_BTK * keep_BT[..., None]


# --- loss
def loss_and_gradients(
    spec: LSTMCTCSpec,
    weights: dict[str, Array],
    images_BHW1: Array,
    widths_B: Array,
    labels_BL: Array,
    label_lengths_B: Array,
    rng: np.random.Generator | None,
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """CTC loss in nats per character, its gradient per trained parameter, and the statistics of the batch."""
    logits_BTK, lengths_B, caches, statistics = forward(spec, weights, images_BHW1, widths_B, rng, training=True)
    loss, loss_cache = ctc(logits_BTK, lengths_B, labels_BL, label_lengths_B)
    return loss, backward(ctc_backward(loss_cache), caches), statistics


# --- training step: shared by all rungs, see train.fit

# --- weights: canonical names and axes are used as they are; a call of an LSTM layer stacks its two directions
