"""LSTM-CTC: stem, bidirectional LSTM layers with dropout after each, dense; connectionist temporal classification."""

# B batch, H height, W width, T frames, D numbers in a frame, L label length, K classes
# U units of a direction, G = 4U gates

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
        gates = [jnp.dot(x_TBD, d.kernel[...], precision="highest") + d.bias[...] for d in directions]
        gates_T2BG = jnp.stack([gates[0], gates[1][::-1]], axis=1)
        keep_T2B1 = jnp.concatenate([keep_T1B1, keep_T1B1[::-1]], axis=1)
        recurrent_2UG = jnp.stack([d.recurrent_kernel[...] for d in directions])

        def step(state: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            h_2BU, c_2BU = state
            gates_2BG, keep_2B1 = inputs
            gates_2BG += jnp.einsum("dbu,dug->dbg", h_2BU, recurrent_2UG, precision="highest")
            i, f, g, o = jnp.split(gates_2BG, 4, axis=-1)
            c_2BU = nnx.sigmoid(f) * c_2BU + nnx.sigmoid(i) * jnp.tanh(g)
            h_2BU = nnx.sigmoid(o) * jnp.tanh(c_2BU)
            # zero in the padding, so that the backward direction starts from zero at each line's own last frame
            h_2BU, c_2BU = jnp.where(keep_2B1, h_2BU, 0), jnp.where(keep_2B1, c_2BU, 0)
            return (h_2BU, c_2BU), h_2BU

        zeros_2BU = jnp.zeros((2, len(x_BTD), len(recurrent_2UG[0])), x_BTD.dtype)
        _, h_T2BU = jax.lax.scan(step, (zeros_2BU, zeros_2BU), (gates_T2BG, keep_T2B1))
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
