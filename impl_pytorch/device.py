"""Where tensors live, and how they come and go."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.recognizer import Device


def torch_device(device: Device) -> torch.device:
    """The CPU, or the current GPU with TF32 off and repeatable convolutions.

    Raises:
        UserError: no GPU that PyTorch can use.
    """
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"PyTorch {torch.__version__} finds no GPU; use --device cpu, or install a PyTorch built for this GPU"
        )
    # TF32 keeps 10 bits of a float32's 23; set by the older flags, which raise when read after fp32_precision was set
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda")


def device_of(tensor: Tensor) -> Device:
    """Read off the tensor itself."""
    return "gpu" if tensor.is_cuda else "cpu"


def to_tensor(array: np.ndarray, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
    """A copy: memory that PyTorch has aligned gives the same last bit in every process."""
    return torch.tensor(np.asarray(array, order="C"), dtype=dtype, device=device)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy on the CPU, C-contiguous."""
    return np.array(tensor.numpy(force=True), order="C")
