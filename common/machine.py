"""The machine, the software versions and the peak memory of a run."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The operating system, the name of the processor, and the number of cores that this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python, of fourhands and of the named distributions."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("fourhands", *packages)}}


def peak_memory_mb() -> float | None:
    """The peak memory of this process in MB (10^6 bytes); None on a system that does not report it."""
    status = Path("/proc/self/status")
    if status.exists():
        # not getrusage: on Linux a process inherits the peak of the process that started it
        high_water = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high_water.split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
