"""Divide data into splits, and choose a part of a split. The result is always the same for the same data."""

# N examples

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.charset import Charset
from common.data.characters import CharacterSplit
from common.data.dataset import SPLITS, SplitName, SplitT
from common.data.lines import LineDataset
from common.data.prepared import Prepared
from common.errors import UserError

# one seed for every data set: the validation examples must not depend on the seed of a run
_SEED = 20_170_217
VALIDATION_SHARE = 0.1
"""Share of an official training set of characters that is used for validation."""
VALIDATION_EVERY = 5
"""Of the lines of one writer, one of this number is for validation."""
_HELD_SHARE = 0.1  # share of the lines for validation, and share for test


def hold_out(split: CharacterSplit) -> tuple[CharacterSplit, CharacterSplit]:
    """Divide a split: nine tenths for training, one tenth for validation, each in the old order.

    Raises:
        UserError: the split has fewer than two examples.
    """
    if len(split) < 2:
        raise UserError(f"the training set holds {len(split)} example; expected at least 2, one of them for validation")
    order_N = np.random.default_rng(_SEED).permutation(len(split))
    held = max(1, round(VALIDATION_SHARE * len(split)))
    return split.take(np.sort(order_N[held:])), split.take(np.sort(order_N[:held]))


def subset(split: SplitT, examples: int) -> SplitT:
    """Choose `examples` examples of the split at random, in the old order. A larger subset contains a smaller one.

    Raises:
        UserError: the split has fewer examples.
    """
    if examples > len(split):
        raise UserError(f"{examples:,} training examples were asked for; there are {len(split):,}, ask for fewer")
    order_N = np.random.default_rng(_SEED + 1).permutation(len(split))
    return split.take(np.sort(order_N[:examples]))


def balanced(split: CharacterSplit) -> CharacterSplit:
    """Limit each class to the mean class count. The examples to keep are chosen at random.

    This is usual for EMNIST byclass, which has 20 times more examples of a digit than of a rare letter.
    """
    order_N = np.random.default_rng(_SEED + 2).permutation(len(split))
    cap = int(len(split) / len(np.unique(split.labels_N)))
    kept = [order_N[split.labels_N[order_N] == k][:cap] for k in np.unique(split.labels_N)]
    return split.take(np.sort(np.concatenate(kept)))


def split_groups(name: str, sizes: Mapping[str, int]) -> dict[str, SplitName]:
    """Put whole groups of examples into splits at random. Validation and test get about a tenth of the examples each.

    Args:
        name: name of the data set.
        sizes: number of examples of each group.

    Raises:
        UserError: there are fewer than three groups.
    """
    if len(sizes) < 3:
        raise UserError(
            f"{name} holds lines of {len(sizes)} pages or writers; expected at least 3, one each for training, "
            "validation and test"
        )
    names = sorted(sizes)
    waiting = [names[i] for i in np.random.default_rng(_SEED).permutation(len(names))]
    split_of: dict[str, SplitName] = {}
    held_out: tuple[SplitName, ...] = ("test", "validation")
    for split in held_out:
        wanted = _HELD_SHARE * sum(sizes.values())
        held = 0
        # the first waiting group is always taken, and one group is left for each later split
        while len(waiting) > 2 or not held:
            if held and abs(held + sizes[waiting[0]] - wanted) >= abs(held - wanted):
                break
            held += sizes[waiting[0]]
            split_of[waiting.pop(0)] = split
    return split_of | dict.fromkeys(waiting, "train")


def by_group(name: str, prepared: Prepared, groups: Sequence[str]) -> LineDataset:
    """Split lines at random, but keep the lines of each group in one split; see `split_groups`.

    Args:
        name: name of the data set.
        prepared: the lines.
        groups: the writer or the page of each line.

    Raises:
        UserError: there are fewer than three groups.
    """
    split_of = split_groups(name, Counter(groups))
    return by_split(name, number_groups(prepared, groups), [split_of[group] for group in groups])


def number_groups(prepared: Prepared, groups: Sequence[str]) -> Prepared:
    """The same lines, whose writers are numbers of the groups in alphabetical order."""
    numbers_N = np.searchsorted(sorted(set(groups)), groups)
    return replace(prepared, lines=replace(prepared.lines, writers_N=numbers_N))


def by_split(name: str, prepared: Prepared, splits: Sequence[str]) -> LineDataset:
    """Put each line in the split that `splits` names: train, validation or test. Other names leave the line out."""
    train, validation, test = (
        prepared.lines.take(np.array([i for i, own in enumerate(splits) if own == split], dtype=np.int64))
        for split in SPLITS
    )
    return LineDataset(
        name=name,
        charset=Charset.of(train.texts),
        train=train,
        validation=validation,
        test=test,
        refused=prepared.refused,
        clipped=prepared.clipped,
    )


def held_out(page_N: Sequence[str], every: int) -> list[SplitName]:
    """The split of each line, for pages that may all be by one writer.

    The test split has every page whose place among the pages is a multiple of `every`, or the last page if there are
    fewer. With one page only, it has the last lines of it. Of the other lines, every fifth is for validation.

    Args:
        page_N: the page of each line. The lines of a page follow each other.
        every: see above; at least 2.
    """
    pages = list(dict.fromkeys(page_N))
    if len(pages) > 1:
        test = set(pages[every - 1 :: every] or pages[-1:])
        tested = [page in test for page in page_N]
    else:
        own = len(page_N) - max(1, len(page_N) // every)
        tested = [i >= own for i in range(len(page_N))]
    splits: list[SplitName] = ["test" if each else "train" for each in tested]
    learnt = [i for i, split in enumerate(splits) if split == "train"]
    for i in learnt[VALIDATION_EVERY - 1 :: VALIDATION_EVERY] or learnt[1:][-1:]:
        splits[i] = "validation"
    return splits
