"""Evaluating a recognizer on lines, and reading them."""

# N lines, B batch, L label length, K classes, T frames, G golden examples

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from common.batch import LineBatch, to_float
from common.charset import Charset
from common.data.line_batches import reading_batches, split_batch
from common.data.lines import Image, LineSplit, pad_labels
from common.errors import UserError
from common.metrics import Edits, bootstrap_interval, count_edits, edit_distances, error_rate, log_softmax
from common.reading.decoding import (
    Classes,
    Confidences,
    ctc_character_confidence,
    ctc_log_likelihood,
    decoded_texts,
)
from common.reading.result import Reading
from common.reading.search import BEST_PATH, Search
from common.recognizer import Decoder, Recognizer
from common.sampling import evenly
from common.spec import LineSpec
from common.weights import Golden

# the default of training, so that evaluation does not set a run's peak memory
BATCH_SIZE = 32
GOLDEN_EXAMPLES = 4
MOST_CONFUSED = 20


@dataclass(frozen=True, kw_only=True)
class LineReading:
    """The text read from one line."""

    text: str
    confidence: float
    """Probability of the text."""
    character_confidences: tuple[float, ...]
    nats: float = 0.0
    """-log p of the true text, as in the training loss."""


@dataclass(frozen=True, kw_only=True)
class LineEvaluation:
    """The result of evaluating a recognizer on a split of lines."""

    charset: Charset
    """The model's characters."""
    split: LineSplit
    readings: Sequence[LineReading]
    """In the order of the split."""
    ends: int
    """Targets of a text besides its characters: 1 if the model predicts the end of the text, else 0."""

    @property
    def texts(self) -> list[str]:
        """The texts that the model read."""
        return [reading.text for reading in self.readings]

    @property
    def loss(self) -> float:
        """Nats per character, over the lines with known characters only; NaN if there is none."""
        known = [i for i, text in enumerate(self.split.texts) if _knows(self.charset, text)]
        targets = sum(len(self.split.texts[i]) + self.ends for i in known)
        return sum(self.readings[i].nats for i in known) / max(1, targets) if known else float("nan")

    @property
    def rates(self) -> dict[str, float]:
        """CER and WER."""
        characters, words = self._edits
        return {"cer": error_rate(*characters), "wer": error_rate(*words)}

    @property
    def score(self) -> float:
        """Minus the CER."""
        return -error_rate(*self._edits[0])

    @property
    def edits(self) -> Edits:
        """The edits by kind and by character."""
        return count_edits(self.split.texts, self.texts)

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""
        characters, words = self._edits
        writers_N = self.split.writers_N
        edits, unknown = self.edits, self._unknown()
        confused = [{"true": a, "read": b, "times": n} for a, b, n in edits.most_confused(MOST_CONFUSED)]
        return {
            "cer": error_rate(*characters),
            "cer_interval": list(bootstrap_interval(characters[0], writers_N, lengths_N=characters[1])),
            "wer": error_rate(*words),
            "wer_interval": list(bootstrap_interval(words[0], writers_N, lengths_N=words[1])),
            "substitutions": edits.substitutions,
            "insertions": edits.insertions,
            "deletions": edits.deletions,
            "most_confused": confused,
            "loss": self.loss,
            "examples": len(self.split),
            "characters": int(characters[1].sum()),
            "unknown_characters": dict(sorted(unknown.items())),
            "unknown_examples": sum(not _knows(self.charset, text) for text in self.split.texts),
        }

    def reading(self, index: int) -> Reading:
        """One line as a reading."""
        reading = self.readings[index]
        return Reading(
            image_HW=self.split.images[index],
            text=reading.text,
            confidence=reading.confidence,
            truth=self.split.texts[index],
            character_confidences=reading.character_confidences,
        )

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices: a sample of the split, then up to `mistakes` most confident mistakes."""
        wrong = [i for i, text in enumerate(self.split.texts) if text != self.readings[i].text]
        worst = sorted(wrong, key=lambda i: -self.readings[i].confidence)[:mistakes]
        return [*evenly(len(self.split), limit - len(worst)), *worst]

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz: true texts and read texts, with edits and confidences."""
        (edits_N, lengths_N), (word_edits_N, words_N) = self._edits
        writers_N = self.split.writers_N
        return {
            "truths": np.array(self.split.texts, str),
            "texts": np.array(self.texts, str),
            "edits": edits_N,
            "characters": lengths_N,
            "word_edits": word_edits_N,
            "words": words_N,
            "confidence": np.array([reading.confidence for reading in self.readings]),
        } | ({} if writers_N is None else {"writers": writers_N})

    def golden(self, recognizer: Recognizer) -> Golden:
        """A few of the narrower lines with the logits that `recognizer`, the model evaluated, computes for them now."""
        narrower = np.argsort(self.split.widths_N, kind="stable")[: -(-len(self.split) // 2)]
        batch = split_batch(self.split, self.charset, narrower[evenly(len(narrower), GOLDEN_EXAMPLES)])
        images_GHW = np.rint(batch.images_BHW1[..., 0] * 255).astype(np.uint8)
        logits = recognizer.logits(to_float(images_GHW), batch.widths_B, batch.labels_BL)
        return Golden(images_GHW=images_GHW, logits=logits, widths_G=batch.widths_B, labels_GL=batch.labels_BL)

    def first_batch(self) -> LineBatch:
        """The first lines, for a look at the gradients."""
        return split_batch(self.split, self.charset, np.arange(min(BATCH_SIZE, len(self.split))))

    @cached_property
    def _edits(self) -> list[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]]:
        """Edits and lengths of each line, in characters and in words."""
        truths, texts = self.split.texts, self.texts
        words = edit_distances([t.split() for t in truths], [t.split() for t in texts])
        return [edit_distances(truths, texts), words]

    def _unknown(self) -> Counter[str]:
        """The characters that the model does not know, with their number of occurrences."""
        return Counter(c for text in self.split.texts for c in text if c not in self.charset.class_of)


def evaluate_lines(
    recognizer: Recognizer, charset: Charset, split: LineSplit, search: Search = BEST_PATH
) -> LineEvaluation:
    """Evaluate a recognizer on a whole split.

    Args:
        recognizer: the model.
        charset: the model's characters; other characters in the split's texts count as errors.
        split: the lines.
        search: turns CTC's scores into text; a transformer decodes greedily.

    Raises:
        UserError: the lines have another height, or the model knows none of their characters.
    """
    check_height(recognizer, split.height)
    in_data = Charset.of(split.texts)
    if not set(in_data.characters) & set(charset.characters):
        raise UserError(
            f"the model reads {''.join(charset.characters)!r} and none of the data's {''.join(in_data.characters)!r}; "
            "choose data with characters that it knows, or the run that was trained on this charset"
        )
    return LineEvaluation(
        charset=charset,
        split=split,
        readings=_read(recognizer, charset, split, search),
        ends=int(_spec(recognizer).decodes),
    )


def read_lines(
    recognizer: Recognizer, charset: Charset, images: Sequence[Image], search: Search = BEST_PATH
) -> list[Reading]:
    """Each line's text."""
    nothing = [""] * len(images)
    widths_N = np.array([image.shape[1] for image in images])
    split = LineSplit(images=images, widths_N=widths_N, texts=nothing, names=nothing)
    return [
        Reading(
            image_HW=image,
            text=reading.text,
            confidence=reading.confidence,
            character_confidences=reading.character_confidences,
        )
        for image, reading in zip(images, _read(recognizer, charset, split, search), strict=True)
    ]


def check_height(recognizer: Recognizer, height: int) -> None:
    """Check that the lines have the height that the model reads.

    Raises:
        UserError: they differ.
    """
    if height != recognizer.spec.height:
        raise UserError(
            f"the data's lines are {height} pixels high where the model reads {recognizer.spec.height}; "
            "prepare the data at that height or train on this data"
        )


def _read(recognizer: Recognizer, charset: Charset, split: LineSplit, search: Search) -> list[LineReading]:
    """Read the lines by width; the readings are in the order of the split."""
    decodes = _spec(recognizer).decodes
    readings: dict[int, LineReading] = {}
    for chosen, batch in reading_batches(split, charset, BATCH_SIZE):
        found = _read_decoded(recognizer, charset, batch) if decodes else _read_ctc(recognizer, charset, batch, search)
        readings |= zip((int(i) for i in chosen), found, strict=False)  # the copies that fill the batch are dropped
    return [readings[i] for i in range(len(split))]


def _read_ctc(recognizer: Recognizer, charset: Charset, batch: LineBatch, search: Search) -> list[LineReading]:
    log_probs_BTK = log_softmax(recognizer.logits(batch.images_BHW1, batch.widths_B))
    frames_B = _spec(recognizer).frames(batch.widths_B)
    classes = search(log_probs_BTK, frames_B)
    lengths_B = np.array([len(line) for line in classes])
    labels_BL = pad_labels(classes, int(lengths_B.max(initial=0)))
    log_p_B = ctc_log_likelihood(log_probs_BTK, frames_B, labels_BL, lengths_B)
    confidences = ctc_character_confidence(log_probs_BTK, frames_B, classes)
    nats_B = -ctc_log_likelihood(log_probs_BTK, frames_B, batch.labels_BL, batch.label_lengths_B)
    return _line_readings(charset, classes, np.exp(log_p_B), confidences, nats_B)


def _read_decoded(recognizer: Recognizer, charset: Charset, batch: LineBatch) -> list[LineReading]:
    decoded = cast(Decoder, recognizer).decode(batch.images_BHW1, batch.widths_B)
    classes, confidences, confidence_B = decoded_texts(*decoded)
    log_probs_BSK = log_softmax(recognizer.logits(*batch.inputs))
    targets_BS = pad_labels(list(batch.labels_BL), batch.labels_BL.shape[1] + 1)  # class 0 follows the last character
    log_p_BS = np.take_along_axis(log_probs_BSK, targets_BS[:, :, None].astype(np.int64), axis=2)[:, :, 0]
    own_BS = np.arange(targets_BS.shape[1]) <= batch.label_lengths_B[:, None]
    return _line_readings(charset, classes, confidence_B, confidences, -np.where(own_BS, log_p_BS, 0).sum(axis=1))


def _line_readings(
    charset: Charset,
    classes: Classes,
    confidence_B: Float[np.ndarray, "B"],
    confidences: Confidences,
    nats_B: Float[np.ndarray, "B"],
) -> list[LineReading]:
    return [
        LineReading(
            text=charset.decode(line),
            confidence=min(1.0, float(confidence)),  # a sum over alignments may round to just above
            character_confidences=tuple(float(c) for c in each),
            nats=float(nats),
        )
        for line, confidence, each, nats in zip(classes, confidence_B, confidences, nats_B, strict=True)
    ]


def _knows(charset: Charset, text: str) -> bool:
    return all(c in charset.class_of for c in text)


def _spec(recognizer: Recognizer) -> LineSpec:
    return cast(LineSpec, recognizer.spec)
