"""What holding a recognizer against a split comes to, whether it reads characters or lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from common.charset import Charset
from common.data.dataset import Batch, Split
from common.data.lines import LineBatch, LineSplit
from common.evaluation.characters import evaluate
from common.evaluation.lines import evaluate_lines
from common.recognizer import Recognizer
from common.reading.result import Reading
from common.weights import Golden


class Judgement(Protocol):
    """What a model read in a split; `Evaluation` and `LineEvaluation` answer it."""

    @property
    def loss(self) -> float:
        """As the training loss."""

    @property
    def score(self) -> float:
        """How well the model reads; higher is better."""

    @property
    def rates(self) -> dict[str, float]:
        """What is followed from epoch to epoch: accuracy, or cer and wer."""

    def figures(self) -> dict[str, Any]:
        """The part of result.json that says how well the model reads."""

    def reading(self, index: int) -> Reading:
        """One example as a reading."""

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """Indices to look at: examples evenly over the split, then the surest mistakes."""

    def predictions(self) -> Mapping[str, np.ndarray]:
        """What predictions.npz holds."""

    def golden(self, recognizer: Recognizer) -> Golden:
        """A few examples with the logits that this model, as it is now, gives for them."""

    def first_batch(self) -> Batch | LineBatch:
        """The first examples, for a look at the gradients."""


def judge(recognizer: Recognizer, charset: Charset, split: Split | LineSplit, data_charset: Charset) -> Judgement:
    """Read a whole split, lines greedily.

    Args:
        recognizer: the model.
        charset: the model's characters.
        split: what to read.
        data_charset: the characters of the split's labels, where these are classes.

    Raises:
        UserError: the images are not of the model's size, or the model knows none of the characters.
    """
    if isinstance(split, LineSplit):
        return evaluate_lines(recognizer, charset, split)
    return evaluate(recognizer, charset, split, data_charset)
