"""The layers of a model, from its spec: the same in every framework."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The parameters under one name, such as `stem.0`."""

    name: str
    arrays: str
    """Each array with its shape, such as `kernel 3×3×1×32, bias 32`."""
    parameters: int
    """Trained parameters."""
    statistics: int
    """Numbers that a step updates without a gradient: the running statistics of batch norm."""


def layers_of(spec: Spec) -> list[Layer]:
    """The layers in the order of the parameter table. Shapes are canonical, see `common.spec.base.Parameter`."""
    grouped: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for full, row in spec.parameters().items():
        name, _, last = full.rpartition(".")
        grouped.setdefault(name, []).append((last, row.shape, row.trained))
    return [
        Layer(
            name=name,
            arrays=", ".join(f"{last} {'×'.join(map(str, shape))}" for last, shape, _ in rows),
            parameters=sum(math.prod(shape) for _, shape, trained in rows if trained),
            statistics=sum(math.prod(shape) for _, shape, trained in rows if not trained),
        )
        for name, rows in grouped.items()
    ]
