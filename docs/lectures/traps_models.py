"""Traps that are measured in the project's own models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

import impl_numpy
import impl_pytorch
from conformance import golden
from conformance.worker import fit


# --- another epsilon
def logits_moved_by(epsilon: float) -> float:
    """The largest change of a transformer's logits when its layer norms have this epsilon."""
    spec = golden.full("transformer")
    recognizer = impl_pytorch.build(spec, dtype="float64")
    recognizer.load_weights(golden.golden_weights(spec))
    inputs = golden.golden_batch(spec).inputs
    right = recognizer.logits(*inputs)
    for module in recognizer.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    return float(np.abs(recognizer.logits(*inputs) - right).max())


# --- noise
def noise(dtype: str, steps: int) -> dict[str, float]:
    """The distance of PyTorch's mlp from NumPy's in float64. Parameters are those after `steps` steps of SGD."""
    spec = golden.small("mlp")
    config = replace(golden.SGD, epochs=steps // 5)  # of five batches each
    ours, reference = impl_pytorch.build(spec, dtype=dtype), impl_numpy.build(spec, dtype="float64")
    batch, found = golden.golden_batch(spec), []
    for recognizer in (ours, reference):
        recognizer.load_weights(golden.golden_weights(spec))
        logits = recognizer.logits(*batch.inputs)
        _, gradients = recognizer.loss_and_gradients(batch)
        batches = golden.batches_of(spec, config, golden.golden_split(spec, golden.STEPS_EXAMPLES))
        found.append((logits, _flat(gradients), _flat(fit(recognizer, config, batches).weights)))
    (logits, gradients, weights), (logits_64, gradients_64, weights_64) = found
    return {
        "logits": float(np.abs(logits - logits_64).max()),
        "gradients": float(np.linalg.norm(gradients - gradients_64) / np.linalg.norm(gradients_64)),
        "parameters": float(np.abs(weights - weights_64).max()),
    }


def _flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])
