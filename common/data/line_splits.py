"""Lines in three splits that share no writer."""

# N lines

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.charset import Charset
from common.data.lines import LineDataset
from common.data.prepared import Prepared
from common.errors import UserError

# one seed for every data set: which lines validate must not depend on a run
_SEED = 20_170_217
_HELD_SHARE = 0.1  # of the lines, to validate with, and as many to test with


def by_group(name: str, prepared: Prepared, groups: Sequence[str]) -> LineDataset:
    """Whole groups at random: about a tenth of the lines to validate with, a tenth to test with, the rest to train on.

    Args:
        name: of the data set.
        prepared: its lines.
        groups: what each line belongs to: its writer, or its page.

    Raises:
        UserError: fewer than three groups.
    """
    sizes = Counter(groups)
    if len(sizes) < 3:
        raise UserError(
            f"{name} holds lines of {len(sizes)} pages or writers; expected at least 3, one each to train, validate "
            "and test with"
        )
    names = sorted(sizes)
    waiting = [names[i] for i in np.random.default_rng(_SEED).permutation(len(names))]
    split_of: dict[str, str] = {}
    for split in ("test", "validation"):
        wanted = _HELD_SHARE * len(groups)
        held = 0
        # the first of those that wait is always held, and one of them is left to each later split
        while len(waiting) > 2 or not held:
            if held and abs(held + sizes[waiting[0]] - wanted) >= abs(held - wanted):
                break
            held += sizes[waiting[0]]
            split_of[waiting.pop(0)] = split
    numbers_N = np.searchsorted(names, groups)
    grouped = replace(prepared, lines=replace(prepared.lines, writers_N=numbers_N))
    return by_split(name, grouped, [split_of.get(group, "train") for group in groups])


def by_split(name: str, prepared: Prepared, splits: Sequence[str]) -> LineDataset:
    """Each line in the split that is named for it: train, validation or test; any other name leaves it out."""
    train, validation, test = (
        prepared.lines.take(np.array([i for i, own in enumerate(splits) if own == split], dtype=np.int64))
        for split in ("train", "validation", "test")
    )
    return LineDataset(
        name=name,
        charset=Charset.of(train.texts),
        train=train,
        validation=validation,
        test=test,
        refused=prepared.refused,
    )
