"""Seeded choices among examples that are the same in every run."""

from __future__ import annotations

import numpy as np


def evenly(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` indices, rising: one drawn from each of `limit` equal stretches, always the same.

    A fixed stride would pick one class again and again in data whose classes take turns.
    """
    edges = np.linspace(0, count, min(count, limit) + 1).round().astype(np.int64)
    return [int(i) for i in np.random.default_rng(0).integers(edges[:-1], edges[1:])]
