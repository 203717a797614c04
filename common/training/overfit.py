"""A few examples to learn by heart: the first thing to try with a new model, new data or new settings."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.data.dataset import AnyDataset
from common.errors import UserError
from common.evaluation.measure import Measure
from common.sampling import evenly
from common.spec import Spec

STEPS = 50
"""Steps per epoch, so that the default number of epochs suffices for a few examples."""
MISSED = 0.01
"""The largest error at which the examples count as learnt by heart."""


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """What to train instead."""

    spec: Spec
    """Without dropout."""
    train: TrainConfig
    """Without augmentation; a batch has at most all of the examples."""
    dataset: AnyDataset
    """The chosen examples as validation and test split, and many times over as training split."""


def overfit(spec: Spec, train: TrainConfig, dataset: AnyDataset) -> Overfit:
    """Replace the data by `train.overfit` of its training examples, and turn off what makes learning them harder.

    The test split is not touched.

    Raises:
        UserError: the training split has fewer examples.
    """
    if train.overfit > len(dataset.train):
        raise UserError(
            f"--train.overfit is {train.overfit:,}, but the training split of {dataset.name} has "
            f"{len(dataset.train):,} examples; give a smaller number"
        )
    few = dataset.train.take(np.array(evenly(len(dataset.train), train.overfit)))
    batch_size = min(train.batch_size, train.overfit)
    many = few.take(np.arange(STEPS * batch_size) % train.overfit)
    off: Any = {field.name: 0.0 for field in fields(spec) if field.name.endswith("dropout")}
    return Overfit(
        spec=replace(spec, **off),
        train=replace(train, batch_size=batch_size, augment=False),
        dataset=replace(dataset, train=many, validation=few, test=few),
    )


def verdict(measure: Measure, value: float, count: int) -> tuple[bool, str]:
    """Whether the examples were learnt by heart, and a sentence that says so.

    Args:
        measure: the measure of the task.
        value: its value on the examples.
        count: number of examples.
    """
    target = MISSED if measure.lower_is_better else 1 - MISSED
    learnt = measure.reached(value, target)
    goal = f"{measure.name} {value:.2%}, expected {'at most' if measure.lower_is_better else 'at least'} {target:.0%}"
    if learnt:
        return True, f"{count:,} {measure.examples} were learnt by heart ({goal}): model, loss and data work together"
    return False, (
        f"{count:,} {measure.examples} were not learnt by heart ({goal}); look at the loss in curves.png, then try "
        "fewer examples, more epochs or another learning rate, and check the labels"
    )
