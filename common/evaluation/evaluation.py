"""The result of evaluating a recognizer on a split, whatever it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from common.reading.result import Reading
from common.recognizer import AnyBatch, Recognizer
from common.weights import Golden


class Evaluation(Protocol):
    """The result of evaluating a recognizer on a split; see `CharacterEvaluation` and `LineEvaluation`."""

    @property
    def loss(self) -> float:
        """The loss, in the unit of the training loss."""

    @property
    def score(self) -> float:
        """How well the model reads; higher is better."""

    @property
    def rates(self) -> dict[str, float]:
        """The figures followed from epoch to epoch: accuracy, or cer and wer."""

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""

    def reading(self, index: int) -> Reading:
        """One example as a reading."""

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices to look at: a sample of the split, then up to `mistakes` most confident mistakes."""

    def predictions(self) -> Mapping[str, np.ndarray]:
        """The arrays of predictions.npz."""

    def golden(self, recognizer: Recognizer) -> Golden:
        """A few examples with the logits that `recognizer`, the model evaluated, computes for them now."""

    def first_batch(self) -> AnyBatch:
        """The first examples as a batch, for a look at the gradients."""
