"""Metrics of characters and lines, in float64: loss, confusions, edits, error rates and their intervals."""

# N examples, K classes, G groups (writers), R resamples

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from rapidfuzz.distance import Levenshtein

RESAMPLES = 1000


def log_softmax(logits: Float[np.ndarray, "*N K"]) -> Float[np.ndarray, "*N K"]:
    """The logarithm of the probability of each class, float64. The last axis is the classes."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)  # exp overflows above 709
    log_probabilities: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probabilities


def cross_entropy(logits_NK: Float[np.ndarray, "N K"], labels_N: Int[np.ndarray, "N"]) -> float:
    """The mean of -log p(label), in nats per example."""
    return float(-log_softmax(logits_NK)[np.arange(len(labels_N)), labels_N].mean())


def confusion_counts(
    labels_N: Int[np.ndarray, "N"], read_N: Int[np.ndarray, "N"], classes: int
) -> Int[np.ndarray, "K K"]:
    """The number of examples of class i (row) that were read as class j (column)."""
    counts_KK: np.ndarray = np.bincount(labels_N.astype(np.int64) * classes + read_N, minlength=classes**2)
    return counts_KK.reshape(classes, classes)


def most_confused(counts_KK: Int[np.ndarray, "K K"], limit: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes first: (true class, class that was read, count)."""
    mistakes_KK = counts_KK * (1 - np.eye(len(counts_KK), dtype=counts_KK.dtype))
    order = np.argsort(-mistakes_KK, axis=None, kind="stable")[:limit]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, counts_KK.shape), strict=True)]
    return [(i, j, int(counts_KK[i, j])) for i, j in pairs if mistakes_KK[i, j]]


@dataclass(frozen=True, kw_only=True)
class Edits:
    """The fewest edits of single characters that turn the true texts into the texts that were read."""

    substitutions: int
    insertions: int
    """Characters that were read but are not in the true text."""
    deletions: int
    """Characters of the true text that were not read."""
    pairs: Counter[tuple[str, str]]
    """(true, read) to the number of such edits; `true` is "" for an insertion, `read` is "" for a deletion."""

    def most_confused(self, limit: int) -> list[tuple[str, str, int]]:
        """The most frequent mistakes first: (true, read, count)."""
        ordered = sorted(self.pairs.items(), key=lambda item: (-item[1], item[0]))
        return [(true, read, times) for (true, read), times in ordered[:limit]]


def edit_operations(truth: str, read: str) -> list[tuple[str, str, int, int]]:
    """The edits that turn `truth` into `read`: (true, read, index in `truth`, index in `read`).

    As in `Edits.pairs`, `true` is "" for an insertion and `read` is "" for a deletion.
    """
    return [
        (
            "" if edit.tag == "insert" else truth[edit.src_pos],
            "" if edit.tag == "delete" else read[edit.dest_pos],
            edit.src_pos,
            edit.dest_pos,
        )
        for edit in Levenshtein.editops(truth, read)
    ]


def count_edits(truths: Sequence[str], reads: Sequence[str]) -> Edits:
    """The edits of all texts, counted by kind and by character."""
    pairs: Counter[tuple[str, str]] = Counter()
    for truth, read in zip(truths, reads, strict=True):
        pairs.update((true, said) for true, said, _, _ in edit_operations(truth, read))
    insertions = sum(times for (true, _), times in pairs.items() if not true)
    deletions = sum(times for (_, read), times in pairs.items() if not read)
    return Edits(
        substitutions=pairs.total() - insertions - deletions, insertions=insertions, deletions=deletions, pairs=pairs
    )


def edit_distances(
    truths: Sequence[Sequence[str]], reads: Sequence[Sequence[str]]
) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]:
    """The edit distance from each truth to what was read, and the length of each truth.

    Args:
        truths: true texts, for distances in characters, or lists of words, for distances in words.
        reads: what was read, of the same kind.

    Source: Levenshtein 1966.
    """
    edits = [Levenshtein.distance(truth, read) for truth, read in zip(truths, reads, strict=True)]
    return np.array(edits, np.int64), np.array([len(truth) for truth in truths], np.int64)


def error_rate(edits_N: Int[np.ndarray, "N"], lengths_N: Int[np.ndarray, "N"]) -> float:
    """Σ edits ÷ Σ lengths: the CER for characters, the WER for words. It may exceed 1.

    If all truths are empty, the edits are divided by 1.
    """
    return float(edits_N.sum() / max(1, lengths_N.sum()))


def bootstrap_interval(
    values_N: Float[np.ndarray, "N"] | Int[np.ndarray, "N"] | Bool[np.ndarray, "N"],
    writers_N: Int[np.ndarray, "N"] | None = None,
    *,
    lengths_N: Int[np.ndarray, "N"] | None = None,
    share: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of Σ values ÷ Σ lengths.

    Args:
        values_N: a value per example, such as its edits, or whether it was read right.
        writers_N: the writer of each example. Whole writers are then resampled, because the examples of one writer
            resemble each other. Without it, single examples are resampled.
        lengths_N: the length of each example; without it, every length is 1 and the interval is that of the mean.
        share: the probability that the interval covers, such as 0.95.
        seed: of the resampling.

    Returns:
        The lower and the upper bound.

    Source: Efron & Tibshirani 1993, chapter 13; Field & Welsh 2007 (cluster bootstrap).
    """
    writers_N = np.arange(len(values_N)) if writers_N is None else writers_N
    _, group_N = np.unique(writers_N, return_inverse=True)
    sums_G, lengths_G = np.bincount(group_N, weights=values_N), np.bincount(group_N, weights=lengths_N)
    rng = np.random.default_rng(seed)
    ratios_R = np.empty(RESAMPLES)
    for i in range(RESAMPLES):  # in a loop: all 1,000 resamples of 100,000 examples at once would take 800 MB
        drawn_G = rng.integers(len(sums_G), size=len(sums_G))
        ratios_R[i] = sums_G[drawn_G].sum() / max(1, lengths_G[drawn_G].sum())
    low, high = np.quantile(ratios_R, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def bootstrap_difference(
    first: tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]],
    second: tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]],
    writers_N: Int[np.ndarray, "N"] | None = None,
    *,
    share: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The paired percentile bootstrap interval of Σ values ÷ Σ lengths of one system, less that of another one.

    Both are computed on the same resampled examples. The lengths may differ, as the numbers of found lines do.

    Args:
        first: values and lengths of one system.
        second: values and lengths of the other.
        writers_N: see `bootstrap_interval`.
        share: the probability that the interval covers, such as 0.95.
        seed: of the resampling.

    Returns:
        The lower and the upper bound.

    Source: Koehn 2004, resampled by writer.
    """
    writers_N = np.arange(len(first[0])) if writers_N is None else writers_N
    _, group_N = np.unique(writers_N, return_inverse=True)
    sums_4G = np.stack([np.bincount(group_N, weights=column_N) for column_N in (*first, *second)])
    rng = np.random.default_rng(seed)
    differences_R = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        a, of_a, b, of_b = sums_4G[:, rng.integers(sums_4G.shape[1], size=sums_4G.shape[1])].sum(axis=1)
        differences_R[i] = a / max(1, of_a) - b / max(1, of_b)
    low, high = np.quantile(differences_R, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
