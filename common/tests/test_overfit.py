"""`--train.overfit`: a few training examples are learnt by heart, or a sentence says that they were not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.charset import Charset
from common.config import TrainConfig
from common.data.characters import CharacterSplit
from common.data.dataset import Dataset
from common.errors import UserError
from common.evaluation.measure import ACCURACY, CER
from common.spec import LSTMCTCSpec, MLPSpec
from common.tests.conftest import Command
from common.training.overfit import STEPS, overfit, verdict


def split(first: int, count: int) -> CharacterSplit:
    """Images whose only pixel is their number."""
    numbers = np.arange(first, first + count, dtype=np.uint8)
    return CharacterSplit(images_NHW=numbers[:, None, None], labels_N=numbers.astype(np.int32))


DATASET = Dataset(name="few", charset=Charset(("a",)), train=split(0, 20), validation=split(50, 5), test=split(90, 5))


def test_examples_are_of_the_training_split_alone_and_all_three_splits_have_the_same() -> None:
    few = overfit(MLPSpec(num_classes=1), TrainConfig(overfit=4, batch_size=32), DATASET)
    chosen = few.dataset.validation.labels_N.tolist()
    assert len(set(chosen)) == 4
    assert max(chosen) < 20
    assert few.dataset.test.labels_N.tolist() == chosen
    assert few.train.batch_size == 4
    assert few.dataset.train.labels_N.tolist() == STEPS * chosen


def test_dropout_and_augmentation_are_off() -> None:
    spec = LSTMCTCSpec(num_classes=2, dropout=0.5, head_dropout=0.25)
    few = overfit(spec, TrainConfig(overfit=4, augment=True), DATASET)
    assert (few.spec.dropout, few.spec.head_dropout, few.train.augment) == (0.0, 0.0, False)
    assert few.spec.hidden_dim == spec.hidden_dim


def test_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"--train\.overfit is 21, but the training split of few has 20 examples"):
        overfit(MLPSpec(num_classes=1), TrainConfig(overfit=21), DATASET)


@pytest.mark.parametrize(
    ("measure", "value", "learnt"),
    [(ACCURACY, 0.99, True), (ACCURACY, 0.98, False), (CER, 0.01, True), (CER, 0.02, False)],
)
def test_verdict_allows_an_error_of_one_percent(measure, value: float, learnt: bool) -> None:  # noqa: ANN001
    found, sentence = verdict(measure, value, 8)
    assert found is learnt
    assert f"{value:.2%}" in sentence
    assert ("were not learnt" in sentence) is not learnt


@pytest.mark.parametrize(("rate", "learnt"), [("3e-3", True), ("1e-30", False)])
def test_run_says_whether_the_examples_were_learnt(
    rate: str, learnt: bool, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    flags = [*tiny, "--train.overfit", "8", "--train.learning-rate", rate, "--train.weight-decay", "0"]
    done = command(*flags, "--out", tmp_path / "run")
    assert done.code == 0
    assert ("8 images were learnt by heart" in done.out) is learnt
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["overfit"]["learnt"] is learnt
    assert (result["split"], result["examples"], result["steps"]) == ("train", 8, 2 * STEPS)
