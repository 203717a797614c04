"""LSTM-CTC: stem, bidirectional LSTM layers with dropout after each, dense; connectionist temporal classification."""

# B batch, H height, W width, T frames, C channels of a frame, L label length, K classes
# U hidden units of an LSTM direction; 4U: its gates i, f, g, o side by side; 2: the forward and the backward direction

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from common.spec import LSTMCTCSpec
from impl_jax.lstm_gradient import with_written_gradient
from impl_jax.stem import Stem, keep_first


# --- layers: nnx.Dropout, nnx.Linear, the stem, and
class Direction(nnx.Module):
    """The parameters of an LSTM that reads one way, gates in the order i, f, g, o."""

    def __init__(self, fan_in: int, hidden_dim: int, *, dtype: np.dtype) -> None:
        self.kernel = nnx.Param(jnp.zeros((fan_in, 4 * hidden_dim), dtype))
        self.recurrent_kernel = nnx.Param(jnp.zeros((hidden_dim, 4 * hidden_dim), dtype))
        self.bias = nnx.Param(jnp.zeros(4 * hidden_dim, dtype))


@with_written_gradient  # an aside: it saves 3% to 5% of a training step, see lstm_gradient.py
def recurrence(
    gates_T2B4U: Float[Array, "T 2 B _"], recurrent_2U4U: Float[Array, "2 U _"], keep_T2B: Bool[Array, "T 2 B"]
) -> Float[Array, "T 2 B U"]:
    """The hidden states of both directions, which start from zero.

    Args:
        gates_T2B4U: the input's share of the gates; the step adds that of the last hidden state.
        recurrent_2U4U: the recurrent kernel of each direction.
        keep_T2B: True at a line's own frames.
    """

    def step(state: tuple[Array, Array], frame: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        h_2BU, c_2BU = state
        gates_2B4U, keep_2B1 = frame
        gates_2B4U += jnp.einsum("dbu,dug->dbg", h_2BU, recurrent_2U4U)
        i, f, g, o = jnp.split(gates_2B4U, 4, axis=-1)
        i, f, g, o = nnx.sigmoid(i), nnx.sigmoid(f), jnp.tanh(g), nnx.sigmoid(o)
        # zero in the padding, so that the backward direction starts from zero at each line's own last frame
        c_2BU = jnp.where(keep_2B1, f * c_2BU + i * g, 0)
        h_2BU = jnp.where(keep_2B1, o * jnp.tanh(c_2BU), 0)
        return (h_2BU, c_2BU), h_2BU

    zeros_2BU = jnp.zeros((2, gates_T2B4U.shape[2], recurrent_2U4U.shape[1]), gates_T2B4U.dtype)
    _, h_T2BU = jax.lax.scan(step, (zeros_2BU, zeros_2BU), (gates_T2B4U, keep_T2B[..., None]))
    return h_T2BU


class BidirectionalLSTM(nnx.Module):
    """Both directions in one scan over the frames; the backward one reads them in reverse order.

    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    def __init__(self, fan_in: int, hidden_dim: int, *, dtype: np.dtype) -> None:
        self.forward = Direction(fan_in, hidden_dim, dtype=dtype)
        self.backward = Direction(fan_in, hidden_dim, dtype=dtype)

    def __call__(self, x_BTC: Float[Array, "B T C"], keep_BT: Bool[Array, "B T"]) -> Float[Array, "B T _"]:
        """Per frame the hidden states of both directions, 2U numbers: forward, then backward. Padding is zero."""
        x_TBC, keep_TB = x_BTC.swapaxes(0, 1), keep_BT.T
        directions = self.forward, self.backward
        rows = x_TBC.reshape(-1, x_TBC.shape[2])  # a matrix of T · B rows, see transformer.Linear
        gates = [(jnp.dot(rows, d.kernel[...]) + d.bias[...]).reshape(*x_TBC.shape[:2], -1) for d in directions]
        gates_T2B4U = jnp.stack([gates[0], gates[1][::-1]], axis=1)
        keep_T2B = jnp.stack([keep_TB, keep_TB[::-1]], axis=1)
        recurrent_2U4U = jnp.stack([d.recurrent_kernel[...] for d in directions])

        h_T2BU = recurrence(gates_T2B4U, recurrent_2U4U, keep_T2B)
        return jnp.concatenate([h_T2BU[:, 0], h_T2BU[::-1, 1]], axis=-1).swapaxes(0, 1)


# --- model
class LSTMCTC(nnx.Module):
    """Dropout is on if the call passes `rngs`. In training, batch norm uses the batch's statistics."""

    def __init__(self, spec: LSTMCTCSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.stem = Stem(spec, dtype=dtype)
        fans_in = [spec.frame_dim] + [2 * spec.hidden_dim] * (spec.num_layers - 1)
        self.lstm = nnx.List(BidirectionalLSTM(fan_in, spec.hidden_dim, dtype=dtype) for fan_in in fans_in)
        self.dropouts = nnx.List(nnx.Dropout(share) for share in spec.layer_dropouts)
        self.head = nnx.Linear(2 * spec.hidden_dim, spec.num_classes, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.shortcut_weight = spec.shortcut_weight
        if spec.shortcut_weight:
            options = {"padding": ((1, 1),), "dtype": dtype, "param_dtype": dtype, "rngs": rngs}
            self.shortcut = nnx.Conv(spec.frame_dim, spec.num_classes, (3,), **options)

    def __call__(
        self,
        images_BHW1: Float[Array, "B H W 1"],
        widths_B: Int[Array, "B"],
        *,
        training: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B T K"]:
        """Logits, zero at frames past a line's own."""
        return self.read(*self.stem(images_BHW1, widths_B, training=training), rngs=rngs)

    def read(
        self, x_BTC: Float[Array, "B T C"], keep_BT: Bool[Array, "B T"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "B T K"]:
        """The stem's frames to logits."""
        for lstm, dropout in zip(self.lstm, self.dropouts, strict=True):
            x_BTC = dropout(lstm(x_BTC, keep_BT), deterministic=rngs is None, rngs=rngs)
        return jnp.where(keep_BT[..., None], self.head(x_BTC), 0)


# --- loss
def loss_fn(
    model: LSTMCTC,
    images_BHW1: Float[Array, "B H W 1"],
    widths_B: Int[Array, "B"],
    labels_BL: Int[Array, "B L"],
    label_lengths_B: Int[Array, "B"],
    rngs: nnx.Rngs | None = None,
) -> Float[Array, ""]:
    """Σ -log p(text | frames) ÷ Σ characters, nats per character; the shortcut's loss is added with its weight.

    Source: Graves et al. 2006.
    """
    frames_BTC, keep_BT = model.stem(images_BHW1, widths_B, training=True)
    nll_B = ctc(model.read(frames_BTC, keep_BT, rngs=rngs), keep_BT, labels_BL, label_lengths_B)
    if model.shortcut_weight:
        # frames past a line's own are zero, so the convolution sees the same zeros as past the end of the batch
        nll_B += model.shortcut_weight * ctc(model.shortcut(frames_BTC), keep_BT, labels_BL, label_lengths_B)
    return nll_B.sum() / jnp.maximum(label_lengths_B.sum(), 1)


def ctc(
    logits_BTK: Float[Array, "B T K"],
    keep_BT: Bool[Array, "B T"],
    labels_BL: Int[Array, "B L"],
    label_lengths_B: Int[Array, "B"],
) -> Float[Array, "B"]:
    """-log p(text | frames) of each line, nats."""
    keep_BL = keep_first(label_lengths_B, labels_BL.shape[1])
    dtype = logits_BTK.dtype
    # optax's masks are True, or 1, where the padding is
    return optax.ctc_loss(logits_BTK, (~keep_BT).astype(dtype), labels_BL, (~keep_BL).astype(dtype), blank_id=0)


# --- training step: one for every rung, see train.train_step

# --- weights: in the canonical layout; the path of lstm[0].forward.kernel is lstm.0.forward.kernel
