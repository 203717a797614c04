"""LSTM with CTC: stem → frames → bidirectional LSTM layers, each followed by dropout → dense, class 0 the blank."""

# B batch, H height, W width, T frames, C channels, L label length, K classes

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.spec import LSTMCTCSpec
from impl_pytorch import stem

# --- layers: PyTorch's own, see nn.LSTM, nn.Linear and nn.Dropout; the stem's are in stem.py


# --- model
class LSTMCTC(nn.Module):
    """Images (B, H, W, 1) and their widths (B,) to logits (B, T, K), zero past a line's own frames."""

    def __init__(self, spec: LSTMCTCSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = stem.Stem(spec)
        fan_in = [spec.frame_dim] + (spec.num_layers - 1) * [2 * spec.hidden_dim]
        self.lstm = nn.ModuleList(nn.LSTM(dim, spec.hidden_dim, batch_first=True, bidirectional=True) for dim in fan_in)
        for name, parameter in self.lstm.named_parameters():
            # PyTorch adds two biases; the second stays zero, or the learning rate of their sum would double
            parameter.requires_grad_("bias_hh" not in name)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(2 * spec.hidden_dim, spec.num_classes)

    def forward(
        self, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor | None = None, *, batch_statistics: bool = False
    ) -> Tensor:
        x_BTC, frames_B = self.stem(images_BHW1, widths_B, batch_statistics=batch_statistics)
        lengths_B, total = frames_B.cpu(), x_BTC.shape[1]
        for lstm in self.lstm:
            # packed, the backward direction starts at each line's own last frame
            packed, _ = lstm(pack_padded_sequence(x_BTC, lengths_B, batch_first=True, enforce_sorted=False))
            x_BTC, _ = pad_packed_sequence(packed, batch_first=True, total_length=total)
            x_BTC = self.dropout(x_BTC)
        logits_BTK: Tensor = self.head(x_BTC) * stem.keep_first(frames_B, total)[..., None]
        return logits_BTK

    def train(self, mode: bool = True) -> LSTMCTC:
        super().train(mode)
        self.lstm.train()  # it has no dropout of its own, and cuDNN has no backward in evaluation mode
        return self


# --- loss
def loss(model: LSTMCTC, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor) -> Tensor:
    """Σ -log p(label | frames) ÷ Σ characters, nats. Source: Graves et al. 2006."""
    logits_BTK = model(images_BHW1, widths_B, batch_statistics=True)
    frames_B = model.spec.frames(widths_B)
    total = F.ctc_loss(
        logits_BTK.log_softmax(2).transpose(0, 1), labels_BL, frames_B, label_lengths_B, blank=0, reduction="sum"
    )
    return total / label_lengths_B.sum().clamp(min=1)


# --- training step: the same for every rung, see train.fit


# --- weights
PARTS = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias_ih": "bias"}


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters and running statistics, or of gradients, under canonical names and axes.

    LSTM kernels (in, 4H) and dense (in, out), not (out, in). The LSTM's second bias, which is zero, has no name.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, index, *rest = name.split(".")
        if module == "stem":
            name, tensor = stem.canonical(name, tensor)
        elif module == "head":
            name, tensor = name.replace("weight", "kernel"), tensor.t()
        else:
            part, direction = rest[0].split("_l0")
            if part == "bias_hh":
                continue
            name = f"lstm.{index}.{'backward' if direction else 'forward'}.{PARTS[part]}"
            tensor = tensor.t()
        named[name] = tensor
    return named
