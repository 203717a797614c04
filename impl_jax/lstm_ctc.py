"""LSTM-CTC: stem, bidirectional LSTM layers with dropout after each, dense; connectionist temporal classification."""

# B batch, H height, W width, T frames, D numbers in a frame, L label length, K classes
# U units of a direction, G = 4U gates, P = T B rows

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from common.spec import LSTMCTCSpec
from impl_jax.stem import Stem, keep_own


# --- layers: nnx.Dropout, nnx.Linear, the stem, and
class Direction(nnx.Module):
    """The parameters of an LSTM that runs one way, gates in the order i, f, g, o."""

    def __init__(self, fan_in: int, hidden_dim: int, *, dtype: np.dtype) -> None:
        self.kernel = nnx.Param(jnp.zeros((fan_in, 4 * hidden_dim), dtype))
        self.recurrent_kernel = nnx.Param(jnp.zeros((hidden_dim, 4 * hidden_dim), dtype))
        self.bias = nnx.Param(jnp.zeros(4 * hidden_dim, dtype))


def lstm_step(
    state: tuple[Array, Array], gates_2BG: Float[Array, "2 B G"], recurrent_2UG: Array, keep_2B1: Array
) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    """The next frame's state (h, c), and besides it what the backward pass needs."""
    h_2BU, c_2BU = state
    gates_2BG += jnp.einsum("dbu,dug->dbg", h_2BU, recurrent_2UG, precision="highest")
    i, f, g, o = jnp.split(gates_2BG, 4, axis=-1)
    i, f, g, o = nnx.sigmoid(i), nnx.sigmoid(f), jnp.tanh(g), nnx.sigmoid(o)
    # zero in the padding, so that the backward direction starts from zero at each line's own last frame
    c_2BU = jnp.where(keep_2B1, f * c_2BU + i * g, 0)
    h_2BU = jnp.where(keep_2B1, o * jnp.tanh(c_2BU), 0)
    return (h_2BU, c_2BU), (h_2BU, c_2BU, i, f, g, o)


@jax.custom_vjp
def recurrence(
    gates_T2BG: Float[Array, "T 2 B G"], recurrent_2UG: Float[Array, "2 U G"], keep_T2B1: Bool[Array, "T 2 B 1"]
) -> Float[Array, "T 2 B U"]:
    """The outputs of both directions, from what the input adds to the gates. Starts from zero.

    Its gradient is written out because that of a scan adds up the recurrent kernel's gradient frame by frame; here it
    is one matrix product over all frames.
    """
    return recurrence_forward(gates_T2BG, recurrent_2UG, keep_T2B1)[0]


def recurrence_forward(
    gates_T2BG: Array, recurrent_2UG: Array, keep_T2B1: Array
) -> tuple[Float[Array, "T 2 B U"], tuple[Array, ...]]:
    """The outputs, and what `recurrence_backward` needs."""
    zeros_2BU = jnp.zeros((2, gates_T2BG.shape[2], recurrent_2UG.shape[1]), gates_T2BG.dtype)
    _, saved = jax.lax.scan(
        lambda state, frame: lstm_step(state, frame[0], recurrent_2UG, frame[1]),
        (zeros_2BU, zeros_2BU),
        (gates_T2BG, keep_T2B1),
    )
    return saved[0], (*saved, recurrent_2UG, keep_T2B1)


def recurrence_backward(saved: tuple[Array, ...], dh_T2BU: Float[Array, "T 2 B U"]) -> tuple[Array, Array, None]:
    """Gradients of what the input adds to the gates, and of the recurrent kernels."""
    h_T2BU, c_T2BU, *gates, recurrent_2UG, keep_T2B1 = saved
    recurrent_2GU = recurrent_2UG.swapaxes(1, 2)  # once, and not in every turn of the loop: a third of its time
    before = lambda x_T2BU: jnp.pad(x_T2BU[:-1], ((1, 0), (0, 0), (0, 0), (0, 0)))  # noqa: E731

    def step(state: tuple[Array, Array], frame: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        dh, dc = state
        dh_out, c, c_before, i, f, g, o, keep = frame
        tanh_c = jnp.tanh(c)
        dh = jnp.where(keep, dh + dh_out, 0)
        dc = jnp.where(keep, dc + dh * o * (1 - tanh_c**2), 0)
        di, df, dg, do = dc * g, dc * c_before, dc * i, dh * tanh_c
        dgates_2BG = jnp.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)], axis=-1)
        dh = jnp.einsum("dbg,dgu->dbu", dgates_2BG, recurrent_2GU, precision="highest")
        return (dh, dc * f), dgates_2BG

    frames = dh_T2BU, c_T2BU, before(c_T2BU), *gates, keep_T2B1
    zeros_2BU = jnp.zeros_like(h_T2BU[0])
    _, dgates_T2BG = jax.lax.scan(step, (zeros_2BU, zeros_2BU), frames, reverse=True)
    drecurrent_2UG = jnp.einsum("tdbu,tdbg->dug", before(h_T2BU), dgates_T2BG, precision="highest")
    return dgates_T2BG, drecurrent_2UG, None


