"""Transformer: stem → frames + positions → decoder → dense to K logits per character."""

# B batch, H height, W width, T frames, L label length, S scores per image (positions of the text: L + 1 in training)
# M positions attended to (frames, or the text's own), D model width, A attention heads, E = D / A, K classes

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
from keras import layers, ops

from common.recognizer import DType
from common.spec import NORM_EPSILON, TransformerSpec, positions
from impl_keras.device import Array
from impl_keras.own_loss import OwnLossModel
from impl_keras.stem import Stem, line_inputs

KeysValues = tuple[Array, Array]
"""(B, A, E, M) and (B, A, M, E)."""
MAX_LENGTH = 4096
"""The most frames or characters. The table of positions is computed once, at this length, because TensorFlow knows a
line's length only while it runs."""


# --- layers
@keras.saving.register_keras_serializable("fourhands")
class Positions(layers.Layer):
    """Adds the position to each frame or character."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        self.table = positions(MAX_LENGTH, width).astype(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {"width": self.width}

    def call(self, x_BSD: Array, first: int | Array = 0) -> Array:
        """x_BSD with its positions added; its first row is at position `first`."""
        return x_BSD + ops.take(self.table, first + ops.arange(ops.shape(x_BSD)[1]), axis=0)


@keras.saving.register_keras_serializable("fourhands")
class Attention(layers.Layer):
    """Multi-head attention. Source: Vaswani et al. 2017, section 3.2.

    `layers.MultiHeadAttention` has a bias in all of its parts or in none, and computes keys and values anew in each
    call. `ops.dot_product_attention` moves their axes in each call, which takes most of the time of a decoding step.
    """

    def __init__(self, width: int, num_heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.width, self.num_heads = width, num_heads
        # np.float64, because TensorFlow reads a Python float as float32, which shows in float64
        self.scale = np.float64(width // num_heads) ** -0.5
        dense = {"kernel_initializer": "zeros", "dtype": self.dtype_policy}
        self.query, self.key, self.value, self.out = (
            layers.Dense(width, use_bias=part != "key", name=part, **dense)
            for part in ("query", "key", "value", "output")
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {"width": self.width, "num_heads": self.num_heads}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables."""
        for dense in (self.query, self.key, self.value, self.out):
            dense.build(input_shape)

    def heads(self, x_BSD: Array, axes: tuple[int, ...]) -> Array:
        """(B, S, D) split into (B, S, A, E), with the axes then in the order `axes`."""
        split_BSAE = ops.reshape(x_BSD, (*ops.shape(x_BSD)[:2], self.num_heads, self.width // self.num_heads))
        return ops.transpose(split_BSAE, axes)

    def keys_values(self, x_BMD: Array) -> KeysValues:
        """Keys and values of the positions that queries attend to."""
        return self.heads(self.key(x_BMD), (0, 2, 3, 1)), self.heads(self.value(x_BMD), (0, 2, 1, 3))

    def call(self, x_BSD: Array, keys_values: KeysValues, keep: Array) -> Array:
        """Attend from each position of x to those where `keep`, which broadcasts to (B, A, S, M), is True."""
        keys_BAEM, values_BAME = keys_values
        scores_BASM = ops.matmul(self.heads(self.query(x_BSD) * self.scale, (0, 2, 1, 3)), keys_BAEM)
        # not ops.softmax, which warns about an axis of length 1, such as a text of one character
        weights_BASM = ops.exp(ops.log_softmax(ops.where(keep, scores_BASM, -1e30)))
        x_BSAE = ops.transpose(ops.matmul(weights_BASM, values_BAME), (0, 2, 1, 3))
        return self.out(ops.reshape(x_BSAE, ops.shape(x_BSD)))


@keras.saving.register_keras_serializable("fourhands")
class DecoderLayer(layers.Layer):
    """Pre-norm: causal self-attention, attention to the frames, dense → ReLU → dense. Source: Xiong et al. 2020.

    Args:
        width: of the model.
        num_heads: attention heads.
        feed_forward_dim: units between the two dense layers.
        dropout: share dropped of what each sublayer adds.
        seed: of the first sublayer's dropout; the next two count on. `train.fit` adds the run's seed.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(
        self, width: int, num_heads: int, feed_forward_dim: int, dropout: float, seed: int, **options: Any
    ) -> None:
        super().__init__(**options)
        self.options = {
            "width": width,
            "num_heads": num_heads,
            "feed_forward_dim": feed_forward_dim,
            "dropout": dropout,
            "seed": seed,
        }
        dtype = {"dtype": self.dtype_policy}
        self.self_attention = Attention(width, num_heads, name="self_attention", **dtype)
        self.cross_attention = Attention(width, num_heads, name="cross_attention", **dtype)
        zeros = {"kernel_initializer": "zeros", **dtype}
        self.feed_forward_0 = layers.Dense(feed_forward_dim, "relu", name="feed_forward_0", **zeros)
        self.feed_forward_1 = layers.Dense(width, name="feed_forward_1", **zeros)
        self.self_attention_norm, self.cross_attention_norm, self.feed_forward_norm = (
            layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm", **dtype)
            for name in ("self_attention", "cross_attention", "feed_forward")
        )
        self.dropouts = [layers.Dropout(dropout, seed=seed + i, **dtype) for i in range(3)]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | self.options

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables."""
        for layer in (self.self_attention, self.cross_attention, self.feed_forward_0):
            layer.build(input_shape)
        for norm in (self.self_attention_norm, self.cross_attention_norm, self.feed_forward_norm):
            norm.build(input_shape)
        self.feed_forward_1.build((*input_shape[:-1], self.feed_forward_0.units))

    def call(
        self,
        x_BSD: Array,
        crossed: KeysValues,
        keep_BT: Array,
        cache: KeysValues | None = None,
        first: int | Array = 0,
    ) -> tuple[Array, KeysValues]:
        """The layer's output, and its cache.

        Args:
            x_BSD: consecutive positions of the text, from `first` on.
            crossed: keys and values of the frames.
            keep_BT: True at a line's own frames.
            cache: keys and values of self-attention, with room for the whole text; x overwrites its own positions.
            first: the first position of x.
        """
        drop_self, drop_cross, drop_dense = self.dropouts
        x, y = x_BSD, self.self_attention_norm(x_BSD)
        keys, values = self.self_attention.keys_values(y)
        if cache is not None:
            keys = ops.slice_update(cache[0], (0, 0, 0, first), keys)
            values = ops.slice_update(cache[1], (0, 0, first, 0), values)
        position_S1 = first + ops.arange(ops.shape(x)[1])[:, None]
        keep_SM = ops.arange(ops.shape(keys)[3]) <= position_S1
        x = x + drop_self(self.self_attention(y, (keys, values), keep_SM))
        x = x + drop_cross(self.cross_attention(self.cross_attention_norm(x), crossed, keep_BT[:, None, None]))
        x = x + drop_dense(self.feed_forward_1(self.feed_forward_0(self.feed_forward_norm(x))))
        return x, (keys, values)


@keras.saving.register_keras_serializable("fourhands")
class Decoder(layers.Layer):
    """√D · embedding + position, with dropout; the layers; a last norm; dense to K logits.

    Args:
        num_classes: classes K.
        width: D of the model.
        num_layers: decoder layers.
        num_heads: attention heads of each.
        feed_forward_dim: units between the two dense layers of each.
        dropout: share dropped of the embeddings, and of what each sublayer adds.
        options: those of every Keras layer (name, dtype, trainable).
    """

    def __init__(
        self,
        num_classes: int,
        width: int,
        num_layers: int,
        num_heads: int,
        feed_forward_dim: int,
        dropout: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.options = {
            "num_classes": num_classes,
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "feed_forward_dim": feed_forward_dim,
            "dropout": dropout,
        }
        self.num_classes, self.width = num_classes, width
        dtype = {"dtype": self.dtype_policy}
        zeros = {"kernel_initializer": "zeros", **dtype}
        # not `layers.Embedding`: on TensorFlow its gradient has one row per character, and clipping takes the norm of
        # the rows before it adds up those of one class. Dense on one-hot vectors has the gradient of the definition
        self.embedding = layers.Dense(width, use_bias=False, name="embedding", **zeros)
        self.positions = Positions(width, name="positions", **dtype)
        self.dropout = layers.Dropout(dropout, seed=0, **dtype)
        self.layers = [
            DecoderLayer(width, num_heads, feed_forward_dim, dropout, seed=3 * i + 1, name=str(i), **dtype)
            for i in range(num_layers)
        ]
        self.norm = layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm", **dtype)
        self.head = layers.Dense(num_classes, name="head", **zeros)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | self.options

    @property
    def dropouts(self) -> list[layers.Dropout]:
        """Every dropout layer in the decoder."""
        return [self.dropout, *(dropout for layer in self.layers for dropout in layer.dropouts)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables."""
        self.embedding.build((None, None, self.num_classes))
        for layer in (*self.layers, self.norm, self.head):
            layer.build((None, None, self.width))

    def call(self, classes_BS: Array, memory_BTD: Array, keep_BT: Array) -> Array:
        """Logits (B, S, K) of the class that follows each of `classes_BS`."""
        return self.extend(classes_BS, self.crossed(memory_BTD), keep_BT)[0]

    def crossed(self, memory_BTD: Array) -> list[KeysValues]:
        """Keys and values of the frames, per layer."""
        return [layer.cross_attention.keys_values(memory_BTD) for layer in self.layers]

    def extend(
        self,
        classes_BS: Array,
        crossed: list[KeysValues],
        keep_BT: Array,
        caches: list[KeysValues] | None = None,
        first: int | Array = 0,
    ) -> tuple[Array, list[KeysValues]]:
        """Logits of the class that follows each of `classes_BS`, and the new caches; `first` is the first position."""
        one_hot_BSK = ops.one_hot(classes_BS, self.num_classes, dtype=self.compute_dtype)
        x = self.dropout(self.positions(self.width**0.5 * self.embedding(one_hot_BSK), first=first))
        owns = []
        for i, layer in enumerate(self.layers):
            x, own = layer(x, crossed[i], keep_BT, cache=caches[i] if caches else None, first=first)
            owns.append(own)
        return self.head(self.norm(x)), owns


# --- model
@keras.saving.register_keras_serializable("fourhands")
class Transformer(OwnLossModel):
    """Images (B, H, W, 1), widths (B,) and labels (B, L) to logits (B, L + 1, K)."""

    def __init__(self, spec: TransformerSpec, *, dtype: DType, name: str = "transformer") -> None:
        stem = Stem.of(spec, dtype)
        frame_positions = Positions(spec.model_dim, name="positions", dtype=dtype)
        decoder = Decoder(
            spec.num_classes,
            spec.model_dim,
            spec.num_layers,
            spec.num_heads,
            spec.feed_forward_dim,
            spec.dropout,
            name="decoder",
            dtype=dtype,
        )

        images, widths = line_inputs(spec, dtype)
        labels = keras.Input((None,), dtype="int32", name="labels")
        frames, keep_BT = stem(images, widths)
        memory = frame_positions(frames)
        starts = ops.pad(labels, ((0, 0), (1, 0)))  # the first character is predicted from class 0
        logits = decoder(starts, memory, keep_BT)
        super().__init__(spec, (images, widths, labels), logits, name=name, dtype=dtype)
        self.stem, self.frame_positions, self.decoder = stem, frame_positions, decoder

    def batch_loss(self, x: tuple[Array, ...], labels_BL: Array, logits_BSK: Array, sample_weight: None) -> Array:
        """Nats per character; the end of a text counts as one."""
        return text_loss(labels_BL, logits_BSK)


# --- decoding
@keras.saving.register_keras_serializable("fourhands")
class Greedy(keras.Model):
    """Images and widths to classes and their log-probabilities, in one compiled loop; see `common.recognizer.Decoder`.

    With the cache a step computes one position; without it, a step computes all of them.
    """

    def __init__(self, transformer: Transformer, *, cached: bool, name: str = "greedy") -> None:
        super().__init__(name=name, dtype=transformer.dtype_policy)
        self.transformer = transformer
        self.cached = cached

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        transformer = keras.saving.serialize_keras_object(self.transformer)
        return {"transformer": transformer, "cached": self.cached, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**config | {"transformer": keras.saving.deserialize_keras_object(config["transformer"])})

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Nothing to create: all variables are those of the transformer, which its constructor creates."""

    def call(self, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        """Both (B, T)."""
        decoder = self.transformer.decoder
        frames_BTD, keep_BT = self.transformer.stem(*inputs)
        crossed = decoder.crossed(self.transformer.frame_positions(frames_BTD))
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
                logits_B1K, caches = decoder.extend(starts_B1, crossed, keep_BT, caches, i)
            else:
                logits_BTK, _ = decoder.extend(classes_BT[:, :-1], crossed, keep_BT)
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
def text_loss(labels_BL: Array, logits_BSK: Array) -> Array:
    """Mean cross-entropy of the characters and of the end of each text."""
    targets_BS = ops.pad(labels_BL, ((0, 0), (0, 1)))  # class 0 is the end
    ends_B1 = ops.sum(ops.cast(labels_BL > 0, "int32"), axis=1, keepdims=True)
    keep_BS = ops.cast(ops.arange(ops.shape(targets_BS)[1]) <= ends_B1, logits_BSK.dtype)
    losses_BS = ops.sparse_categorical_crossentropy(targets_BS, logits_BSK, from_logits=True)
    return ops.sum(losses_BS * keep_BS) / ops.sum(keep_BS)


# --- training step: Keras's own, see Model.fit


# --- weights
def canonical_name(path: str) -> str:
    """decoder/norm/gamma holds decoder.norm.scale, and so on."""
    name = path.replace("/", ".").replace("decoder.embedding", "embedding").replace("decoder.head", "head")
    name = name.replace("feed_forward_0", "feed_forward.0").replace("feed_forward_1", "feed_forward.1")
    return name.replace("gamma", "scale").replace("beta", "bias")
