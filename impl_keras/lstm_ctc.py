"""LSTM with CTC: stem → frames → bidirectional LSTM layers → dense to K logits per frame."""

# B batch, H height, W width, T frames, C channels, L label length, K classes

from __future__ import annotations

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import LSTMCTCSpec
from impl_keras.device import Array
from impl_keras.stem import LineModel, Stem, line_inputs

# --- layers: Keras's own, see keras.layers; the stem's in stem.py


# --- model
@keras.saving.register_keras_serializable("fourhands")
class LSTMCTC(LineModel):
    """Images (B, H, W, 1) and widths (B,) to logits (B, T, K)."""

    def __init__(self, spec: LSTMCTCSpec, *, dtype: DType, name: str = "lstm_ctc") -> None:
        # zeros, because `common.weights` draws the weights; Keras would draw from Python's global generator
        zeros = {"kernel_initializer": "zeros", "dtype": dtype}

        inputs = line_inputs(spec, dtype)
        x, keep_BT = Stem.of(spec, dtype)(*inputs)
        for i in range(spec.num_layers):
            lstm = layers.LSTM(
                spec.hidden_dim,
                return_sequences=True,
                name="lstm",
                recurrent_initializer="zeros",
                unit_forget_bias=False,
                **zeros,
            )
            # the mask starts the backward direction at the line's own last frame, and sets outputs past it to zero
            x = layers.Bidirectional(lstm, name=f"lstm_{i}", dtype=dtype)(x, mask=keep_BT)
            x = layers.Dropout(spec.dropout, seed=i, dtype=dtype)(x)  # `train.fit` adds the run's seed
        logits = layers.Dense(spec.num_classes, name="head", **zeros)(x)
        super().__init__(spec, inputs, logits, name=name, dtype=dtype)

    def line_loss(self, x: tuple[Array, Array], labels_BL: Array, logits_BTK: Array) -> Array:
        """Nats per character."""
        _, widths_B = x
        return ctc_loss(labels_BL, logits_BTK, self.spec.frames(widths_B))


# --- loss
def ctc_loss(labels_BL: Array, logits_BTK: Array, frames_B: Array) -> Array:
    """Σ -log p(label | frames) ÷ Σ characters. Source: Graves et al. 2006."""
    lengths_B = ops.sum(ops.cast(labels_BL > 0, "int32"), axis=1)
    # one column more: TensorFlow counts the only path twice where the labels have no column
    labels_BL = ops.pad(labels_BL, ((0, 0), (0, 1)))
    losses_B = ops.ctc_loss(labels_BL, logits_BTK, lengths_B, frames_B, mask_index=0)
    return ops.sum(losses_B) / ops.cast(ops.maximum(ops.sum(lengths_B), 1), losses_B.dtype)


# --- training step: Keras's own, see Model.fit


# --- weights
def canonical_name(path: str) -> str:
    """lstm_0/forward_lstm/lstm_cell/kernel holds lstm.0.forward.kernel. The gates are i, f, g, o in both."""
    return path.replace("/", ".").replace("_lstm.lstm_cell", "").replace("lstm_", "lstm.")
