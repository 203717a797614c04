"""The device that holds Keras's arrays, and the settings that a backend keeps for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from common.errors import UserError
from common.recognizer import Device, DType

Array = Any
"""A tensorflow.Tensor, a jax.Array or a torch.Tensor."""

# the CPU has no number: to PyTorch "cpu:0" is another device than "cpu", so Keras would copy its parameters
NAMES: dict[Device, str] = {"cpu": "cpu", "gpu": "gpu:0"}


@contextmanager
def arrays_on(device: Device, dtype: DType) -> Iterator[None]:
    """A scope in which new arrays lie on `device`, and in which JAX has float64 if `dtype` is float64."""
    with keras.device(NAMES[device]), _jax_float64() if dtype == "float64" else nullcontext():
        yield


def check(device: Device, dtype: DType) -> None:
    """Check that the backend has the device and the dtype, by making an array on the device.

    Raises:
        UserError: the backend lacks the device or the dtype.
    """
    backend = keras.backend.backend()
    if backend == "torch" and dtype == "float64":  # keras-team/keras issue 23704, in 3.15
        raise UserError("Keras on torch multiplies float64 in float32; use KERAS_BACKEND=tensorflow or jax, or float32")
    try:
        with keras.device(NAMES[device]):
            found = device_of(keras.ops.zeros(1))
    except (RuntimeError, AssertionError):  # raised by JAX and PyTorch; TensorFlow silently uses the CPU
        found = None
    if found != device:
        raise UserError(
            f"Keras on {backend} finds no {device}; install a {backend} that supports it or use --device cpu"
        )
    if device == "gpu":
        _keep_float32(backend)


def _keep_float32(backend: str) -> None:
    """Turn off TF32, which keeps 10 of the 23 bits of a float32's fraction. Each backend sets it for the process."""
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
    """The device that holds the array."""
    name = str(array.device).lower()
    return "gpu" if "gpu" in name or "cuda" in name else "cpu"


def to_numpy(array: Array | keras.Variable) -> np.ndarray:
    """A copy on the CPU, C-contiguous."""
    array = keras.ops.convert_to_tensor(array)
    if keras.backend.backend() == "torch":
        array = array.detach().cpu()
    # asarray first: np.array, which keras.ops.convert_to_numpy calls, warns about arrays without NumPy 2's copy keyword
    return np.array(np.asarray(array), order="C")


def _jax_float64() -> Any:
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)
