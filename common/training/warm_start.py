"""Warm start: initial weights from another model, which may have another charset, or be another rung with this stem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from common.charset import Charset
from common.errors import UserError
from common.spec import LineSpec, Spec, spec_to_dict
from common.weights import Weights, WeightsFile, initial_weights

# fields that may differ between two models whose weights have the same meaning
_FREE = ("num_classes", "dropout", "head_dropout", "shortcut_weight")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to start from."""

    weights: Weights
    carried: str
    """The part of the other model that was used, in words."""


# added to the mean score of the known characters
_QUIET = -2.0


def carry_over(before: WeightsFile, spec: Spec, charset: Charset, seed: int, *, quiet: bool = False) -> Start:
    """The weights of another model, with its classes moved to the places of the same characters in this charset.

    Characters that the other model does not know start as in a new model with this seed. From another rung that reads
    lines, only the stem is used.

    Args:
        before: the other model.
        spec: the new model.
        charset: its characters.
        seed: of the weights that are not carried over.
        quiet: start a new character with a score below the mean score of the known characters, whatever the line. The
            new model then reads as the other model did, until it learns.

    Raises:
        UserError: the other model has other sizes, or is another rung without a stem.
    """
    weights = initial_weights(spec, seed)
    if spec.stem and before.spec.stem and spec.rung != before.spec.rung:
        own, other = cast(LineSpec, spec), cast(LineSpec, before.spec)  # others have no stem
        if (own.height, own.stem) != (other.height, other.stem):
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
    if not len(charset):  # a finder of lines reads no text
        return Start(weights=dict(before.weights), carried="all weights")
    of_character_K = charset.translation(before.charset)
    known = np.flatnonzero(of_character_K >= 0)
    source, target = known, of_character_K[known]
    extra = np.arange(spec.extra_classes)  # the classes that are no character have the same meaning in both models
    source, target = np.append(extra, source + len(extra)), np.append(extra, target + len(extra))
    for name in before.weights.keys() & weights.keys():  # only one of the two may have a shortcut
        array = before.weights[name]
        if name == "embedding.kernel":
            weights[name][target] = array[source]
        elif name in _outputs(spec):
            weights[name][..., target] = array[..., source]
            if quiet:
                new = np.setdiff1d(np.arange(weights[name].shape[-1]), target)
                mean = array[..., spec.extra_classes :].mean(axis=-1, keepdims=True)
                weights[name][..., new] = mean + (_QUIET if array.ndim == 1 else 0)
        else:
            weights[name] = array
    return Start(weights=weights, carried=f"{len(known)} of {len(charset)} characters")


def _outputs(spec: Spec) -> list[str]:
    """The parameters whose last axis is the classes: kernel and bias of the last layer, and of a shortcut."""
    named = [name for name in spec.parameters() if name.startswith(("head.", "shortcut."))]
    return named or list(spec.parameters())[-2:]
