"""Choices of examples that are the same in every run."""

from __future__ import annotations

import numpy as np


def evenly(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` indices, in ascending order, the same at every call.

    The indices are divided into `limit` equal ranges, and one index is drawn from each. With a fixed stride, data whose
    classes alternate would yield the same class again and again.
    """
    edges = np.linspace(0, count, min(count, limit) + 1).round().astype(np.int64)
    return [int(i) for i in np.random.default_rng(0).integers(edges[:-1], edges[1:])]
