"""The recognizer in PyTorch: modules, autograd and an open training loop."""

from impl_pytorch.device import set_process_switches
from impl_pytorch.recognizer import build

set_process_switches()

__all__ = ["build"]
