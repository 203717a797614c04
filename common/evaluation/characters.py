"""Evaluating a recognizer on characters, and reading them."""

# N examples, B batch, H height, W width, K classes

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from common.batch import Batch, to_float
from common.charset import Charset
from common.data.characters import CharacterSplit, character_batch
from common.errors import UserError
from common.metrics import bootstrap_interval, confusion_counts, cross_entropy, log_softmax
from common.reading.result import Reading
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import CharacterSpec
from common.weights import Golden

# the default of training, so that evaluation does not set a run's peak memory
BATCH_SIZE = 128
GOLDEN_EXAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class CharacterEvaluation:
    """The result of evaluating a recognizer on a split of characters."""

    charset: Charset
    """The model's characters, then those that only the data has."""
    labels_N: Int[np.ndarray, "N"]
    """True class of each example, in `charset`."""
    read_N: Int[np.ndarray, "N"]
    """Class that the model read, in `charset`."""
    confidence_N: Float[np.ndarray, "N"]
    """Probability of that class."""
    logits_NK: Float[np.ndarray, "N K"]
    """Logits of the model's K characters."""
    split: CharacterSplit
    loss: float
    """Nats per example, over the examples whose character the model knows."""
    unknown: int
    """Examples whose character the model does not know; they count as wrong."""

    @property
    def correct_N(self) -> Bool[np.ndarray, "N"]:
        """Whether each example was read correctly."""
        return self.labels_N == self.read_N

    @property
    def accuracy(self) -> float:
        """Share of examples read correctly."""
        return float(self.correct_N.mean())

    @property
    def score(self) -> float:
        """The accuracy."""
        return self.accuracy

    @property
    def rates(self) -> dict[str, float]:
        """Share of examples read correctly."""
        return {"accuracy": self.accuracy}

    @property
    def accuracy_case_folded(self) -> float | None:
        """Accuracy when upper and lower case count as the same; None if the characters have no case."""
        folded_K = self.charset.folded()
        return None if folded_K is None else float((folded_K[self.labels_N] == folded_K[self.read_N]).mean())

    @property
    def confusion_KK(self) -> Int[np.ndarray, "K K"]:
        """How often class i (row) was read as class j (column)."""
        return confusion_counts(self.labels_N, self.read_N, len(self.charset))

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(bootstrap_interval(self.correct_N, self.split.writers_N)),
            "accuracy_case_folded": self.accuracy_case_folded,
            "loss": self.loss,
            "examples": len(self.labels_N),
            "unknown_examples": self.unknown,
        }

    def reading(self, index: int) -> Reading:
        """One example as a reading."""
        return Reading(
            image_HW=self.split.images_NHW[index],
            text=self.charset.characters[self.read_N[index]],
            confidence=float(self.confidence_N[index]),
            truth=self.charset.characters[self.labels_N[index]],
        )

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices: a sample of the split, then up to `mistakes` most confident mistakes."""
        wrong = np.flatnonzero(~self.correct_N)
        worst = wrong[np.argsort(-self.confidence_N[wrong], kind="stable")][:mistakes]
        return [*evenly(len(self.labels_N), limit - len(worst)), *(int(i) for i in worst)]

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz."""
        arrays = {"labels": self.labels_N, "predicted": self.read_N, "confidence": self.confidence_N}
        return arrays if self.split.writers_N is None else arrays | {"writers": self.split.writers_N}

    def golden(self, recognizer: Recognizer) -> Golden:
        """A few examples with the logits that the model computed for them."""
        chosen = evenly(len(self.split), GOLDEN_EXAMPLES)
        return Golden(images_GHW=self.split.images_NHW[chosen], logits=self.logits_NK[chosen])

    def first_batch(self) -> Batch:
        """The first examples, for a look at the gradients."""
        return character_batch(self.split, np.arange(min(BATCH_SIZE, len(self.split))))


def predict_logits(recognizer: Recognizer, images_NHW: UInt8[np.ndarray, "N H W"]) -> Float[np.ndarray, "N K"]:
    """Logits of all images, batch by batch."""
    starts = range(0, len(images_NHW), BATCH_SIZE)
    return np.concatenate([recognizer.logits(to_float(images_NHW[i : i + BATCH_SIZE])) for i in starts])


def evaluate_characters(
    recognizer: Recognizer, charset: Charset, split: CharacterSplit, data_charset: Charset
) -> CharacterEvaluation:
    """Evaluate a recognizer on a whole split; characters are matched by name, not by class.

    Args:
        recognizer: the model.
        charset: the model's characters.
        split: the examples.
        data_charset: the characters of the split's labels.

    Raises:
        UserError: the split's images have another size, or the model knows none of its characters.
    """
    check_images(recognizer, split)
    extra = tuple(c for c in data_charset.characters if c not in charset.class_of)
    if len(extra) == len(data_charset):
        raise UserError(
            f"the model reads {''.join(charset.characters)!r} and none of the data's "
            f"{''.join(data_charset.characters)!r}; choose data with characters that it knows"
        )
    union = Charset(charset.characters + extra)
    return score(
        predict_logits(recognizer, split.images_NHW), union, union.translation(data_charset)[split.labels_N], split
    )


def score(
    logits_NK: Float[np.ndarray, "N K"], charset: Charset, labels_N: Int[np.ndarray, "N"], split: CharacterSplit
) -> CharacterEvaluation:
    """Compare logits with labels in `charset`, whose first K characters are the model's."""
    read_N = logits_NK.argmax(axis=1)
    confidence_N = np.exp(log_softmax(logits_NK)[np.arange(len(read_N)), read_N])
    known_N = labels_N < logits_NK.shape[1]
    return CharacterEvaluation(
        charset=charset,
        labels_N=labels_N,
        read_N=read_N,
        confidence_N=confidence_N,
        logits_NK=logits_NK,
        split=split,
        loss=cross_entropy(logits_NK[known_N], labels_N[known_N]),
        unknown=int((~known_N).sum()),
    )


def check_images(recognizer: Recognizer, split: CharacterSplit) -> None:
    """Check that the images have the size that the model reads.

    Raises:
        UserError: they differ.
    """
    height, width = split.images_NHW.shape[1:]
    spec = cast(CharacterSpec, recognizer.spec)
    wanted = spec.height, spec.width
    if (height, width) != wanted:
        raise UserError(
            f"the data's images are {height}×{width} where the model reads {wanted[0]}×{wanted[1]}; "
            "choose data of that size or train on this data"
        )


def read_characters(recognizer: Recognizer, charset: Charset, images_NHW: UInt8[np.ndarray, "N H W"]) -> list[Reading]:
    """Each image's most probable character."""
    log_probabilities_NK = log_softmax(predict_logits(recognizer, images_NHW))
    read_N = log_probabilities_NK.argmax(axis=1)
    return [
        Reading(image_HW=image, text=charset.characters[k], confidence=float(np.exp(row_K[k])))
        for image, k, row_K in zip(images_NHW, read_N, log_probabilities_NK, strict=True)
    ]
