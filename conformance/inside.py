"""Checks that run inside the worker, where a recognizer's arrays can be seen before they are copied to the suite.

What travels through a pipe is copied, so memory that two arrays share can be found only on this side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from common.recognizer import Recognizer
from conformance.tolerances import Mismatch

Weights = dict[str, np.ndarray]


def exported_weights_are_copies(
    model: Recognizer, weights: Mapping[str, np.ndarray], train_on: Callable[[], object]
) -> Weights:
    """Load and export weights, train, and look whether anything but the model changed.

    Args:
        model: what to try.
        weights: canonical weights in the model's dtype, so that no conversion makes a copy by chance.
        train_on: trains the model.

    Returns:
        The weights exported before the training, as they are after it.

    Raises:
        Mismatch: an array is not a C-contiguous, writable copy; the model shares memory with its caller; or the
            training changed no weight, so that nothing was tested.
    """
    loaded = {name: np.array(array) for name, array in weights.items()}
    model.load_weights(loaded)
    first, second = model.export_weights(), model.export_weights()
    for name, array in first.items():
        _require_own_memory(name, array)
        for other in (loaded.get(name), second.get(name)):
            if other is not None and np.shares_memory(array, other):
                raise Mismatch(f"{name} as exported shares its memory with another array that the caller holds")
    before = {name: array.copy() for name, array in first.items()}
    train_on()
    for told, arrays, expected in (
        ("the weights exported before training", first, before),
        ("the caller's weights, which were loaded,", loaded, weights),
    ):
        if changed := [name for name in expected if not np.array_equal(arrays[name], expected[name])]:
            raise Mismatch(
                f"training changed {told} of {changed[0]} (and {len(changed) - 1} more): the memory is shared"
            )
    trained = model.export_weights()
    if all(np.array_equal(trained[name], before[name]) for name in before):
        raise Mismatch("the training changed no weight, so it cannot show whether memory is shared")
    for array in (*second.values(), *loaded.values()):
        array.fill(np.nan)
    after = model.export_weights()
    if changed := [name for name in trained if not np.array_equal(after[name], trained[name])]:
        raise Mismatch(f"{changed[0]} of the model changed when its caller wrote to arrays of its own")
    return first


def _require_own_memory(name: str, array: np.ndarray) -> None:
    if not array.flags.c_contiguous:
        raise Mismatch(f"{name} is exported with strides {array.strides}, expected a C-contiguous array")
    if not array.flags.writeable:
        raise Mismatch(f"{name} is exported as a read-only view, expected a copy")
