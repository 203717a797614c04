"""The network of `from_nothing.py` in PyTorch."""

# N examples, D inputs, O outputs

from __future__ import annotations

import numpy as np
import torch
from torch import nn


# --- train
def train(
    weights: dict[str, np.ndarray],
    x_ND: np.ndarray,
    t_NO: np.ndarray,
    *,
    rate: float,
    steps: int,
) -> list[float]:
    """The loss before each update."""
    inputs, hidden = weights["w1"].shape
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, t_NO.shape[1]))
    # nn.Linear's kernel is (out, in); the transpose does not change a bias
    start = (torch.from_numpy(value.T.copy()) for value in weights.values())
    model.load_state_dict(dict(zip(model.state_dict(), start, strict=True)), assign=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    x, t = torch.from_numpy(x_ND), torch.from_numpy(t_NO)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
