"""Which device arrays lie on, and how XLA compiles for it."""

from __future__ import annotations

import jax

from common.errors import UserError
from common.recognizer import Device

COMPILER_OPTIONS = {
    # XLA's default, YNNPACK, convolves on one thread, Eigen on all of them (128 images, 64 to 64 channels, forward,
    # two cores: 75 ms against 42); but sums over a batch it works out in a fraction of XLA's own time
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
    # the same seed gives the same weights on a GPU too
    "xla_gpu_deterministic_ops": True,
}
"""For every jitted function, and only for those."""


def find_device(device: Device) -> jax.Device:
    """The first CPU or GPU that JAX sees.

    Raises:
        UserError: no GPU.
    """
    try:
        return jax.devices(device)[0]
    except RuntimeError:
        raise UserError(
            f"JAX finds no {device}; install jax[cuda12] on a machine that has one, or use --device cpu"
        ) from None


def device_of(array: jax.Array) -> Device:
    """Read off the array itself."""
    (device,) = array.devices()
    return "cpu" if device.platform == "cpu" else "gpu"
