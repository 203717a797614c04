"""The page on choosing: the published comparison, a profile, the size of an installation, what a function sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import common
import impl_pytorch
from common.config import TrainConfig
from common.data.characters import CharacterBatches, CharacterSplit
from common.spec import CNNSpec, MLPSpec
from common.training.run import Run

Figures = dict[str, dict[str, float]]  # rung to framework to value


# --- published
def published() -> dict[str, Any]:
    """Read the comparison that the site of this clone shows."""
    path = Path(common.__file__).parents[1] / "docs" / "results" / "report.json"
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def figures(report: dict[str, Any], field: str) -> Figures:
    """One field of every run."""
    return {
        rung: {framework: row[field] for framework, row in found["rows"].items()}
        for rung, found in report["rungs"].items()
    }


def winners(values: Figures) -> dict[str, list[str]]:
    """Frameworks with the smallest value of a rung, each with its rungs. Most rungs first."""
    won: dict[str, list[str]] = {}
    for rung, of_rung in values.items():
        won.setdefault(min(of_rung, key=of_rung.__getitem__), []).append(rung)
    return dict(sorted(won.items(), key=lambda item: -len(item[1])))


def in_words(won: dict[str, list[str]], names: dict[str, str]) -> str:
    """`winners` as a phrase: JAX on mlp and cnn, Keras on lstm_ctc."""
    return ", ".join(
        f"{names[framework]} on {' and '.join(filter(None, [', '.join(rungs[:-1]), rungs[-1]]))}"
        for framework, rungs in won.items()
    )


def repaid_after(report: dict[str, Any], compiled: str, other: str) -> str:
    """For each rung with a faster step, the steps after which that has repaid the longer compiling."""
    first, step = (figures(report, field) for field in ("compile_seconds", "step_seconds"))
    found = []
    for rung in step:
        gain = step[rung][other] - step[rung][compiled]
        if gain > 0:
            count = (first[rung][compiled] - first[rung][other]) / gain
            found.append(f"on {rung} after {max(count, 0):,.0f} steps")
    return ", ".join(found) or "on no rung"


# --- profile
def share_of_products(spec: MLPSpec | CNNSpec, steps: int = 4, batch_size: int = 128) -> float:
    """The share of matrix products and convolutions in the processor time of PyTorch's steps."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps * batch_size, spec.height, spec.width), np.uint8)
    labels = rng.integers(0, spec.num_classes, len(images), np.int32)
    batches = CharacterBatches(CharacterSplit(images_NHW=images, labels_N=labels), batch_size=batch_size, seed=0)
    model = impl_pytorch.build(spec, seed=0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        model.fit(Run(TrainConfig(epochs=1, batch_size=batch_size), batches))
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    products = ("aten::mm", "aten::addmm", "aten::bmm")
    of_products = sum(time for key, time in times.items() if key in products or "conv" in key)
    return of_products / sum(times.values())


# --- installed
def needed(names: Iterable[str]) -> set[str]:
    """The installed distributions of these names, and all that they require."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            key = canonicalize_name(requirement.name), extra
            if key in seen:
                continue
            seen.add(key)
            try:
                requires = distribution(key[0]).requires or []
            except PackageNotFoundError:  # for another system
                continue
            found.add(key[0])
            for line in map(Requirement, requires):
                if line.marker is None or line.marker.evaluate({"extra": extra}):
                    waiting.append(line)
    return found


def megabytes(names: Iterable[str]) -> float:
    """The size of their files on this disk."""
    files = (Path(str(file.locate())) for name in names for file in distribution(name).files or [])
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


# --- look inside
def called_twice(array: Callable, transform: Callable = lambda function: function) -> list[str]:
    """Call a function with two numbers. Return what it saw in its variable y."""
    values = []

    def double(x: Any) -> Any:
        y = 2 * x
        values.append(str(y))
        return y

    function = transform(double)
    function(array(3.0))
    function(array(4.0))
    return values


def values_seen() -> dict[str, list[str]]:
    """What the function sees, eager and compiled."""
    seen = {
        "PyTorch, eager": called_twice(torch.tensor),
        "JAX, eager": called_twice(jax.numpy.array),
        "JAX, jit": called_twice(jax.numpy.array, jax.jit),
    }
    with jax.disable_jit():
        seen["JAX, jit disabled"] = called_twice(jax.numpy.array, jax.jit)
    return seen
