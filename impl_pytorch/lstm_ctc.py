"""LSTM-CTC: stem, bidirectional LSTM layers each followed by dropout, dense to the scores of each frame; CTC loss."""

# B batch, H height, W width, T frames, C channels, U hidden units of an LSTM direction, L label length (characters)
# K classes, of which 0 is CTC's blank

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import LSTMCTCSpec
from impl_pytorch import stem


# --- layers: PyTorch's own, see nn.LSTM, nn.Linear and nn.Dropout, but for a bidirectional LSTM; the stem is in stem.py
class BidirectionalLSTM(nn.Module):
    """Frames (B, T, C) of lines of different lengths to the outputs of both directions (B, T, 2U).

    The backward direction reads each line reversed within its own length, so it starts at the line's own last frame.
    Packed sequences do the same, but they need the lengths on the CPU, cannot be exported, and are slower on a CPU (32
    lines of 10 to 32 frames, 128 units, one core, forward and backward: 28 ms, this 12). Outputs past a line's own
    frames are arbitrary and reach none of its own.
    """

    def __init__(self, fan_in: int, units: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(fan_in, units, batch_first=True)
        self.back = nn.LSTM(fan_in, units, batch_first=True)

    def forward(self, x_BTC: Tensor, frames_B: Tensor) -> Tensor:
        ahead_BTU, _ = self.ahead(x_BTC)
        back_BTU, _ = self.back(reverse(x_BTC, frames_B))
        return torch.cat([ahead_BTU, reverse(back_BTU, frames_B)], 2)


def reverse(x_BTC: Tensor, lengths_B: Tensor) -> Tensor:
    """Each line's first `lengths_B` frames in reverse order; the frames after them keep their places."""
    place_T = torch.arange(x_BTC.shape[1], device=x_BTC.device)
    place_BT = torch.where(place_T < lengths_B[:, None], lengths_B[:, None] - 1 - place_T, place_T)
    return x_BTC.gather(1, place_BT[..., None].expand(x_BTC.shape))


# --- model
class LSTMCTC(nn.Module):
    """Images (B, H, W, 1) and their widths (B,) to logits (B, T, K), zero past a line's own frames."""

    def __init__(self, spec: LSTMCTCSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = stem.Stem(spec)
        fan_in = [spec.frame_dim] + (spec.num_layers - 1) * [2 * spec.hidden_dim]
        self.lstm = nn.ModuleList(BidirectionalLSTM(dim, spec.hidden_dim) for dim in fan_in)
        for name, parameter in self.lstm.named_parameters():
            # PyTorch adds two biases; the second stays zero, or the learning rate of their sum would double
            parameter.requires_grad_("bias_hh" not in name)
        self.dropouts = nn.ModuleList(nn.Dropout(share) for share in spec.layer_dropouts)
        self.head = nn.Linear(2 * spec.hidden_dim, spec.num_classes)
        self.shortcut = nn.Conv1d(spec.frame_dim, spec.num_classes, 3, padding=1) if spec.shortcut_weight else None

    def forward(
        self, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor | None = None, *, batch_statistics: bool = False
    ) -> Tensor:
        frames_BTC, frames_B = self.stem(images_BHW1, widths_B, batch_statistics=batch_statistics)
        return self.read(frames_BTC, frames_B)

    def read(self, x_BTC: Tensor, frames_B: Tensor) -> Tensor:
        """The stem's frames and their numbers to logits (B, T, K)."""
        for lstm, dropout in zip(self.lstm, self.dropouts, strict=True):
            x_BTC = dropout(lstm(x_BTC, frames_B))
        keep_BT = stem.keep_first(frames_B, x_BTC.shape[1])
        logits_BTK: Tensor = self.head(x_BTC) * keep_BT[..., None]
        return logits_BTK

    def train(self, mode: bool = True) -> LSTMCTC:
        super().train(mode)
        self.lstm.train()  # it has no dropout of its own, and cuDNN has no backward in evaluation mode
        return self


# --- loss
def loss(model: LSTMCTC, images_BHW1: Tensor, widths_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor) -> Tensor:
    """Σ -log p(label | frames) ÷ Σ characters, nats; the shortcut's is added with its weight.

    Source: Graves et al. 2006.
    """
    frames_BTC, frames_B = model.stem(images_BHW1, widths_B, batch_statistics=True)
    total = ctc(model, model.read(frames_BTC, frames_B), widths_B, labels_BL, label_lengths_B)
    if model.shortcut is not None:
        # frames past a line's own are zero, so the convolution sees the same zeros as past the end of the batch
        logits_BTK = model.shortcut(frames_BTC.transpose(1, 2)).transpose(1, 2)
        total = total + model.spec.shortcut_weight * ctc(model, logits_BTK, widths_B, labels_BL, label_lengths_B)
    return total / label_lengths_B.sum().clamp(min=1)


def ctc(model: LSTMCTC, logits_BTK: Tensor, widths_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor) -> Tensor:
    """Σ -log p(label | frames) of the batch, nats."""
    labels_BL = labels_BL.to(logits_BTK.device, non_blocking=True)
    # ctc_loss reads the lengths on the CPU, where widths and label lengths are
    frames_B = model.spec.frames(widths_B)
    return F.ctc_loss(
        logits_BTK.log_softmax(2).transpose(0, 1), labels_BL, frames_B, label_lengths_B, blank=0, reduction="sum"
    )


# --- training step: shared by all rungs, see train.fit


# --- weights
DIRECTIONS = {"ahead": "forward", "back": "backward"}
PARTS = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent_kernel", "bias_ih_l0": "bias"}


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters and running statistics, or of gradients, under canonical names and axes.

    LSTM kernels (in, 4U), dense (in, out) and the shortcut's convolution (k, in, out), not the reverse. The LSTM's
    second bias, which is zero, has no name.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, index, *rest = name.split(".")
        if module == "stem":
            name, tensor = stem.canonical(name, tensor)
        elif module == "head":
            name, tensor = name.replace("weight", "kernel"), tensor.t()
        elif module == "shortcut":
            name, tensor = name.replace("weight", "kernel"), tensor.permute(*reversed(range(tensor.ndim)))
        else:
            direction, part = rest
            if part not in PARTS:
                continue
            name, tensor = f"lstm.{index}.{DIRECTIONS[direction]}.{PARTS[part]}", tensor.t()
        named[name] = tensor
    return named
