"""Seeded choices among the examples of a split."""

# N examples

from __future__ import annotations

from typing import TypeVar

import numpy as np

from common.data.dataset import Split
from common.data.lines import LineSplit
from common.errors import UserError

# one seed for every data set: which examples validate must not depend on a run
_SEED = 20_170_217
VALIDATION_SHARE = 0.1


def hold_out(split: Split) -> tuple[Split, Split]:
    """The split in two, each in its old order: nine tenths to train on, one tenth to validate with.

    Raises:
        UserError: fewer than two examples.
    """
    if len(split) < 2:
        raise UserError(
            f"the training set holds {len(split)} example; expected at least 2, one of them to validate with"
        )
    order_N = np.random.default_rng(_SEED).permutation(len(split))
    held = max(1, round(VALIDATION_SHARE * len(split)))
    return split.take(np.sort(order_N[held:])), split.take(np.sort(order_N[:held]))


Kind = TypeVar("Kind", Split, LineSplit)


def subset(split: Kind, examples: int) -> Kind:
    """So many examples of the split, in their old order; a larger subset holds the smaller one.

    Raises:
        UserError: there are fewer.
    """
    if examples > len(split):
        raise UserError(f"{examples:,} training examples were asked for; there are {len(split):,}, ask for fewer")
    order_N = np.random.default_rng(_SEED + 1).permutation(len(split))
    return split.take(np.sort(order_N[:examples]))


def balanced(split: Split) -> Split:
    """The split with no class larger than the mean class was, the surplus drawn out at random.

    Source: the usual treatment of EMNIST byclass, whose digits outnumber its rare letters 20 to 1.
    """
    order_N = np.random.default_rng(_SEED + 2).permutation(len(split))
    cap = int(len(split) / len(np.unique(split.labels_N)))
    kept = [order_N[split.labels_N[order_N] == k][:cap] for k in np.unique(split.labels_N)]
    return split.take(np.sort(np.concatenate(kept)))
