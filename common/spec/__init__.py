"""The spec of each rung: one frozen dataclass per rung, and the table of its parameters.

A spec chooses everything that a framework would otherwise choose by default: shapes, initialisation, padding, dropout,
norms, and the order in which an image is flattened (row, column, channel).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from common.errors import UserError, unknown_name
from common.spec.base import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, Initializer, Parameter
from common.spec.characters import CharacterSpec, CNNSpec, MLPSpec
from common.spec.lines import LineSpec, LSTMCTCSpec, TransformerSpec, positions
from common.spec.pages import UNetSpec

__all__ = [
    "BATCH_NORM_MOMENTUM",
    "NORM_EPSILON",
    "RUNGS",
    "Block",
    "CNNSpec",
    "CharacterSpec",
    "Initializer",
    "LSTMCTCSpec",
    "LineSpec",
    "MLPSpec",
    "Parameter",
    "Spec",
    "TransformerSpec",
    "UNetSpec",
    "new_spec",
    "parameter_count",
    "positions",
    "spec_from_dict",
    "spec_to_dict",
]

Spec = MLPSpec | CNNSpec | LSTMCTCSpec | TransformerSpec | UNetSpec
RUNGS: dict[str, type[Spec]] = {spec.rung: spec for spec in (MLPSpec, CNNSpec, LSTMCTCSpec, TransformerSpec, UNetSpec)}


def new_spec(rung: str, **fields: Any) -> Spec:
    """A spec with these fields and the defaults of the others. The number of classes waits for the data.

    Raises:
        UserError: a field has an impossible value.
        TypeError: an unknown field.
    """
    spec_type = RUNGS[rung]
    decided = {"num_classes": 1 + spec_type.extra_classes} if "num_classes" in spec_type.decided_by_data else {}
    return spec_type(**(decided | fields))


def parameter_count(spec: Spec) -> int:
    """Number of trained parameters of the model."""
    total = 0
    for parameter in spec.parameters().values():
        size = int(parameter.trained)
        for dim in parameter.shape:
            size *= dim
        total += size
    return total


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """The spec for JSON; `spec_from_dict` reads it back."""
    return {"rung": spec.rung} | asdict(spec)


def spec_from_dict(fields: Any) -> Spec:
    """The spec that `spec_to_dict` wrote.

    Raises:
        UserError: not an object, an unknown rung, an unknown or a missing field.
    """
    if not isinstance(fields, dict):
        raise UserError(f"a spec must be an object with a rung and its fields, not {fields!r}")
    fields = dict(fields)
    rung = fields.pop("rung", None)
    if rung not in RUNGS:
        raise unknown_name("rung", str(rung), RUNGS)
    arguments: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    try:
        return RUNGS[rung](**arguments)
    except TypeError as error:
        raise UserError(f"not a spec of rung {rung}: {error}") from None
