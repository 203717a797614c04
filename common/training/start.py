"""Weights to start from, of a model that may have had another charset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.charset import Charset
from common.errors import UserError
from common.spec import Spec, reads_lines, spec_to_dict
from common.weights import Weights, WeightsFile, initial_weights

# what may differ between two models that still mean the same by their weights
_FREE = ("num_classes", "dropout")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to start from."""

    weights: Weights
    carried: int
    """Characters whose classes were carried over."""


def carry_over(before: WeightsFile, spec: Spec, charset: Charset, seed: int) -> Start:
    """The weights of another model, its classes put in the places that their characters have here.

    Characters that it did not know start as they do in a model from this seed.

    Raises:
        UserError: it is of another rung or has other sizes.
    """
    ours, theirs = spec_to_dict(spec), spec_to_dict(before.spec)
    for field in ours:
        if field not in _FREE and ours[field] != theirs.get(field):
            name = field if field == "rung" else f"spec.{field}"
            raise UserError(
                f"the weights to start from have {name} {theirs.get(field)!r} and not {ours[field]!r}; "
                "start from weights of the same rung and sizes, or give the same flags"
            )
    weights = initial_weights(spec, seed)
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
    return Start(weights=weights, carried=len(known))


def _outputs(spec: Spec) -> list[str]:
    """The parameters whose last axis is the classes: kernel and bias of the last layer."""
    return list(spec.parameters())[-2:]
