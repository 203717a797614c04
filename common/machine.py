"""The machine, the software versions and the peak memory of a run."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
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


def machine_details(device: str) -> dict[str, Any]:
    """The result of `machine`, and the system's full name, the memory in GB (10^9 bytes), and the GPU that is used.

    Args:
        device: cpu or gpu.
    """
    try:
        memory: float | None = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # Windows
        memory = None
    return machine() | {
        "os": platform.platform(),
        "memory_gb": memory,
        "gpu": _gpu_names() if device == "gpu" else None,
    }


def _gpu_names() -> str | None:
    """Name, memory and driver of each GPU, as NVIDIA's tool names them; None without it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip()) or None
