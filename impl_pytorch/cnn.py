"""CNN: convolutions 3×3 with ReLU, max-pool 2×2, dropout, dense → ReLU, dense."""

# B batch, H height, W width, C channels, K classes

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import CNNSpec

# --- layers: PyTorch's own, see nn.Conv2d, nn.Linear and nn.Dropout


# --- model
class CNN(nn.Module):
    """Images (B, H, W, 1) to logits (B, K)."""

    def __init__(self, spec: CNNSpec) -> None:
        super().__init__()
        channels = pairwise((1, *spec.channels))
        self.conv = nn.ModuleList(nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1) for fan_in, fan_out in channels)
        self.dropout = nn.Dropout(spec.dropout)
        dims = pairwise((spec.flat_dim, spec.hidden_dim, spec.num_classes))
        self.dense = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in dims)
        # shapes stay (B, C, H, W), memory is ordered (B, H, W, C): a third of the time on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images_BHW1: Tensor) -> Tensor:
        x_BCHW = images_BHW1.permute(0, 3, 1, 2)
        for conv in self.conv:
            x_BCHW = F.relu(conv(x_BCHW), inplace=True)
        x_BCHW = self.dropout(F.max_pool2d(x_BCHW, 2))
        x = x_BCHW.permute(0, 2, 3, 1).flatten(1)
        x = F.relu(self.dense[0](x))
        logits_BK: Tensor = self.dense[1](x)
        return logits_BK


# --- loss
def loss(model: CNN, images_BHW1: Tensor, labels_B: Tensor) -> Tensor:
    """Mean cross-entropy in nats."""
    labels_B = labels_B.to(images_BHW1.device, non_blocking=True)
    return F.cross_entropy(model(images_BHW1), labels_B)


# --- training step: shared by all rungs, see train.fit


# --- weights
def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters, or of their gradients, under canonical names and axes.

    Convolution (kh, kw, in, out), not (out, in, kh, kw); dense (in, out), not (out, in).
    """
    return {
        name.replace("weight", "kernel"): tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.t()
        for name, tensor in tensors.items()
    }
