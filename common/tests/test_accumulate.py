"""Micro-batches: their examples, and the share of each in the loss of a step."""

from __future__ import annotations

import numpy as np
import pytest

from common.batch import Batch, LineBatch, split
from common.config import TrainConfig
from common.data.characters import CharacterBatches, CharacterSplit
from common.errors import UserError
from common.spec import RUNGS
from common.training.accumulate import micro_batches
from common.training.run import Run


def lines(*lengths: int) -> LineBatch:
    count = len(lengths)
    return LineBatch(
        images_BHW1=np.zeros((count, 4, 6, 1), np.float32),
        widths_B=np.arange(1, count + 1, dtype=np.int32),
        labels_BL=np.zeros((count, max(lengths)), np.int32),
        label_lengths_B=np.array(lengths, np.int32),
    )


def test_parts_hold_the_examples_in_order_and_their_sizes_differ_by_at_most_one() -> None:
    batch = Batch(images_BHW1=np.zeros((8, 2, 2, 1), np.float32), labels_B=np.arange(8, dtype=np.int32))
    assert [part.labels_B.tolist() for part in split(batch, 3)] == [[0, 1], [2, 3, 4], [5, 6, 7]]


def test_shares_of_characters_are_their_examples() -> None:
    batch = Batch(images_BHW1=np.zeros((4, 2, 2, 1), np.float32), labels_B=np.zeros(4, np.int32))
    assert [share for _, share in micro_batches(RUNGS["mlp"](num_classes=2), batch, 3)] == [1 / 4, 1 / 4, 2 / 4]


@pytest.mark.parametrize(
    ("rung", "shares"), [("lstm_ctc", [1 / 10, 9 / 10]), ("transformer", [3 / 14, 11 / 14])], ids=["ctc", "with ends"]
)
def test_shares_of_lines_are_their_characters(rung: str, shares: list[float]) -> None:
    parts = micro_batches(RUNGS[rung](num_classes=2), lines(1, 0, 4, 5), 2)
    assert [share for _, share in parts] == pytest.approx(shares)
    assert [part.images_BHW1.shape for part, _ in parts] == [(2, 4, 6, 1)] * 2


def test_sum_of_a_part_without_characters_is_divided_by_the_characters_of_the_others() -> None:
    # the loss of a part without characters is its sum itself, divided by one
    assert [share for _, share in micro_batches(RUNGS["lstm_ctc"](num_classes=2), lines(0, 5), 2)] == [1 / 5, 1]


def test_last_batch_must_have_an_example_for_each_part() -> None:
    examples = CharacterSplit(images_NHW=np.zeros((10, 4, 4), np.uint8), labels_N=np.zeros(10, np.int64))
    batches = CharacterBatches(examples, batch_size=8, seed=0)
    Run(TrainConfig(batch_size=8, accumulate=2), batches)
    with pytest.raises(UserError, match=r"train\.accumulate is 3, but the last batch of an epoch has 2 of 10 examples"):
        Run(TrainConfig(batch_size=8, accumulate=3), batches)
    with pytest.raises(UserError, match=r"train\.accumulate is 9 and train\.batch_size 8"):
        TrainConfig(batch_size=8, accumulate=9)
