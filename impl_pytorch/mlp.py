"""MLP: flatten, dense → ReLU → dropout per hidden layer, dense."""

# B batch, H height, W width, K classes

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import MLPSpec

# --- layers: PyTorch's own, see nn.Linear and nn.Dropout


# --- model
class MLP(nn.Module):
    """Images (B, H, W, 1) to logits (B, K)."""

    def __init__(self, spec: MLPSpec) -> None:
        super().__init__()
        dims = [spec.height * spec.width, *spec.hidden_dims, spec.num_classes]
        self.dense = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(dims))
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, images_BHW1: Tensor) -> Tensor:
        *hidden, last = self.dense
        x = images_BHW1.flatten(1)
        for dense in hidden:
            x = self.dropout(F.relu(dense(x)))
        logits_BK: Tensor = last(x)
        return logits_BK


# --- loss
def loss(model: MLP, images_BHW1: Tensor, labels_B: Tensor) -> Tensor:
    """Mean cross-entropy in nats."""
    labels_B = labels_B.to(images_BHW1.device, non_blocking=True)
    return F.cross_entropy(model(images_BHW1), labels_B)


# --- training step: shared by all rungs, see train.fit


# --- weights
def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters, or of their gradients, under canonical names and axes: dense (in, out), not (out, in)."""
    return {name.replace("weight", "kernel"): tensor.t() for name, tensor in tensors.items()}
