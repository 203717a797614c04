"""What the page on choosing looks up: the published comparison, the size of an installation, what a traced value is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import jax
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import common


# --- published
def published() -> dict[str, Any]:
    """The comparison that the clone's site shows."""
    path = Path(common.__file__).parents[1] / "docs" / "results" / "report.json"
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def figures(report: dict[str, Any], field: str) -> dict[str, dict[str, float]]:
    """One figure of every run: rung to framework to value."""
    return {
        rung: {framework: row[field] for framework, row in found["rows"].items()}
        for rung, found in report["rungs"].items()
    }


# --- installed
def needed(names: Iterable[str]) -> set[str]:
    """The distributions of these names that are installed here, and all that they require in turn."""
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
            except PackageNotFoundError:  # of another system
                continue
            found.add(key[0])
            for line in map(Requirement, requires):
                if line.marker is None or line.marker.evaluate({"extra": extra}):
                    waiting.append(line)
    return found


def megabytes(names: Iterable[str]) -> float:
    """What their files take on this disk."""
    files = (Path(str(file.locate())) for name in names for file in distribution(name).files or [])
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


# --- look inside
def eager(seen: list[str]) -> None:
    """Call a function in PyTorch twice; it notes what stands in its variable."""

    def double(x: torch.Tensor) -> torch.Tensor:
        y = 2 * x
        seen.append(str(y))
        return y

    double(torch.tensor(3.0))
    double(torch.tensor(4.0))


def compiled(seen: list[str]) -> None:
    """The same in JAX."""

    @jax.jit
    def double(x: jax.Array) -> jax.Array:
        y = 2 * x
        seen.append(str(y))
        return y

    double(jax.numpy.array(3.0))
    double(jax.numpy.array(4.0))
