"""The recognizer in PyTorch: modules, autograd and an open training loop."""

import torch

from impl_pytorch.recognizer import build

# Denormal numbers in gradients make steps several times slower. Threads take the setting from the one that starts
# them, so it is made here, before PyTorch has started any.
torch.set_flush_denormal(True)

__all__ = ["build"]
