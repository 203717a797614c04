"""Choosing the settings of a character language model on a validation split."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from common.charset import Charset
from common.data.line_batches import reading_batches
from common.data.lines import LineSplit
from common.metrics import edit_distances, log_softmax
from common.reading.decoding import BEAM_WIDTH, LENGTH_BONUS, NGRAM_WEIGHT, ctc_beam
from common.reading.lines import BATCH_SIZE
from common.reading.ngram import CharacterNgram, NgramCounts, Prior
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import LineSpec

# the defaults come first, and the first of several equally good settings is taken
_WEIGHTS, _BONUSES = (NGRAM_WEIGHT, 0.2, 0.6), (LENGTH_BONUS, 0.5, 1.5)
_MOST_LINES = 128  # a beam search of all settings over these takes a few seconds


def choose_prior(
    recognizer: Recognizer, spec: LineSpec, charset: Charset, texts: Iterable[str], validation: LineSplit
) -> Prior:
    """The n-gram of `texts`, with the weight and the length bonus that give the lowest CER in validation.

    Args:
        recognizer: the trained model.
        spec: the spec of the model.
        charset: the model's characters.
        texts: the texts of the training split.
        validation: the lines to choose by; at most 128 of them are read, spread over the split.
    """
    counts = NgramCounts.of((charset.encode(text) for text in texts), spec.num_classes)
    ngram = CharacterNgram.from_counts(counts)
    lines = validation.take(np.array(evenly(len(validation), _MOST_LINES), np.int64))
    scores = [
        (chosen, log_softmax(recognizer.logits(*batch.inputs[:2])), spec.frames(batch.widths_B))
        for chosen, batch in reading_batches(lines, charset, BATCH_SIZE)
    ]

    def edits(setting: tuple[float, float]) -> int:
        weight, bonus = setting
        total = 0
        for chosen, log_probs_BTK, frames_B in scores:
            found = ctc_beam(
                log_probs_BTK, frames_B, width=BEAM_WIDTH, ngram=ngram, ngram_weight=weight, length_bonus=bonus
            )
            truths = [lines.texts[int(i)] for i in chosen]
            total += int(edit_distances(truths, [charset.decode(line) for line in found[: len(chosen)]])[0].sum())
        return total

    weight, bonus = min(product(_WEIGHTS, _BONUSES), key=edits)
    return Prior(counts=counts, weight=weight, length_bonus=bonus)
