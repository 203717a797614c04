"""Where Keras's arrays lie, and the settings a backend keeps for a whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from common.errors import UserError
from common.recognizer import Device, DType

Array = Any
"""tensorflow.Tensor or Variable, jax.Array or torch.Tensor."""

# without a number for the CPU: PyTorch takes "cpu:0" for a device of its own, and Keras then copies its parameters
NAMES: dict[Device, str] = {"cpu": "cpu", "gpu": "gpu:0"}


@contextmanager
def arrays_on(device: Device, dtype: DType) -> Iterator[None]:
    """Within it, new arrays lie on `device`, and JAX has float64 if `dtype` is float64."""
    with keras.device(NAMES[device]), _jax_float64() if dtype == "float64" else nullcontext():
        yield


def check(device: Device, dtype: DType) -> None:
    """Hold against what the backend can do, by laying an array on the device.

    Raises:
        UserError: there is no such device, or no such dtype.
    """
    backend = keras.backend.backend()
    if backend == "torch" and dtype == "float64":  # keras-team/keras issue 23704, in 3.15
        raise UserError("Keras on torch multiplies float64 in float32; use KERAS_BACKEND=tensorflow or jax, or float32")
    try:
        with keras.device(NAMES[device]):
            found = device_of(keras.ops.zeros(1))
    except (RuntimeError, AssertionError):  # JAX's and PyTorch's; TensorFlow takes the CPU without a word
        found = None
    if found != device:
        raise UserError(
            f"Keras on {backend} finds no {device}; install a {backend} that supports it or use --device cpu"
        )
    if device == "gpu":
        _keep_float32(backend)


def _keep_float32(backend: str) -> None:
    """No TF32, which keeps 10 bits of a float32's 23: a setting of each backend for the whole process."""
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def device_of(array: Array) -> Device:
    """Read off the array itself."""
    name = str(array.device).lower()
    return "gpu" if "gpu" in name or "cuda" in name else "cpu"


def to_numpy(array: Array | keras.Variable) -> np.ndarray:
    """A copy on the CPU, C-contiguous."""
    array = keras.ops.convert_to_tensor(array)
    if keras.backend.backend() == "torch":
        array = array.detach().cpu()
    # asarray first: np.array, and so keras.ops.convert_to_numpy, warns of arrays without NumPy 2's copy keyword
    return np.array(np.asarray(array), order="C")


def _jax_float64() -> Any:
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)
