"""What a run ran on: versions and memory."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python, of fourhands and of the distributions named."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("fourhands", *packages)}}


def peak_memory_mb() -> float | None:
    """The most memory this process has held at once, 10^6 bytes; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        # not getrusage: on Linux its figure is inherited from the process that started this one
        high_water = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high_water.split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
