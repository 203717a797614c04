"""Reading lines: from the images of a split, in batches by width, to texts with confidences."""

# N lines, B batch, L label length, K classes, T frames, S scores of a text

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from common.batch import LineBatch
from common.charset import Charset
from common.data.line_batches import reading_batches
from common.data.lines import Image, LineSplit, pad_labels
from common.metrics import log_softmax
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
from common.spec import LineSpec

# the default of training, so that evaluation does not set a run's peak memory
BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class LineReading:
    """The text read from one line."""

    text: str
    confidence: float
    """Probability of the text."""
    character_confidences: tuple[float, ...]
    nats: float = 0.0
    """-log p of the true text, as in the training loss."""


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
        for image, reading in zip(images, read_split(recognizer, charset, split, search), strict=True)
    ]


def read_split(
    recognizer: Recognizer,
    charset: Charset,
    split: LineSplit,
    search: Search = BEST_PATH,
    like: LineSplit | None = None,
) -> list[LineReading]:
    """Read the lines by width; the readings are in the order of the split. For `like` see `reading_batches`."""
    readings: dict[int, LineReading] = {}
    for chosen, batch in reading_batches(split, charset, BATCH_SIZE, like):
        found = read_batch(recognizer, charset, batch, search)
        readings |= zip((int(i) for i in chosen), found, strict=False)  # the copies that fill the batch are dropped
    return [readings[i] for i in range(len(split))]


def read_batch(
    recognizer: Recognizer, charset: Charset, batch: LineBatch, search: Search = BEST_PATH
) -> list[LineReading]:
    """Read the lines of one batch."""
    if spec_of(recognizer).decodes:
        return _read_decoded(recognizer, charset, batch)
    return _read_ctc(recognizer, charset, batch, search)


def _read_ctc(recognizer: Recognizer, charset: Charset, batch: LineBatch, search: Search) -> list[LineReading]:
    log_probs_BTK = log_softmax(recognizer.logits(batch.images_BHW1, batch.widths_B))
    frames_B = spec_of(recognizer).frames(batch.widths_B)
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


def spec_of(recognizer: Recognizer) -> LineSpec:
    """The spec of a recognizer of lines."""
    return cast(LineSpec, recognizer.spec)
