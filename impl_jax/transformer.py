"""Transformer: stem, frames with positions, and a decoder with causal self-attention and attention to the frames."""

# B batch, H height, W width, T frames, L label length, S scores per image (positions of the text: L + 1 in training)
# M positions attended to (frames, or the text's own), D model width, A attention heads, E = D / A, K classes

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from common.spec import NORM_EPSILON, TransformerSpec, positions
from impl_jax.stem import Stem, keep_first

KeysValues = tuple[Float[Array, "B _ A E"], Float[Array, "B _ A E"]]


# --- layers: nnx.Embed, nnx.LayerNorm, nnx.Dropout, the stem, and
class Attention(nnx.Module):
    """Scaled dot-product attention with several heads. Source: Vaswani et al. 2017, section 3.2."""

    def __init__(self, width: int, num_heads: int, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.query, self.value, self.output = (linear(width, width, dtype=dtype, rngs=rngs) for _ in range(3))
        self.key = linear(width, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.num_heads = num_heads

    def keys_values(self, x_BMD: Float[Array, "B M D"]) -> KeysValues:
        """Keys and values of the positions that queries attend to."""
        return self._split(self.key(x_BMD)), self._split(self.value(x_BMD))

    def __call__(
        self, x_BSD: Float[Array, "B S D"], keys_values: KeysValues, keep: Bool[Array, "#B 1 #S M"]
    ) -> Float[Array, "B S D"]:
        """Attend from each position of x to the positions where `keep` is True."""
        keys_BMAE, values_BMAE = keys_values
        queries_BSAE = self._split(self.query(x_BSD))
        scores_BASM = jnp.einsum("bsae,bmae->basm", queries_BSAE, keys_BMAE)
        scores_BASM /= keys_BMAE.shape[-1] ** 0.5
        # not jax.nn.dot_product_attention: it computes its softmax in float32, for float64 inputs too
        weights_BASM = nnx.softmax(jnp.where(keep, scores_BASM, -jnp.inf))
        x_BSAE = jnp.einsum("basm,bmae->bsae", weights_BASM, values_BMAE)
        return self.output(x_BSAE.reshape(x_BSD.shape))

    def _split(self, x: Float[Array, "B _ D"]) -> Float[Array, "B _ A E"]:
        return x.reshape(*x.shape[:2], self.num_heads, -1)


class DecoderLayer(nnx.Module):
    """Pre-norm: x + f(norm(x)) for self-attention, attention to the frames, and two dense layers in turn."""

    def __init__(self, spec: TransformerSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        width = spec.model_dim
        self.self_attention_norm = norm(width, dtype=dtype, rngs=rngs)
        self.self_attention = Attention(width, spec.num_heads, dtype=dtype, rngs=rngs)
        self.cross_attention_norm = norm(width, dtype=dtype, rngs=rngs)
        self.cross_attention = Attention(width, spec.num_heads, dtype=dtype, rngs=rngs)
        self.feed_forward_norm = norm(width, dtype=dtype, rngs=rngs)
        self.feed_forward = nnx.List(
            linear(fan_in, fan_out, dtype=dtype, rngs=rngs)
            for fan_in, fan_out in ((width, spec.feed_forward_dim), (spec.feed_forward_dim, width))
        )
        self.dropout = nnx.Dropout(spec.dropout)

    def __call__(
        self,
        x_BSD: Float[Array, "B S D"],
        memory: KeysValues,
        keep_BT: Bool[Array, "B T"],
        *,
        rngs: nnx.Rngs | None = None,
        cache: KeysValues | None = None,
        position: Int[Array, ""] | int = 0,
    ) -> tuple[Float[Array, "B S D"], KeysValues]:
        """The layer's output, and the keys and values of its self-attention.

        Args:
            x_BSD: consecutive positions of the text.
            memory: keys and values of the frames.
            keep_BT: True at a line's own frames.
            rngs: random streams of dropout; None turns dropout off.
            cache: keys and values of self-attention, with room for the whole text; x overwrites its own positions.
            position: the first position of x.
        """
        drop = lambda x: self.dropout(x, deterministic=rngs is None, rngs=rngs)  # noqa: E731
        normed_BSD = self.self_attention_norm(x_BSD)
        own = self.self_attention.keys_values(normed_BSD)
        if cache is not None:
            own = jax.tree.map(
                lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=1), cache, own
            )
        causal_SM = jnp.arange(own[0].shape[1]) <= position + jnp.arange(x_BSD.shape[1])[:, None]
        x_BSD += drop(self.self_attention(normed_BSD, own, causal_SM[None, None]))
        x_BSD += drop(self.cross_attention(self.cross_attention_norm(x_BSD), memory, keep_BT[:, None, None]))
        hidden = nnx.relu(self.feed_forward[0](self.feed_forward_norm(x_BSD)))
        return x_BSD + drop(self.feed_forward[1](hidden)), own


class Linear(nnx.Linear):
    """A dense layer on a matrix of rows. With more axes, XLA transposes the input for the kernel's gradient, slowly."""

    def __call__(self, x: Float[Array, "*lines fan_in"]) -> Float[Array, "*lines fan_out"]:
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def linear(fan_in: int, fan_out: int, *, use_bias: bool = True, dtype: np.dtype, rngs: nnx.Rngs) -> Linear:
    """A dense layer in the model's dtype."""
    return Linear(fan_in, fan_out, use_bias=use_bias, dtype=dtype, param_dtype=dtype, rngs=rngs)


def norm(width: int, *, dtype: np.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """A layer norm in the model's dtype."""
    return nnx.LayerNorm(
        width, epsilon=NORM_EPSILON, use_fast_variance=False, dtype=dtype, param_dtype=dtype, rngs=rngs
    )


# --- model
class Transformer(nnx.Module):
    """Dropout is on if the call passes `rngs`. In training, batch norm uses the batch's statistics."""

    def __init__(self, spec: TransformerSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.stem = Stem(spec, dtype=dtype)
        self.embedding = nnx.Embed(spec.num_classes, spec.model_dim, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.decoder = nnx.List(DecoderLayer(spec, dtype=dtype, rngs=rngs) for _ in range(spec.num_layers))
        self.decoder_norm = norm(spec.model_dim, dtype=dtype, rngs=rngs)
        self.head = linear(spec.model_dim, spec.num_classes, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(spec.dropout)

    def __call__(
        self,
        images_BHW1: Float[Array, "B H W 1"],
        widths_B: Int[Array, "B"],
        labels_BL: Int[Array, "B L"],
        *,
        training: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B L+1 K"]:
        """Logits: row i scores the class that follows the first i characters. Rows after the end of a text are zero."""
        memories, keep_BT = self.encode(images_BHW1, widths_B, training=training)
        ids_BS = shifted(labels_BL)
        rows_SD = position_rows(ids_BS.shape[1], self.embedding.features, self.embedding.dtype)
        x_BSD = self.dropout(self.embed(ids_BS, rows_SD), deterministic=rngs is None, rngs=rngs)
        for layer, memory in zip(self.decoder, memories, strict=True):
            x_BSD, _ = layer(x_BSD, memory, keep_BT, rngs=rngs)
        logits_BSK = self.head(self.decoder_norm(x_BSD))
        keep_BS = keep_first(jnp.count_nonzero(labels_BL, axis=1) + 1, logits_BSK.shape[1])
        return jnp.where(keep_BS[..., None], logits_BSK, 0)

    def encode(
        self, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, training: bool = False
    ) -> tuple[list[KeysValues], Bool[Array, "B T"]]:
        """Each layer's keys and values of the frames, and the mask that keeps a line's own frames."""
        frames_BTD, keep_BT = self.stem(images_BHW1, widths_B, training=training)
        frames_BTD += position_rows(*frames_BTD.shape[1:], frames_BTD.dtype)
        return [layer.cross_attention.keys_values(frames_BTD) for layer in self.decoder], keep_BT

    def embed(self, ids_BS: Int[Array, "B S"], rows_SD: Float[Array, "S D"]) -> Float[Array, "B S D"]:
        """√D · embedding + position."""
        return self.embedding(ids_BS) * self.embedding.features**0.5 + rows_SD


def shifted(labels_BL: Int[Array, "B L"]) -> Int[Array, "B L+1"]:
    """The texts moved one position on; class 0 at position 0 is the start of a text."""
    return jnp.pad(labels_BL, ((0, 0), (1, 0)))


def position_rows(length: int, width: int, dtype: np.dtype) -> Float[Array, "{length} {width}"]:
    """The table of positions in `common.spec`, in the model's dtype."""
    return jnp.asarray(positions(length, width), dtype)


# --- decoding
class Decoding(NamedTuple):
    """The state that the loop carries from one position to the next."""

    position: Int[Array, ""]
    ids_BS: Int[Array, "B T+1"]
    """Column 0 is the start of the text."""
    scores_BT: Float[Array, "B T"]
    keep_B: Bool[Array, "B"]
    """True while a text has not ended."""
    caches: list[KeysValues]
    """Keys and values of each layer's self-attention; empty without the cache."""


def decode(
    model: Transformer, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, cached: bool
) -> tuple[Int[Array, "B T"], Float[Array, "B T"]]:
    """The most probable class at each position and its log-probability; see `common.recognizer.Decoder`.

    One compiled loop, whose shapes depend on the shape of the images alone. With the cache, a turn of the loop computes
    one position; without it, a turn computes all of them.
    """
    memories, keep_BT = model.encode(images_BHW1, widths_B)
    frames_B, length = keep_BT.sum(axis=1), keep_BT.shape[1]
    rows_TD = position_rows(length, model.embedding.features, model.embedding.dtype)
    start = Decoding(
        position=jnp.int32(0),
        ids_BS=jnp.zeros((len(frames_B), length + 1), jnp.int32),
        scores_BT=jnp.zeros((len(frames_B), length), rows_TD.dtype),
        keep_B=jnp.ones(len(frames_B), bool),
        caches=jax.tree.map(jnp.zeros_like, memories) if cached else [],
    )

    def advance(state: Decoding) -> Decoding:
        position, caches = state.position, []
        at_position = partial(jax.lax.dynamic_slice_in_dim, start_index=position, slice_size=1)
        if cached:
            x_BSD = model.embed(at_position(state.ids_BS, axis=1), at_position(rows_TD))
            for layer, memory, cache in zip(model.decoder, memories, state.caches, strict=True):
                x_BSD, cache = layer(x_BSD, memory, keep_BT, cache=cache, position=position)
                caches.append(cache)
        else:
            x_BSD = model.embed(state.ids_BS[:, :-1], rows_TD)
            for layer, memory in zip(model.decoder, memories, strict=True):
                x_BSD, _ = layer(x_BSD, memory, keep_BT)
            x_BSD = at_position(x_BSD, axis=1)
        scores_BK = nnx.log_softmax(model.head(model.decoder_norm(x_BSD)).squeeze(1))
        best_B = jnp.where(state.keep_B, scores_BK.argmax(axis=1).astype(jnp.int32), 0)
        scores_B = jnp.where(state.keep_B, scores_BK.max(axis=1), 0)
        return Decoding(
            position=position + 1,
            ids_BS=state.ids_BS.at[:, position + 1].set(best_B),
            scores_BT=state.scores_BT.at[:, position].set(scores_B),
            keep_B=(best_B != 0) & (position + 1 < frames_B),
            caches=caches,
        )

    end = jax.lax.while_loop(lambda state: state.keep_B.any(), advance, start)
    return end.ids_BS[:, 1:], end.scores_BT


# --- loss
def loss_fn(
    model: Transformer,
    images_BHW1: Float[Array, "B H W 1"],
    widths_B: Int[Array, "B"],
    labels_BL: Int[Array, "B L"],
    label_lengths_B: Int[Array, "B"],
    rngs: nnx.Rngs | None = None,
) -> Float[Array, ""]:
    """Mean cross-entropy of the characters and of the end of each text, nats per character or end."""
    logits_BSK = model(images_BHW1, widths_B, labels_BL, training=True, rngs=rngs)
    targets_BS = jnp.pad(labels_BL, ((0, 0), (0, 1)))
    keep_BS = keep_first(label_lengths_B + 1, targets_BS.shape[1])
    return optax.softmax_cross_entropy_with_integer_labels(logits_BSK, targets_BS).mean(where=keep_BS)


# --- training step: one for every rung, see train.train_step

# --- weights: in the canonical layout; two names differ, see recognizer.canonical_name
