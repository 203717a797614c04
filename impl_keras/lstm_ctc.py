"""LSTM with CTC: stem → frames → bidirectional LSTM layers → dense to K logits per frame."""

# B batch, H height, W width, T frames, C channels, L label length, K classes

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from common.recognizer import DType
from common.spec import LSTMCTCSpec
from impl_keras.device import Array
from impl_keras.own_loss import OwnLossModel
from impl_keras.stem import Stem, line_inputs

# --- layers: Keras's own, see keras.layers; the stem's in stem.py


# --- model
@keras.saving.register_keras_serializable("fourhands")
class LSTMCTC(OwnLossModel):
    """Images (B, H, W, 1) and widths (B,) to logits (B, T, K); in training, the shortcut's logits follow them."""

    def __init__(self, spec: LSTMCTCSpec, *, dtype: DType, name: str = "lstm_ctc") -> None:
        # zeros, because `common.weights` draws the weights; Keras would draw from Python's global generator
        zeros = {"kernel_initializer": "zeros", "dtype": dtype}

        inputs = line_inputs(spec, dtype)
        frames, keep_BT = Stem.of(spec, dtype)(*inputs)
        x = frames
        for i, share in enumerate(spec.layer_dropouts):
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
            x = layers.Dropout(share, seed=i, dtype=dtype)(x)  # `train.fit` adds the run's seed
        logits = layers.Dense(spec.num_classes, name="head", **zeros)(x)
        super().__init__(spec, inputs, logits, name=name, dtype=dtype)
        self.with_shortcut = None
        if spec.shortcut_weight:
            # frames past a line's own are zero, so the convolution sees the same zeros as past the end of the batch
            shortcut = layers.Conv1D(
                spec.num_classes, 3, padding="same", data_format="channels_last", name="shortcut", **zeros
            )
            self.with_shortcut = keras.Model(inputs, [logits, shortcut(frames)])

    def call(self, inputs: tuple[Array, Array], training: bool = False, mask: Any = None) -> Array | list[Array]:
        """The logits; reading leaves the shortcut out."""
        if training and self.with_shortcut:
            return self.with_shortcut(inputs, training=True)
        return super().call(inputs, training=training, mask=mask)

    def batch_loss(
        self, x: tuple[Array, Array], labels_BL: Array, logits: Array | list[Array], sample_weight: None
    ) -> Array:
        """Nats per character; the shortcut's loss is added with its weight."""
        frames_B = self.spec.frames(x[1])
        if not self.with_shortcut:
            return ctc_loss(labels_BL, logits, frames_B)
        loss, of_shortcut = (ctc_loss(labels_BL, logits_BTK, frames_B) for logits_BTK in logits)
        return loss + self.spec.shortcut_weight * of_shortcut


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
