"""Devices, the switches of the process, and copies between NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.recognizer import Device


def set_process_switches() -> None:
    """Set PyTorch's settings for the whole process, other code in it included; importing `impl_pytorch` calls this.

    - Denormal numbers become zero on the CPU: in gradients they make steps several times slower. A thread takes the
      setting from the thread that starts it, so it must be set before PyTorch starts any.
    - TF32 is off on a GPU: it keeps 10 bits of a float32's 23, too few for the suite's gates. These are the older
      flags, which raise an error when they are read after `fp32_precision` was set.
    - cuDNN's convolutions are deterministic, so that a run can be repeated.

    The number of threads is left as it is; `OMP_NUM_THREADS` sets it. `train.dropout_seeded` seeds the global
    generators, and restores them after each step.
    """
    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def torch_device(device: Device) -> torch.device:
    """The CPU, or the current GPU.

    Raises:
        UserError: PyTorch finds no GPU.
    """
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"PyTorch {torch.__version__} finds no GPU; use --device cpu, or install a PyTorch built for this GPU"
        )
    return torch.device("cuda")


def device_of(tensor: Tensor) -> Device:
    """The device of a tensor."""
    return "gpu" if tensor.is_cuda else "cpu"


def to_tensor(array: np.ndarray, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
    """A copy: in memory that PyTorch aligned, the last bit of a result is the same in every process."""
    tensor = torch.tensor(np.asarray(array, order="C"), dtype=dtype)
    if device is None or device.type == "cpu":
        return tensor
    # from pinned memory, the copy does not wait for the work in the GPU's queue
    return tensor.pin_memory().to(device, non_blocking=True)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy on the CPU, C-contiguous."""
    return np.array(tensor.numpy(force=True), order="C")
