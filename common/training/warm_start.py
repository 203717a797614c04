"""Weights to start from, of a model that may have had another charset, or been another rung with the same stem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.charset import Charset
from common.errors import UserError
from common.spec import LineSpec, Spec, reads_lines, spec_to_dict
from common.weights import Weights, WeightsFile, initial_weights

# what may differ between two models that still mean the same by their weights
_FREE = ("num_classes", "dropout")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to start from."""

    weights: Weights
    carried: str
    """What was carried over, in words."""


def carry_over(before: WeightsFile, spec: Spec, charset: Charset, seed: int) -> Start:
    """The weights of another model, its classes put in the places that their characters have here.

    Characters that it did not know start as they do in a model from this seed. Between the rungs that read lines, the
    stem alone is carried over.

    Raises:
        UserError: it has other sizes, or is of another rung without a stem in common.
    """
    weights = initial_weights(spec, seed)
    if isinstance(spec, LineSpec) and isinstance(before.spec, LineSpec) and spec.rung != before.spec.rung:
        if (spec.height, spec.stem) != (before.spec.height, before.spec.stem):
            raise UserError(
                f"the stem of the {before.spec.rung} to start from has other sizes; "
                "give the same height, stem_channels, stem_strides and width of a frame"
            )
        weights |= {name: array for name, array in before.weights.items() if name.startswith("stem.")}
        return Start(weights=weights, carried="its stem")
    ours, theirs = spec_to_dict(spec), spec_to_dict(before.spec)
    for field in ours:
        if field not in _FREE and ours[field] != theirs.get(field):
            name = field if field == "rung" else f"spec.{field}"
            raise UserError(
                f"the weights to start from have {name} {theirs.get(field)!r} and not {ours[field]!r}; "
                "start from weights of the same rung and sizes, or give the same flags"
            )
    of_character_K = charset.translation(before.charset)
    known = np.flatnonzero(of_character_K >= 0)
    source, target = known, of_character_K[known]
    if reads_lines(spec.rung):  # class 0 is no character, and the same in both
        source, target = np.append(0, source + 1), np.append(0, target + 1)
    for name, array in before.weights.items():
        if name == "embedding.kernel":
            weights[name][target] = array[source]
        elif name in _outputs(spec):
            weights[name][..., target] = array[..., source]
        else:
            weights[name] = array
    return Start(weights=weights, carried=f"{len(known)} of {len(charset)} characters")


def _outputs(spec: Spec) -> list[str]:
    """The parameters whose last axis is the classes: kernel and bias of the last layer."""
    return list(spec.parameters())[-2:]
