"""The character n-gram: its states and probabilities, against their definitions for one context at a time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from common.reading.ngram import CharacterNgram, NgramCounts

Context = tuple[int, ...]


def texts_of(num_classes: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng([num_classes, count])
    return [rng.integers(1, num_classes, rng.integers(0, 9)) for _ in range(count)]


def contexts_of(texts: list[np.ndarray], order: int) -> dict[Context, Counter[int]]:
    """Each context of a text, with what follows it and how often."""
    followers: dict[Context, Counter[int]] = {(): Counter()}
    for text in texts:
        line = (0, *text.tolist(), 0)
        for end in range(1, len(line)):
            for start in range(max(0, end - order + 1), end + 1):
                followers.setdefault(line[start:end], Counter())[line[end]] += 1
    return followers


def probability(followers: dict[Context, Counter[int]], context: Context, k: int, num_classes: int) -> float:
    """Witten & Bell 1991: the counts, and the shorter context weighted by the number of different followers."""
    below = probability(followers, context[1:], k, num_classes) if context else 1 / num_classes
    different, total = len(followers[context]), followers[context].total()
    return (followers[context][k] + different * below) / (total + different) if different else below


@pytest.mark.parametrize("order", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("num_classes", [2, 4, 90])
def test_states_and_probabilities_are_those_of_the_definition(num_classes: int, count: int, order: int) -> None:
    texts = texts_of(num_classes, count)
    counts = NgramCounts.of(texts, num_classes, order)
    ngram = CharacterNgram.from_counts(counts)
    followers = contexts_of(texts, order)
    contexts = [tuple(row[row >= 0].tolist()) for row in counts.contexts_SC]
    assert set(contexts) == set(followers)
    assert all(len(a) <= len(b) for a, b in pairwise(contexts))
    state_of = {context: state for state, context in enumerate(contexts)}
    assert ngram.start == state_of.get((0,), 0)
    for context, state in list(state_of.items())[:: max(1, len(contexts) // 60)]:
        for k in range(num_classes):
            expected = probability(followers, context, k, num_classes)
            assert np.exp(ngram.log_probs_SK[state, k]) == pytest.approx(expected, rel=1e-4)
            if k == 0:  # nothing follows the end of a text
                continue
            grown = (*context, k)[-(order - 1) :] if order > 1 else ()
            while grown not in state_of:
                grown = grown[1:]
            assert ngram.next_SK[state, k] == state_of[grown]
