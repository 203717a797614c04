"""Figures of how well characters are read, in float64."""

# N examples, K classes, G groups (writers), R resamples

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

RESAMPLES = 1000


def log_softmax(logits_NK: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
    """Log of the probability of each class, float64."""
    logits_NK = logits_NK.astype(np.float64)
    shifted_NK = logits_NK - logits_NK.max(axis=1, keepdims=True)  # exp overflows above 709
    log_probabilities_NK: np.ndarray = shifted_NK - np.log(np.exp(shifted_NK).sum(axis=1, keepdims=True))
    return log_probabilities_NK


def cross_entropy(logits_NK: Float[np.ndarray, "N K"], labels_N: Int[np.ndarray, "N"]) -> float:
    """Mean of -log p(label), nats per example."""
    return float(-log_softmax(logits_NK)[np.arange(len(labels_N)), labels_N].mean())


def confusion_counts(
    labels_N: Int[np.ndarray, "N"], read_N: Int[np.ndarray, "N"], classes: int
) -> Int[np.ndarray, "K K"]:
    """How often class i (row) was read as class j (column)."""
    counts_KK: np.ndarray = np.bincount(labels_N.astype(np.int64) * classes + read_N, minlength=classes**2)
    return counts_KK.reshape(classes, classes)


def most_confused(counts_KK: Int[np.ndarray, "K K"], limit: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (class, what it was read as, how often), the most frequent first."""
    mistakes_KK = counts_KK * (1 - np.eye(len(counts_KK), dtype=counts_KK.dtype))
    order = np.argsort(-mistakes_KK, axis=None, kind="stable")[:limit]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, counts_KK.shape), strict=True)]
    return [(i, j, int(counts_KK[i, j])) for i, j in pairs if mistakes_KK[i, j]]


def bootstrap_interval(
    values_N: Float[np.ndarray, "N"] | Bool[np.ndarray, "N"],
    writers_N: Int[np.ndarray, "N"] | None = None,
    *,
    share: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values_N`.

    With writers, whole writers are drawn, since one writer's examples resemble each other; else single examples.

    Source: Efron & Tibshirani 1993, chapter 13; Field & Welsh 2007 (cluster bootstrap).
    """
    writers_N = np.arange(len(values_N)) if writers_N is None else writers_N
    _, group_N = np.unique(writers_N, return_inverse=True)
    sums_G, counts_G = np.bincount(group_N, weights=values_N), np.bincount(group_N)
    rng = np.random.default_rng(seed)
    means_R = np.empty(RESAMPLES)
    for i in range(RESAMPLES):  # one at a time: 1,000 draws of 100,000 examples at once would be 800 MB
        drawn_G = rng.integers(len(sums_G), size=len(sums_G))
        means_R[i] = sums_G[drawn_G].sum() / counts_G[drawn_G].sum()
    low, high = np.quantile(means_R, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
