"""LSTM-CTC: stem, bidirectional LSTM layers each followed by dropout, dense to the scores of each frame; CTC loss."""

# B batch, H height, W width, T frames, C channels, K classes, L label length (characters)

from __future__ import annotations

import numpy as np

from common.spec import LSTMCTCSpec

# --- layers
from impl_numpy import stem
from impl_numpy.convolution import convolution, convolution_backward
from impl_numpy.ctc import ctc, ctc_backward
from impl_numpy.device import Array, namespace
from impl_numpy.lstm import bidirectional_lstm, bidirectional_lstm_backward
from impl_numpy.ops import dropout, dropout_backward, keep_first, linear, linear_backward

DIRECTIONS = ("forward", "backward")
PARTS = ("kernel", "recurrent_kernel", "bias")


# --- model
def read(
    spec: LSTMCTCSpec,
    weights: dict[str, Array],
    x_BTC: Array,
    lengths_B: Array,
    rng: np.random.Generator | None = None,
    rows: int = 1,
) -> tuple[Array, tuple]:
    """Frames and the number of each line's own frames to logits (B, T, K), and the caches.

    Without a generator there is no dropout. For `rows`, see `bidirectional_lstm`.
    """
    xp = namespace(x_BTC)
    lstm_caches = []
    for i, share in enumerate(spec.layer_dropouts):
        both = [xp.stack([weights[f"lstm.{i}.{direction}.{part}"] for direction in DIRECTIONS]) for part in PARTS]
        x_BTC, lstm_cache = bidirectional_lstm(x_BTC, lengths_B, *both, rows=rows)
        x_BTC, dropout_cache = dropout(x_BTC, share, rng)
        lstm_caches.append((lstm_cache, dropout_cache))
    batch, length, channels = x_BTC.shape
    logits, head_cache = linear(x_BTC.reshape(-1, channels), weights["head.kernel"], weights["head.bias"])
    return logits.reshape(batch, length, -1), (lstm_caches, head_cache)


def read_backward(dlogits_BTK: Array, caches: tuple) -> tuple[Array, dict[str, Array]]:
    """dframes, and the gradient of each parameter from the last layer to the first."""
    lstm_caches, head_cache = caches
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
    return dx, gradients


def shortcut(weights: dict[str, Array], frames_BTC: Array) -> tuple[Array, tuple]:
    """Frames to logits (B, T, K) by a convolution over three frames, and the cache.

    Frames past a line's own are zero, so the convolution sees the same zeros as past the end of the batch.
    """
    # a line's frames are an image of one row
    kernel_13CK = weights["shortcut.kernel"][None]
    logits_B1TK, cache = convolution(frames_BTC[:, None], kernel_13CK, strides=(1, 1), padding=0)
    return logits_B1TK[:, 0] + weights["shortcut.bias"], cache


def shortcut_backward(dlogits_BTK: Array, cache: tuple) -> tuple[Array, dict[str, Array]]:
    """dframes, and the gradients of the kernel and of the bias."""
    dframes_B1TC, dkernel_13CK = convolution_backward(dlogits_BTK[:, None], cache, need_dx=True)
    return dframes_B1TC[:, 0], {"shortcut.kernel": dkernel_13CK[0], "shortcut.bias": dlogits_BTK.sum(axis=(0, 1))}


def logits(
    spec: LSTMCTCSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, _labels_BL: Array | None = None
) -> Array:
    """Scores (B, T, K) for reading, zero past each line's own frames; the labels are not used."""
    frames_BTC, lengths_B, _, _ = stem.forward(spec, weights, images_BHW1, widths_B, training=False)
    # BLAS adds up a product of one row in another order. With two rows, a line alone has the logits, to the last bit,
    # that it has in a batch
    logits_BTK, _ = read(spec, weights, frames_BTC, lengths_B, rows=2)
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
    """CTC loss in nats per character, its gradient per trained parameter, and the statistics of the batch.

    The shortcut's loss is added with its weight. Without a generator there is no dropout.
    """
    frames_BTC, lengths_B, stem_caches, statistics = stem.forward(spec, weights, images_BHW1, widths_B, training=True)
    logits_BTK, caches = read(spec, weights, frames_BTC, lengths_B, rng)
    loss, loss_cache = ctc(logits_BTK, lengths_B, labels_BL, label_lengths_B)
    dframes, gradients = read_backward(ctc_backward(loss_cache), caches)
    if spec.shortcut_weight:
        logits_BTK, cache = shortcut(weights, frames_BTC)
        added, loss_cache = ctc(logits_BTK, lengths_B, labels_BL, label_lengths_B)
        loss = loss + spec.shortcut_weight * added
        dadded, of_shortcut = shortcut_backward(spec.shortcut_weight * ctc_backward(loss_cache), cache)
        dframes = dframes + dadded
        gradients |= of_shortcut
    return loss, gradients | stem.backward(dframes, stem_caches), statistics


# --- training step: shared by all rungs, see train.fit

# --- weights: canonical names and axes are used as they are; a call of an LSTM layer stacks its two directions
