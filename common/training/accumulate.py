"""Gradient accumulation: the micro-batches of a step, and the share of each in the loss of the step."""

from __future__ import annotations

from common.batch import split
from common.recognizer import AnyBatch
from common.spec import Spec


def micro_batches(spec: Spec, batch: AnyBatch, count: int) -> list[tuple[AnyBatch, float]]:
    """The batch in `count` parts, and the share of each part in the loss of the batch.

    A loss is a sum divided by a number of terms, such as characters. A part's share is its number of terms divided by
    that of the batch. So Σ share · loss is the sum over all parts divided by all their terms, as of one big batch. The
    mean of the losses would be another number wherever texts differ in length.

    Args:
        spec: the model, which says what its loss is divided by.
        batch: the examples of one step; at least `count` of them.
        count: number of parts; 1 returns the batch with the share 1.
    """
    if count == 1:
        return [(batch, 1.0)]
    parts = split(batch, count)
    terms = [spec.loss_terms(*part.arrays) for part in parts]
    # no loss is divided by zero: without characters, a loss of lines is divided by one
    whole = max(1, sum(terms))
    return [(part, max(1, own) / whole) for part, own in zip(parts, terms, strict=True)]
