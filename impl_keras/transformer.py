"""Transformer: stem → frames + positions → decoder → dense to K logits per character."""

# B batch, H height, W width, T frames, D model width, N decoder positions, L label length, K classes
# A attention heads, E width of a head, S keys

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from common.recognizer import DType
from common.spec import NORM_EPSILON, TransformerSpec, positions
from impl_keras.device import Array
from impl_keras.stem import LineModel, Stem, line_inputs

KeysValues = tuple[Array, Array]
"""(B, A, E, S) and (B, A, S, E)."""
MAX_LENGTH = 4096
"""Frames or characters at most: TensorFlow knows a line's length only while it runs, so the table is made ahead."""


# --- layers
class Positions(layers.Layer):
    """Adds the position to each frame or character."""

    def __init__(self, width: int, *, dtype: DType) -> None:
        super().__init__(name="positions", dtype=dtype)
        self.table_ND = positions(MAX_LENGTH, width).astype(dtype)

    def call(self, x_BND: Array, first: int | Array = 0) -> Array:
        """x_BND stands at positions `first` and on."""
        return x_BND + ops.take(self.table_ND, first + ops.arange(ops.shape(x_BND)[1]), axis=0)


class Attention(layers.Layer):
    """Multi-head attention. Source: Vaswani et al. 2017, section 3.2.

    `layers.MultiHeadAttention` has a bias for all of its parts or for none, and computes keys and values anew in each
    call; `ops.dot_product_attention` moves their axes in each call, which takes most of a decoding step.
    """

    def __init__(self, spec: TransformerSpec, *, name: str, dtype: DType) -> None:
        super().__init__(name=name, dtype=dtype)
        self.heads_and_width = spec.num_heads, spec.model_dim // spec.num_heads
        # np.float64, because TensorFlow reads a Python float as float32, which shows in float64
        self.scale = np.float64(spec.model_dim // spec.num_heads) ** -0.5
        self.query, self.key, self.value, self.out = (
            layers.Dense(spec.model_dim, use_bias=part != "key", kernel_initializer="zeros", name=part, dtype=dtype)
            for part in ("query", "key", "value", "output")
        )

    def build(self, *shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        for dense in (self.query, self.key, self.value, self.out):
            dense.build(shape[0])

    def heads(self, x_BND: Array, axes: tuple[int, ...]) -> Array:
        """(B, N, D) as (B, N, A, E), its axes then put in that order."""
        return ops.transpose(ops.reshape(x_BND, (*ops.shape(x_BND)[:2], *self.heads_and_width)), axes)

    def keys_values(self, x_BSD: Array) -> KeysValues:
        """Of what is attended to."""
        return self.heads(self.key(x_BSD), (0, 2, 3, 1)), self.heads(self.value(x_BSD), (0, 2, 1, 3))

    def call(self, x_BND: Array, keys_values: KeysValues, keep: Array) -> Array:
        """What each position gathers; `keep` broadcasts to (B, A, N, S)."""
        keys_BAES, values_BASE = keys_values
        scores_BANS = ops.matmul(self.heads(self.query(x_BND) * self.scale, (0, 2, 1, 3)), keys_BAES)
        # not ops.softmax, which warns of an axis of length 1, such as a text of one character
        shares_BANS = ops.exp(ops.log_softmax(ops.where(keep, scores_BANS, -1e30)))
        gathered_BNAE = ops.transpose(ops.matmul(shares_BANS, values_BASE), (0, 2, 1, 3))
        return self.out(ops.reshape(gathered_BNAE, ops.shape(x_BND)))


class DecoderLayer(layers.Layer):
    """Pre-norm: causal self-attention, attention to the frames, dense → ReLU → dense. Source: Xiong et al. 2020."""

    def __init__(self, spec: TransformerSpec, index: int, *, dtype: DType) -> None:
        super().__init__(name=str(index), dtype=dtype)
        zeros = {"kernel_initializer": "zeros", "dtype": dtype}
        self.self_attention = Attention(spec, name="self_attention", dtype=dtype)
        self.cross_attention = Attention(spec, name="cross_attention", dtype=dtype)
        self.feed_forward_0 = layers.Dense(spec.feed_forward_dim, "relu", name="feed_forward_0", **zeros)
        self.feed_forward_1 = layers.Dense(spec.model_dim, name="feed_forward_1", **zeros)
        self.self_attention_norm, self.cross_attention_norm, self.feed_forward_norm = (
            layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm", dtype=dtype)
            for name in ("self_attention", "cross_attention", "feed_forward")
        )
        # `train.fit` mixes the run's seed in; 0 is the embedding's
        self.dropouts = [layers.Dropout(spec.dropout, seed=3 * index + i, dtype=dtype) for i in (1, 2, 3)]
        self.feed_forward_dim = spec.feed_forward_dim

    def build(self, *shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        for layer in (self.self_attention, self.cross_attention, self.feed_forward_0):
            layer.build(shape[0])
        for norm in (self.self_attention_norm, self.cross_attention_norm, self.feed_forward_norm):
            norm.build(shape[0])
        self.feed_forward_1.build((*shape[0][:-1], self.feed_forward_dim))

    def call(
        self,
        x_BND: Array,
        crossed: KeysValues,
        keep_BT: Array,
        cache: KeysValues | None = None,
        first: int | Array = 0,
    ) -> tuple[Array, KeysValues]:
        """Positions `first` and on. `crossed` are the frames' keys and values; `cache` has room for all positions'.

        Returns:
            The same positions, and the cache with their keys and values in it.
        """
        drop_self, drop_cross, drop_dense = self.dropouts
        x, y = x_BND, self.self_attention_norm(x_BND)
        keys, values = self.self_attention.keys_values(y)
        if cache is not None:
            keys = ops.slice_update(cache[0], (0, 0, 0, first), keys)
            values = ops.slice_update(cache[1], (0, 0, first, 0), values)
        position_N1 = first + ops.arange(ops.shape(x)[1])[:, None]
        keep_NS = ops.arange(ops.shape(keys)[3]) <= position_N1
        x = x + drop_self(self.self_attention(y, (keys, values), keep_NS))
        x = x + drop_cross(self.cross_attention(self.cross_attention_norm(x), crossed, keep_BT[:, None, None]))
        x = x + drop_dense(self.feed_forward_1(self.feed_forward_0(self.feed_forward_norm(x))))
        return x, (keys, values)


class Decoder(layers.Layer):
    """√D · embedding + position, with dropout; the layers; a last norm; dense to K logits."""

    def __init__(self, spec: TransformerSpec, *, dtype: DType) -> None:
        super().__init__(name="decoder", dtype=dtype)
        self.width = spec.model_dim
        self.num_classes = spec.num_classes
        # on TensorFlow the gradient of `layers.Embedding` holds a row per character, and clipping takes the norm of the
        # rows before it adds those of one class; dense on one-hot vectors has the gradient that is meant
        self.embedding = layers.Dense(
            spec.model_dim, use_bias=False, kernel_initializer="zeros", name="embedding", dtype=dtype
        )
        self.positions = Positions(spec.model_dim, dtype=dtype)
        self.dropout = layers.Dropout(spec.dropout, seed=0, dtype=dtype)
        self.layers = [DecoderLayer(spec, i, dtype=dtype) for i in range(spec.num_layers)]
        self.norm = layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm", dtype=dtype)
        self.head = layers.Dense(spec.num_classes, kernel_initializer="zeros", name="head", dtype=dtype)

    def build(self, *_: tuple[int | None, ...]) -> None:
        """Make the variables."""
        self.embedding.build((None, None, self.num_classes))
        for layer in (*self.layers, self.norm, self.head):
            layer.build((None, None, self.width))

    def call(self, classes_BN: Array, memory_BTD: Array, keep_BT: Array) -> Array:
        """Scores of what follows each of the classes: (B, N, K)."""
        return self.extend(classes_BN, self.crossed(memory_BTD), keep_BT)[0]

    def crossed(self, memory_BTD: Array) -> list[KeysValues]:
        """Keys and values of the frames, per layer."""
        return [layer.cross_attention.keys_values(memory_BTD) for layer in self.layers]

    def extend(
        self,
        classes_BN: Array,
        crossed: list[KeysValues],
        keep_BT: Array,
        caches: list[KeysValues] | None = None,
        first: int | Array = 0,
    ) -> tuple[Array, list[KeysValues]]:
        """Scores of what follows each of the classes, which stand at `first` and on, and the caches that hold them."""
        one_hot_BNK = ops.one_hot(classes_BN, self.num_classes, dtype=self.compute_dtype)
        x = self.dropout(self.positions(self.width**0.5 * self.embedding(one_hot_BNK), first=first))
        owns = []
        for i, layer in enumerate(self.layers):
            x, own = layer(x, crossed[i], keep_BT, cache=caches[i] if caches else None, first=first)
            owns.append(own)
        return self.head(self.norm(x)), owns


# --- model
def build_model(spec: TransformerSpec, dtype: DType) -> keras.Model:
    """Images (B, H, W, 1), widths (B,) and labels (B, L) to logits (B, L + 1, K)."""
    inputs = (*line_inputs(spec, dtype), keras.Input((None,), dtype="int32", name="labels"))
    images, widths, labels = inputs
    frames, keep = Stem(spec, dtype=dtype)(images, widths)
    memory = Positions(spec.model_dim, dtype=dtype)(frames)
    starts = ops.pad(labels, ((0, 0), (1, 0)))  # the first character is predicted from class 0
    logits = Decoder(spec, dtype=dtype)(starts, memory, keep)
    return Transformer(inputs, logits, name="transformer", dtype=dtype)


# --- decoding
class Greedy(keras.Model):
    """Images and widths to classes and their log-probabilities, in one compiled loop; see `common.recognizer.Decoder`.

    With the cache each step computes one position, without all of them again.
    """

    def __init__(self, model: keras.Model, *, cached: bool) -> None:
        super().__init__(name="greedy", dtype=model.dtype_policy)
        self.stem, self.positions, self.decoder = map(model.get_layer, ("stem", "positions", "decoder"))
        self.cached = cached

    def call(self, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        """Both (B, T)."""
        frames_BTD, keep_BT = self.stem(*inputs)
        crossed = self.decoder.crossed(self.positions(frames_BTD))
        batch, total = ops.shape(keep_BT)
        frames_B = ops.sum(ops.cast(keep_BT, "int32"), axis=1)
        caches = [tuple(map(ops.zeros_like, pair)) for pair in crossed] if self.cached else []

        def unread(
            i: Array, _classes_BT: Array, _log_probs_BT: Array, keep_B: Array, _caches: list[KeysValues]
        ) -> Array:
            return (i < total) & ops.any(keep_B)

        def step(
            i: Array, classes_BT: Array, log_probs_BT: Array, keep_B: Array, caches: list[KeysValues]
        ) -> tuple[Array, Array, Array, Array, list[KeysValues]]:
            """Fill in position i; column 0 of the classes is the start."""
            if self.cached:
                starts_B1 = ops.take(classes_BT, i[None], axis=1)
                logits_B1K, caches = self.decoder.extend(starts_B1, crossed, keep_BT, caches, i)
            else:
                logits_BTK, _ = self.decoder.extend(classes_BT[:, :-1], crossed, keep_BT)
                logits_B1K = ops.take(logits_BTK, i[None], axis=1)
            log_probs_BK = ops.log_softmax(logits_B1K[:, 0])
            class_B = ops.where(keep_B, ops.cast(ops.argmax(log_probs_BK, axis=1), "int32"), 0)
            log_prob_B = ops.where(keep_B, ops.max(log_probs_BK, axis=1), 0)
            position_T = ops.arange(total)
            classes_BT = ops.where(ops.arange(total + 1) == i + 1, class_B[:, None], classes_BT)
            log_probs_BT = ops.where(position_T == i, log_prob_B[:, None], log_probs_BT)
            return i + 1, classes_BT, log_probs_BT, (class_B > 0) & (i + 1 < frames_B), caches

        _, classes_BT, log_probs_BT, *_ = ops.while_loop(
            unread,
            step,
            (
                ops.convert_to_tensor(0),
                ops.zeros((batch, total + 1), "int32"),
                ops.zeros((batch, total), frames_BTD.dtype),
                ops.ones((batch,), "bool"),
                caches,
            ),
        )
        return classes_BT[:, 1:], log_probs_BT


# --- loss
class Transformer(LineModel):
    """Mean cross-entropy of the characters and of the end of each text."""

    def line_loss(self, x: tuple[Array, ...], labels_BL: Array, logits_BNK: Array) -> Array:
        """Nats per character, an end being one."""
        targets_BN = ops.pad(labels_BL, ((0, 0), (0, 1)))  # class 0 is the end
        ends_B1 = ops.sum(ops.cast(labels_BL > 0, "int32"), axis=1, keepdims=True)
        keep_BN = ops.cast(ops.arange(ops.shape(targets_BN)[1]) <= ends_B1, logits_BNK.dtype)
        losses_BN = ops.sparse_categorical_crossentropy(targets_BN, logits_BNK, from_logits=True)
        return ops.sum(losses_BN * keep_BN) / ops.sum(keep_BN)


# --- training step: Keras's own, see Model.fit


# --- weights
def canonical_name(path: str) -> str:
    """decoder/norm/gamma holds decoder.norm.scale, and so on."""
    name = path.replace("/", ".").replace("decoder.embedding", "embedding").replace("decoder.head", "head")
    name = name.replace("feed_forward_0", "feed_forward.0").replace("feed_forward_1", "feed_forward.1")
    return name.replace("gamma", "scale").replace("beta", "bias")
