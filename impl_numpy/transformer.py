"""Transformer: stem, then a decoder with causal self-attention and cross-attention to the frames."""

# B batch, H height, W width, T frames, L label length (characters) or positions of the decoder
# D model width, K classes, A attention heads, E = D / A width of a head, M keys, R rows: B times L

from __future__ import annotations

import math

import numpy as np

from common.spec import TransformerSpec, positions

# --- layers
from impl_numpy import stem
from impl_numpy.attention import (
    dot_product_attention,
    keys_and_values,
    merge_heads,
    multi_head_attention,
    multi_head_attention_backward,
    projection,
    split_heads,
)
from impl_numpy.device import Array, namespace
from impl_numpy.normalization import layer_norm, layer_norm_backward
from impl_numpy.ops import (
    dropout,
    dropout_backward,
    keep_first,
    linear,
    linear_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)


def embed(kernel_KD: Array, ids_BL: Array, position_LD: Array) -> Array:
    """√D · embedding + position, (B, L, D)."""
    return kernel_KD[ids_BL] * math.sqrt(kernel_KD.shape[1]) + position_LD


def embed_backward(dx_BLD: Array, ids_BL: Array, num_classes: int) -> Array:
    """dkernel: the gradients of all positions of a class, summed by a product with its one-hot rows."""
    width = dx_BLD.shape[2]
    one_hot_RK = (ids_BL.reshape(-1, 1) == namespace(ids_BL).arange(num_classes)).astype(dx_BLD.dtype)
    return one_hot_RK.T @ dx_BLD.reshape(-1, width) * math.sqrt(width)


# --- model
def encode(
    spec: TransformerSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, *, training: bool
) -> tuple[Array, Array, tuple, dict[str, Array]]:
    """Memory (B, T, D): frames + positions; the mask of each line's own frames (B, T); caches and statistics."""
    frames_BTD, lengths_B, caches, statistics = stem.forward(spec, weights, images_BHW1, widths_B, training=training)
    length = frames_BTD.shape[1]
    position_TD = namespace(frames_BTD).asarray(positions(length, spec.model_dim), dtype=frames_BTD.dtype)
    return frames_BTD + position_TD, keep_first(lengths_B, length), caches, statistics


def decode_text(
    spec: TransformerSpec,
    weights: dict[str, Array],
    memory_BTD: Array,
    keep_BT: Array,
    ids_BL: Array,
    rng: np.random.Generator | None = None,
) -> tuple[Array, tuple]:
    """Logits (B, L, K) of the class after each one of `ids_BL`, and the caches.

    Without a generator there is no dropout.
    """
    xp = namespace(memory_BTD)
    length = ids_BL.shape[1]
    causal = xp.tri(length, dtype=bool)
    position_LD = xp.asarray(positions(length, spec.model_dim), dtype=memory_BTD.dtype)
    x_BLD, embed_cache = dropout(embed(weights["embedding.kernel"], ids_BL, position_LD), spec.dropout, rng)
    caches = []
    for i in range(spec.num_layers):
        name = f"decoder.{i}.self_attention"
        y, norm_cache = norm(weights, f"{name}_norm", x_BLD)
        y, cache = multi_head_attention(weights, name, spec.num_heads, y, y, causal)
        y, dropout_cache = dropout(y, spec.dropout, rng)
        x_BLD = x_BLD + y
        self_caches = norm_cache, cache, dropout_cache

        name = f"decoder.{i}.cross_attention"
        y, norm_cache = norm(weights, f"{name}_norm", x_BLD)
        y, cache = multi_head_attention(weights, name, spec.num_heads, y, memory_BTD, keep_BT[:, None, None])
        y, dropout_cache = dropout(y, spec.dropout, rng)
        x_BLD = x_BLD + y
        cross_caches = norm_cache, cache, dropout_cache

        name = f"decoder.{i}.feed_forward"
        y, norm_cache = norm(weights, f"{name}_norm", x_BLD)
        y, cache = feed_forward(weights, name, y)
        y, dropout_cache = dropout(y, spec.dropout, rng)
        x_BLD = x_BLD + y
        caches.append((self_caches, cross_caches, (norm_cache, cache, dropout_cache)))
    x_BLD, norm_cache = norm(weights, "decoder.norm", x_BLD)
    logits, head_cache = linear(x_BLD.reshape(-1, spec.model_dim), weights["head.kernel"], weights["head.bias"])
    return logits.reshape(*ids_BL.shape, -1), (ids_BL, embed_cache, caches, norm_cache, head_cache)


