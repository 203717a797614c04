"""A training step on the CPU and on a GPU. As a program, it writes the measurements to a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import common
from common.config import TrainConfig
from common.data.characters import CharacterBatches, CharacterSplit
from common.errors import UserError
from common.machine import machine, versions
from common.recognizer import Device, load_implementation
from common.spec import CNNSpec
from common.training.run import Run

FRAMEWORKS = "numpy", "pytorch", "jax"
BATCH_SIZES = 8, 64, 512
RECORD = Path(common.__file__).parents[1] / "docs" / "results" / "gpu.json"


# --- step
def step_seconds(framework: str, device: Device, batch_size: int) -> float:
    """Seconds of a training step of the `cnn`: the median of ten, after three to warm up."""
    spec = CNNSpec(num_classes=62)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (13 * batch_size, spec.height, spec.width), np.uint8)
    labels = rng.integers(0, spec.num_classes, len(images), np.int32)
    model = load_implementation(framework)(spec, device=device)
    batches = CharacterBatches(CharacterSplit(images_NHW=images, labels_N=labels), batch_size=batch_size, seed=0)
    run = Run(TrainConfig(epochs=1, batch_size=batch_size), batches)
    model.fit(run)
    return median(run.clock.durations[3:])


# --- measure
def measure() -> dict[str, Any]:
    """Milliseconds by framework, device and batch size, for frameworks that find a GPU; machine, versions and date."""
    taken: dict[str, dict[str, list[float]]] = {}
    for framework in FRAMEWORKS:
        try:
            on_gpu = [1000 * step_seconds(framework, "gpu", size) for size in BATCH_SIZES]
        except UserError:  # it finds none, or is not installed
            continue
        taken[framework] = {"cpu": [1000 * step_seconds(framework, "cpu", size) for size in BATCH_SIZES], "gpu": on_gpu}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name(),
        **machine(),
        "versions": versions(("numpy", "torch", "jax")),
        "batch_sizes": list(BATCH_SIZES),
        "milliseconds": taken,
    }


def measure_apart() -> dict[str, Any]:
    """Call `measure` in a new process, with all cores and without the settings of the page."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    with TemporaryDirectory() as folder:
        file = Path(folder, "gpu.json")
        subprocess.run([sys.executable, __file__, file], env=environment, check=True)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


# --- measured or recorded
def measured_or_recorded(record: Path = RECORD) -> tuple[dict[str, Any] | None, str]:
    """Measure this machine's GPU, else read the record, if there is one. Also return the origin in words."""
    if torch.cuda.is_available():
        found = measure_apart()
        return found, f"Measured by the run that built this page, on one {found['gpu']}."
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        return found, (
            f"**Not from the run that built this page**, which had no GPU: recorded on {found['date']}, on one "
            f"{found['gpu']} beside {found['cores']} cores of an {found['processor']}."
        )
    return None, (
        "The run that built this page had no GPU, and this repository has no record of one. On a machine with a GPU, "
        "build the page, or record the figures: `python docs/lectures/timing_gpu.py docs/results/gpu.json`."
    )


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU, so there is nothing to measure")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX reserves most of the GPU's memory
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
