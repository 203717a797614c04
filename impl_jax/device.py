"""The device that holds the arrays, the options that XLA compiles with, and the precision of the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from common.errors import UserError
from common.recognizer import Device

COMPILER_OPTIONS = {
    # XLA's default, YNNPACK, convolves on one thread and Eigen on all of them (128 images, 64 to 64 channels, forward,
    # two cores: 75 ms against 42). YNNPACK keeps the sums over a batch, which take XLA's own code many times as long
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
    # one seed leads to the same weights on a GPU too
    "xla_gpu_deterministic_ops": True,
}
"""For every jitted function of this package, and for no other."""


def find_device(device: Device) -> jax.Device:
    """The first CPU or GPU that JAX sees.

    Raises:
        UserError: JAX sees no GPU.
    """
    try:
        return jax.devices(device)[0]
    except RuntimeError:
        raise UserError(
            f"JAX finds no {device}; install jax[cuda12] on a machine that has one, or use --device cpu"
        ) from None


@contextmanager
def full_precision(dtype: np.dtype) -> Iterator[None]:
    """Compute with all bits of `dtype`; every call into JAX runs inside this scope.

    JAX keeps float64 only where it is enabled. Products and convolutions of float32 take fewer bits by default on some
    devices (TF32 on a GPU), and all 24 with "highest". A scope sets both per model, not for the process.
    """
    with jax.enable_x64(dtype == np.float64), jax.default_matmul_precision("highest"):
        yield


def device_of(array: jax.Array) -> Device:
    """The device that holds the array."""
    (device,) = array.devices()
    return "cpu" if device.platform == "cpu" else "gpu"
