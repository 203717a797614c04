"""Transformer: stem, frames with positions, a decoder with causal self-attention and attention to the frames."""

# B batch, H height, W width, T frames, L label length, N positions of the text, S positions attended to
# D model width, A heads, E = D / A, K classes

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
from impl_jax.stem import Stem, keep_own

KeysValues = tuple[Float[Array, "B _ A E"], Float[Array, "B _ A E"]]


# --- layers: nnx.Embed, nnx.LayerNorm, nnx.Dropout, the stem, and
class Attention(nnx.Module):
    """Scaled dot-product attention with several heads. Source: Vaswani et al. 2017."""

    def __init__(self, width: int, num_heads: int, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.query, self.value, self.output = (linear(width, width, dtype=dtype, rngs=rngs) for _ in range(3))
        self.key = linear(width, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.num_heads = num_heads

    def keys_values(self, x_BSD: Float[Array, "B S D"]) -> KeysValues:
        """What may be attended to."""
        return self._split(self.key(x_BSD)), self._split(self.value(x_BSD))

    def __call__(
        self, x_BND: Float[Array, "B N D"], keys_values: KeysValues, keep: Bool[Array, "#B 1 #N S"]
    ) -> Float[Array, "B N D"]:
        """Attend from each position of x to those that are kept."""
        keys_BSAE, values_BSAE = keys_values
        queries_BNAE = self._split(self.query(x_BND))
        scores_BANS = jnp.einsum("bnae,bsae->bans", queries_BNAE, keys_BSAE, precision="highest")
        scores_BANS /= keys_BSAE.shape[-1] ** 0.5
        # jax.nn.dot_product_attention takes its softmax in float32 even under float64
        weights_BANS = nnx.softmax(jnp.where(keep, scores_BANS, -jnp.inf))
        x_BNAE = jnp.einsum("bans,bsae->bnae", weights_BANS, values_BSAE, precision="highest")
        return self.output(x_BNAE.reshape(x_BND.shape))

    def _split(self, x_BND: Float[Array, "B N D"]) -> Float[Array, "B N A E"]:
        return x_BND.reshape(*x_BND.shape[:2], self.num_heads, -1)


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the frames and two dense layers, each added to its normed input (pre-norm)."""

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
        x_BND: Float[Array, "B N D"],
        memory: KeysValues,
        keep_B11T: Bool[Array, "B 1 1 T"],
        *,
        rngs: nnx.Rngs | None = None,
        cache: KeysValues | None = None,
        position: Int[Array, ""] | int = 0,
    ) -> tuple[Float[Array, "B N D"], KeysValues]:
        """The sum, and the keys and values of self-attention.

        Args:
            x_BND: consecutive positions of the text.
            memory: keys and values of the frames.
            keep_B11T: which frames are a line's own.
            rngs: of dropout; without, none.
            cache: keys and values of self-attention, to which those of x are added.
            position: where x begins.
        """
        drop = lambda x: self.dropout(x, deterministic=rngs is None, rngs=rngs)  # noqa: E731
        normed_BND = self.self_attention_norm(x_BND)
        own = self.self_attention.keys_values(normed_BND)
        if cache is not None:
            own = jax.tree.map(
                lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=1), cache, own
            )
        causal_NS = jnp.arange(own[0].shape[1]) <= position + jnp.arange(x_BND.shape[1])[:, None]
        x_BND += drop(self.self_attention(normed_BND, own, causal_NS[None, None]))
        x_BND += drop(self.cross_attention(self.cross_attention_norm(x_BND), memory, keep_B11T))
        hidden = nnx.relu(self.feed_forward[0](self.feed_forward_norm(x_BND)))
        return x_BND + drop(self.feed_forward[1](hidden)), own


class Linear(nnx.Linear):
    """A dense layer that sees rows alone: with more axes XLA transposes its input for the kernel's gradient, slowly."""

    def __call__(self, x: Float[Array, "*lines fan_in"]) -> Float[Array, "*lines fan_out"]:
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def linear(fan_in: int, fan_out: int, *, use_bias: bool = True, dtype: np.dtype, rngs: nnx.Rngs) -> Linear:
    """A dense layer of the model's dtype."""
    return Linear(fan_in, fan_out, use_bias=use_bias, dtype=dtype, param_dtype=dtype, precision="highest", rngs=rngs)


def norm(width: int, *, dtype: np.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """A layer norm of the model's dtype."""
    return nnx.LayerNorm(
        width, epsilon=NORM_EPSILON, use_fast_variance=False, dtype=dtype, param_dtype=dtype, rngs=rngs
    )


# --- model
class Transformer(nnx.Module):
    """Called with random streams it drops units; without, it does not. In training, batch norm is by the batch."""

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
        """Row i scores what follows the first i characters."""
        memories, keep_B11T = self.encode(images_BHW1, widths_B, training=training)
        ids_BN = shifted(labels_BL)
        rows_ND = position_rows(ids_BN.shape[1], self.embedding.features, self.embedding.dtype)
        x_BND = self.dropout(self.embed(ids_BN, rows_ND), deterministic=rngs is None, rngs=rngs)
        for layer, memory in zip(self.decoder, memories, strict=True):
            x_BND, _ = layer(x_BND, memory, keep_B11T, rngs=rngs)
        logits_BNK = self.head(self.decoder_norm(x_BND))
        keep_BN = keep_own(jnp.count_nonzero(labels_BL, axis=1) + 1, logits_BNK.shape[1])
        return jnp.where(keep_BN[..., None], logits_BNK, 0)

    def encode(
        self, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, training: bool = False
    ) -> tuple[list[KeysValues], Bool[Array, "B 1 1 T"]]:
        """Keys and values of the frames for each layer, and which frames are a line's own."""
        frames_BTD, keep_BT = self.stem(images_BHW1, widths_B, training=training)
        frames_BTD += position_rows(*frames_BTD.shape[1:], frames_BTD.dtype)
        return [layer.cross_attention.keys_values(frames_BTD) for layer in self.decoder], keep_BT[:, None, None]

    def embed(self, ids_BN: Int[Array, "B N"], rows_ND: Float[Array, "N D"]) -> Float[Array, "B N D"]:
        """√D · embedding + position."""
        return self.embedding(ids_BN) * self.embedding.features**0.5 + rows_ND


def shifted(ids_BN: Int[Array, "B N"]) -> Int[Array, "B N+1"]:
    """What stands before each position and after the last: class 0 is the start of a text."""
    return jnp.pad(ids_BN, ((0, 0), (1, 0)))


def position_rows(length: int, width: int, dtype: np.dtype) -> Float[Array, "{length} {width}"]:
    """The spec's positions, in the model's dtype."""
    return jnp.asarray(positions(length, width), dtype)


# --- decoding
class Decoding(NamedTuple):
    """What the loop carries from one position to the next."""

    position: Int[Array, ""]
    ids_BN: Int[Array, "B T+1"]
    """Column 0 is the start."""
    scores_BT: Float[Array, "B T"]
    keep_B: Bool[Array, "B"]
    """Whose text has not ended."""
    caches: list[KeysValues]
    """Of each layer's self-attention; none without the cache."""


def decode(
    model: Transformer, images_BHW1: Float[Array, "B H W 1"], widths_B: Int[Array, "B"], *, cached: bool
) -> tuple[Int[Array, "B T"], Float[Array, "B T"]]:
    """The most probable class at each position and its log-probability; see `common.recognizer.Decoder`.

    One compiled loop, whose shapes depend on the images' alone. Cached, a turn works out one position; without, all.
    """
    memories, keep_B11T = model.encode(images_BHW1, widths_B)
    frames_B, length = keep_B11T.sum((1, 2, 3)), keep_B11T.shape[3]
    rows_TD = position_rows(length, model.embedding.features, model.embedding.dtype)
    start = Decoding(
        position=jnp.int32(0),
        ids_BN=jnp.zeros((len(frames_B), length + 1), jnp.int32),
        scores_BT=jnp.zeros((len(frames_B), length), rows_TD.dtype),
        keep_B=jnp.ones(len(frames_B), bool),
        caches=jax.tree.map(jnp.zeros_like, memories) if cached else [],
    )

    def advance(state: Decoding) -> Decoding:
        position, caches = state.position, []
        at_position = partial(jax.lax.dynamic_slice_in_dim, start_index=position, slice_size=1)
        if cached:
            x_BND = model.embed(at_position(state.ids_BN, axis=1), at_position(rows_TD))
            for layer, memory, cache in zip(model.decoder, memories, state.caches, strict=True):
                x_BND, cache = layer(x_BND, memory, keep_B11T, cache=cache, position=position)
                caches.append(cache)
        else:
            x_BND = model.embed(state.ids_BN[:, :-1], rows_TD)
            for layer, memory in zip(model.decoder, memories, strict=True):
                x_BND, _ = layer(x_BND, memory, keep_B11T)
            x_BND = at_position(x_BND, axis=1)
        scores_BK = nnx.log_softmax(model.head(model.decoder_norm(x_BND)).squeeze(1))
        best_B = jnp.where(state.keep_B, scores_BK.argmax(axis=1).astype(jnp.int32), 0)
        scores_B = jnp.where(state.keep_B, scores_BK.max(axis=1), 0)
        return Decoding(
            position=position + 1,
            ids_BN=state.ids_BN.at[:, position + 1].set(best_B),
            scores_BT=state.scores_BT.at[:, position].set(scores_B),
            keep_B=(best_B != 0) & (position + 1 < frames_B),
            caches=caches,
        )

    end = jax.lax.while_loop(lambda state: state.keep_B.any(), advance, start)
    return end.ids_BN[:, 1:], end.scores_BT


# --- loss
def loss_fn(
    model: Transformer,
    images_BHW1: Float[Array, "B H W 1"],
    widths_B: Int[Array, "B"],
    labels_BL: Int[Array, "B L"],
    label_lengths_B: Int[Array, "B"],
    rngs: nnx.Rngs | None = None,
) -> Float[Array, ""]:
    """Mean cross-entropy of the characters and of the end of each text, nats."""
    logits_BNK = model(images_BHW1, widths_B, labels_BL, training=True, rngs=rngs)
    targets_BN = jnp.pad(labels_BL, ((0, 0), (0, 1)))
    keep_BN = keep_own(label_lengths_B + 1, targets_BN.shape[1])
    return optax.softmax_cross_entropy_with_integer_labels(logits_BNK, targets_BN).mean(where=keep_BN)


# --- training step: the same for every rung, see train.train_step

# --- weights: canonical but for two names, see recognizer.canonical_name