recurrence.defvjp(recurrence_forward, recurrence_backward)


class BidirectionalLSTM(nnx.Module):
    """Both directions in one scan over the frames, the backward one's turned round.

    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    def __init__(self, fan_in: int, hidden_dim: int, *, dtype: np.dtype) -> None:
        self.forward = Direction(fan_in, hidden_dim, dtype=dtype)
        self.backward = Direction(fan_in, hidden_dim, dtype=dtype)

    def __call__(self, x_BTD: Float[Array, "B T D"], keep_BT: Bool[Array, "B T"]) -> Float[Array, "B T _"]:
        x_TBD, keep_T1B1 = x_BTD.swapaxes(0, 1), keep_BT.T[:, None, :, None]
        directions = self.forward, self.backward
        rows_PD = x_TBD.reshape(-1, x_TBD.shape[2])  # see transformer.Linear
        rows_PG = [jnp.dot(rows_PD, d.kernel[...], precision="highest") + d.bias[...] for d in directions]
        gates = [gates_PG.reshape(*x_TBD.shape[:2], -1) for gates_PG in rows_PG]
        gates_T2BG = jnp.stack([gates[0], gates[1][::-1]], axis=1)
        keep_T2B1 = jnp.concatenate([keep_T1B1, keep_T1B1[::-1]], axis=1)
        recurrent_2UG = jnp.stack([d.recurrent_kernel[...] for d in directions])

        h_T2BU = recurrence(gates_T2BG, recurrent_2UG, keep_T2B1)
        return jnp.concatenate([h_T2BU[:, 0], h_T2BU[::-1, 1]], axis=-1).swapaxes(0, 1)


# --- model
class LSTMCTC(nnx.Module):
    """Called with random streams it drops units; without, it does not. In training, batch norm is by the batch."""

    def __init__(self, spec: LSTMCTCSpec, *, dtype: np.dtype, rngs: nnx.Rngs) -> None:
        self.stem = Stem(spec, dtype=dtype)
        fans_in = [spec.frame_dim] + [2 * spec.hidden_dim] * (spec.num_layers - 1)
        self.lstm = nnx.List(BidirectionalLSTM(fan_in, spec.hidden_dim, dtype=dtype) for fan_in in fans_in)
        self.dropout = nnx.Dropout(spec.dropout)
        self.head = nnx.Linear(
            2 * spec.hidden_dim, spec.num_classes, dtype=dtype, param_dtype=dtype, precision="highest", rngs=rngs
        )

    def __call__(
        self,
        images_BHW1: Float[Array, "B H W 1"],
        widths_B: Int[Array, "B"],
        *,
        training: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B T K"]:
        """Logits, zero for frames that are not a line's own."""
        x_BTD, keep_BT = self.stem(images_BHW1, widths_B, training=training)
        for lstm in self.lstm:
            x_BTD = self.dropout(lstm(x_BTD, keep_BT), deterministic=rngs is None, rngs=rngs)
        return jnp.where(keep_BT[..., None], self.head(x_BTD), 0)


# --- loss
def loss_fn(
    model: LSTMCTC,
    images_BHW1: Float[Array, "B H W 1"],
    widths_B: Int[Array, "B"],
    labels_BL: Int[Array, "B L"],
    label_lengths_B: Int[Array, "B"],
    rngs: nnx.Rngs | None = None,
) -> Float[Array, ""]:
    """Negative log-likelihood of the texts, nats per character. Source: Graves et al. 2006."""
    logits_BTK = model(images_BHW1, widths_B, training=True, rngs=rngs)
    keep_BT = keep_own(model.stem.frames(widths_B), logits_BTK.shape[1])
    keep_BL = keep_own(label_lengths_B, labels_BL.shape[1])
    dtype = logits_BTK.dtype
    nll_B = optax.ctc_loss(logits_BTK, (~keep_BT).astype(dtype), labels_BL, (~keep_BL).astype(dtype), blank_id=0)
    return nll_B.sum() / jnp.maximum(label_lengths_B.sum(), 1)


# --- training step: the same for every rung, see train.train_step

# --- weights: canonical as they are; the path of lstm[0].forward.kernel is lstm.0.forward.kernel
