"""The device of arrays: NumPy on the CPU, or CuPy, which has the same functions, on a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np

from common.errors import UserError
from common.recognizer import Device

Array = Any
"""numpy.ndarray or cupy.ndarray."""


def array_module(device: Device) -> ModuleType:
    """The module whose arrays are on `device`: numpy or cupy; CuPy leaves TF32 off.

    Raises:
        UserError: CuPy is not installed, or finds no GPU.
    """
    if device == "cpu":
        return np
    if importlib.util.find_spec("cupy") is None:
        raise UserError("framework 'numpy' needs CuPy for a GPU; install cupy-cuda12x or use --device cpu")
    import cupy

    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise UserError(f"CuPy finds no GPU ({error}); use --device cpu") from None
    return cupy  # type: ignore[no-any-return]


def keep_freed_memory() -> None:
    """Make glibc keep the memory of freed arrays up to 32 MB for the next ones, for the whole process.

    By default it returns the memory to the system after each step. Getting it back costs 16,000 page faults a step,
    45 ms of 350 (LSTM-CTC, 32 lines of 320 columns, one core).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # musl has no mallopt
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 2**25)


def namespace(array: Array) -> ModuleType:
    """The module that owns the array."""
    return np if isinstance(array, np.ndarray) else importlib.import_module(type(array).__module__.split(".")[0])


def device_of(array: Array) -> Device:
    """The device of an array."""
    return "cpu" if isinstance(array, np.ndarray) else "gpu"


def to_numpy(array: Array) -> np.ndarray:
    """A copy on the CPU, C-contiguous."""
    return np.array(array if isinstance(array, np.ndarray) else array.get(), order="C")