def decode_text_backward(dlogits_BLK: Array, caches: tuple) -> tuple[Array, dict[str, Array]]:
    """dmemory, and the gradient of each parameter of the decoder, from the last layer to the first."""
    ids_BL, embed_cache, layer_caches, norm_cache, head_cache = caches
    num_classes = dlogits_BLK.shape[2]
    gradients: dict[str, Array] = {}
    dx, gradients["head.kernel"], gradients["head.bias"] = linear_backward(
        dlogits_BLK.reshape(-1, num_classes), head_cache
    )
    dx = norm_backward(dx.reshape(*ids_BL.shape, -1), norm_cache, "decoder.norm", gradients)
    dmemory = 0
    for i in reversed(range(len(layer_caches))):
        self_caches, cross_caches, feed_forward_caches = layer_caches[i]
        name, (norm_cache, cache, dropout_cache) = f"decoder.{i}.feed_forward", feed_forward_caches
        dy = feed_forward_backward(dropout_backward(dx, dropout_cache), cache, name, gradients)
        dx = dx + norm_backward(dy, norm_cache, f"{name}_norm", gradients)

        name, (norm_cache, cache, dropout_cache) = f"decoder.{i}.cross_attention", cross_caches
        dy, d = multi_head_attention_backward(dropout_backward(dx, dropout_cache), cache, name, gradients)
        dx = dx + norm_backward(dy, norm_cache, f"{name}_norm", gradients)
        dmemory = dmemory + d

        name, (norm_cache, cache, dropout_cache) = f"decoder.{i}.self_attention", self_caches
        dy, d = multi_head_attention_backward(dropout_backward(dx, dropout_cache), cache, name, gradients)
        dx = dx + norm_backward(dy + d, norm_cache, f"{name}_norm", gradients)
    gradients["embedding.kernel"] = embed_backward(dropout_backward(dx, embed_cache), ids_BL, num_classes)
    return dmemory, gradients


def norm(weights: dict[str, Array], name: str, x_BLD: Array) -> tuple[Array, tuple]:
    """Layer norm of every position."""
    y, cache = layer_norm(x_BLD.reshape(-1, x_BLD.shape[2]), weights[f"{name}.scale"], weights[f"{name}.bias"])
    return y.reshape(x_BLD.shape), cache


def norm_backward(dy_BLD: Array, cache: tuple, name: str, gradients: dict[str, Array]) -> Array:
    """dx; stores the parameters' gradients in `gradients`."""
    dx, gradients[f"{name}.scale"], gradients[f"{name}.bias"] = layer_norm_backward(
        dy_BLD.reshape(-1, dy_BLD.shape[2]), cache
    )
    return dx.reshape(dy_BLD.shape)


def feed_forward(weights: dict[str, Array], name: str, x_BLD: Array) -> tuple[Array, tuple]:
    """Dense → ReLU → dense at every position."""
    y, cache0 = linear(x_BLD.reshape(-1, x_BLD.shape[2]), weights[f"{name}.0.kernel"], weights[f"{name}.0.bias"])
    y, relu_cache = relu(y)
    y, cache1 = linear(y, weights[f"{name}.1.kernel"], weights[f"{name}.1.bias"])
    return y.reshape(x_BLD.shape), (cache0, relu_cache, cache1)


def feed_forward_backward(dy_BLD: Array, cache: tuple, name: str, gradients: dict[str, Array]) -> Array:
    """dx; stores the parameters' gradients in `gradients`."""
    cache0, relu_cache, cache1 = cache
    d, gradients[f"{name}.1.kernel"], gradients[f"{name}.1.bias"] = linear_backward(
        dy_BLD.reshape(-1, dy_BLD.shape[2]), cache1
    )
    d = relu_backward(d, relu_cache)
    d, gradients[f"{name}.0.kernel"], gradients[f"{name}.0.bias"] = linear_backward(d, cache0)
    return d.reshape(dy_BLD.shape)


def logits(
    spec: TransformerSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, labels_BL: Array
) -> Array:
    """Scores (B, L + 1, K) for reading, zero past the end of each text."""
    memory_BTD, keep_BT, _, _ = encode(spec, weights, images_BHW1, widths_B, training=False)
    logits_BLK, _ = decode_text(spec, weights, memory_BTD, keep_BT, after_start(labels_BL))
    keep_BL = keep_first((labels_BL != 0).sum(axis=1) + 1, logits_BLK.shape[1])
    return logits_BLK * keep_BL[..., None]


def after_start(labels_BL: Array) -> Array:
    """Input of the decoder: class 0, then the text."""
    xp = namespace(labels_BL)
    return xp.concatenate([xp.zeros_like(labels_BL, shape=(len(labels_BL), 1)), labels_BL], axis=1)


# --- decoding
def decode(
    spec: TransformerSpec, weights: dict[str, Array], images_BHW1: Array, widths_B: Array, *, cached: bool
) -> tuple[Array, Array]:
    """Greedy decoding: classes (B, T) and the log-probability of each; see `common.recognizer.Decoder`."""
    xp = namespace(images_BHW1)
    memory_BTD, keep_BT, _, _ = encode(spec, weights, images_BHW1, widths_B, training=False)
    batch, length, _ = memory_BTD.shape
    ids_BL = xp.zeros((batch, length + 1), np.int32)  # column 0 is the start
    log_probs_BT = xp.zeros((batch, length), memory_BTD.dtype)
    going_B, frames_B = xp.ones(batch, bool), keep_BT.sum(axis=1)
    next_logits = CachedDecoder(spec, weights, memory_BTD, keep_BT) if cached else None
    for position in range(length):
        if next_logits is not None:
            logits_BK = next_logits(ids_BL[:, position], position)
        else:
            logits_BK = decode_text(spec, weights, memory_BTD, keep_BT, ids_BL[:, : position + 1])[0][:, -1]
        best_B = logits_BK.argmax(axis=1)
        largest_B1 = logits_BK.max(axis=1, keepdims=True)
        log_prob_B = -xp.log(xp.exp(logits_BK - largest_B1).sum(axis=1))
        ids_BL[:, position + 1] = xp.where(going_B, best_B, 0)
        log_probs_BT[:, position] = xp.where(going_B, log_prob_B, 0)
        going_B &= (best_B != 0) & (position + 1 < frames_B)
        if not going_B.any():
            break
    return ids_BL[:, 1:], log_probs_BT


