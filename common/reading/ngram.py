"""A character n-gram: how probable each character is after those before it."""

# S states (contexts seen in training), K classes

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

ORDER = 5


@dataclass(frozen=True, kw_only=True)
class CharacterNgram:
    """An n-gram as a machine: its state is the longest end of the text so far that was seen in training.

    Class 0 stands for the end of a text, and before its start.
    """

    log_probs_SK: Float[np.ndarray, "S K"]
    """Log of the probability that a class follows; each row's probabilities sum to 1."""
    next_SK: Int[np.ndarray, "S K"]
    """The state once it has followed."""
    start: int
    """The state before the first character."""

    @classmethod
    def estimate(cls, texts: Iterable[Int[np.ndarray, "_"]], num_classes: int, order: int = ORDER) -> CharacterNgram:
        """Count the texts' characters after up to `order` - 1 before, and interpolate with the shorter contexts.

        Args:
            texts: classes of each text's characters, from 1.
            num_classes: K.
            order: characters that a count spans, from 1.

        Source: Witten & Bell 1991, in the interpolated form of Chen & Goodman 1999, section 2.4.
        """
        counts: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter, {(): Counter()})
        for text in texts:
            line = (0, *(int(k) for k in text), 0)
            for i in range(1, len(line)):
                for length in range(min(order - 1, i) + 1):
                    counts[line[i - length : i]][line[i]] += 1
        contexts = sorted(counts, key=len)
        state_of = {context: state for state, context in enumerate(contexts)}
        probs_SK = np.empty((len(contexts), num_classes), np.float32)
        next_SK = np.zeros((len(contexts), num_classes), np.int32)
        for state, context in enumerate(contexts):
            followers = np.fromiter(counts[context], np.int64)
            times = np.fromiter(counts[context].values(), np.float64)
            shorter = state_of[context[1:]]
            below_K = probs_SK[shorter] if context else np.full(num_classes, 1 / num_classes)
            row_K = len(followers) * below_K.astype(np.float64)
            row_K[followers] += times
            probs_SK[state] = row_K / row_K.sum() if len(followers) else below_K
            if context:
                next_SK[state] = next_SK[shorter]
            for k in followers if len(context) < order - 1 else ():
                next_SK[state, k] = state_of.get((*context, int(k)), next_SK[state, k])
        return cls(log_probs_SK=np.log(probs_SK), next_SK=next_SK, start=state_of.get((0,), 0))