class CachedDecoder:
    """The decoder, one position at a time. It keeps the keys and values of every layer."""

    def __init__(self, spec: TransformerSpec, weights: dict[str, Array], memory_BTD: Array, keep_BT: Array) -> None:
        xp = namespace(memory_BTD)
        batch, length, width = memory_BTD.shape
        self.spec, self.weights, self.keep = spec, weights, keep_BT[:, None, None]
        self.position_TD = xp.asarray(positions(length, width), dtype=memory_BTD.dtype)
        shape = spec.num_layers, 2, batch, spec.num_heads, length, width // spec.num_heads
        self.self_attention = xp.empty(shape, memory_BTD.dtype)
        self.cross_attention = [
            keys_and_values(weights, f"decoder.{i}.cross_attention", spec.num_heads, memory_BTD)[:2]
            for i in range(spec.num_layers)
        ]

    def __call__(self, ids_B: Array, position: int) -> Array:
        """Logits (B, K) of the next class, after `ids_B` at `position`; the calls go through the positions in order."""
        spec, weights = self.spec, self.weights
        x_B1D = embed(weights["embedding.kernel"], ids_B[:, None], self.position_TD[position])
        for i in range(spec.num_layers):
            name = f"decoder.{i}.self_attention"
            y, _ = norm(weights, f"{name}_norm", x_B1D)
            known = self.self_attention[i, ..., : position + 1, :]
            known[0][..., position:, :], known[1][..., position:, :], _ = keys_and_values(
                weights, name, spec.num_heads, y
            )
            x_B1D = x_B1D + self._attend(name, y, *known, True)

            name = f"decoder.{i}.cross_attention"
            y, _ = norm(weights, f"{name}_norm", x_B1D)
            x_B1D = x_B1D + self._attend(name, y, *self.cross_attention[i], self.keep)

            name = f"decoder.{i}.feed_forward"
            y, _ = norm(weights, f"{name}_norm", x_B1D)
            x_B1D = x_B1D + feed_forward(weights, name, y)[0]
        x_B1D, _ = norm(weights, "decoder.norm", x_B1D)
        return linear(x_B1D[:, 0], weights["head.kernel"], weights["head.bias"])[0]

    def _attend(self, name: str, x_B1D: Array, k_BAME: Array, v_BAME: Array, keep: Array | bool) -> Array:
        queries, _ = linear(x_B1D[:, 0], *projection(self.weights, name, "query"))
        q_BA1E = split_heads(queries[:, None], self.spec.num_heads)
        mixed_BA1E, _ = dot_product_attention(q_BA1E, k_BAME, v_BAME, keep)
        return linear(merge_heads(mixed_BA1E)[:, 0], *projection(self.weights, name, "output"))[0][:, None]


# --- loss
def loss_and_gradients(
    spec: TransformerSpec,
    weights: dict[str, Array],
    images_BHW1: Array,
    widths_B: Array,
    labels_BL: Array,
    label_lengths_B: Array,
    rng: np.random.Generator | None,
) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Mean cross-entropy of the characters and of the ends, nats; its gradients; the statistics of the batch."""
    xp = namespace(images_BHW1)
    memory_BTD, keep_BT, stem_caches, statistics = encode(spec, weights, images_BHW1, widths_B, training=True)
    logits_BLK, caches = decode_text(spec, weights, memory_BTD, keep_BT, after_start(labels_BL), rng)
    # after its characters, each line has the target class 0, the end of its text; later columns are no targets
    targets_BL = xp.concatenate([labels_BL, xp.zeros_like(labels_BL, shape=(len(labels_BL), 1))], axis=1)
    is_target_BL = keep_first(label_lengths_B + 1, targets_BL.shape[1])
    loss, loss_cache = softmax_cross_entropy(logits_BLK[is_target_BL], targets_BL[is_target_BL])
    dlogits_BLK = xp.zeros_like(logits_BLK)
    dlogits_BLK[is_target_BL] = softmax_cross_entropy_backward(loss_cache)
    dmemory_BTD, gradients = decode_text_backward(dlogits_BLK, caches)
    return loss, gradients | stem.backward(dmemory_BTD, stem_caches), statistics


# --- training step: shared by all rungs, see train.fit

# --- weights: canonical names and axes are used as they are
