"""Runs a saved network without the code that made it: `python -I graphs_load.py KIND FILE INPUTS.npy OUTPUTS.npy`."""

# N examples, D inputs, O outputs

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import numpy as np


# --- load
def pytorch(path: str, x_ND: np.ndarray) -> np.ndarray:
    """A program of `torch.export`."""
    import torch

    return torch.export.load(path).module()(torch.from_numpy(x_ND)).detach().numpy()


def tensorflow(path: str, x_ND: np.ndarray) -> np.ndarray:
    """A SavedModel."""
    import tensorflow as tf

    network = tf.saved_model.load(path)  # a name keeps the variables alive
    return network.predict(x_ND).numpy()


def jax(path: str, x_ND: np.ndarray) -> np.ndarray:
    """A function of `jax.export`."""
    from jax import export

    with open(path, "rb") as file:
        return np.asarray(export.deserialize(bytearray(file.read())).call(x_ND))


def weights_file(path: str, x_ND: np.ndarray) -> np.ndarray:
    """The project's weights file. It holds arrays, so the forward is written here."""
    from safetensors.numpy import load_file

    arrays = load_file(path)
    hidden_NH = np.maximum(x_ND @ arrays["dense.0.kernel"] + arrays["dense.0.bias"], 0)
    return hidden_NH @ arrays["dense.1.kernel"] + arrays["dense.1.bias"]


LOADERS = {"PyTorch": pytorch, "TensorFlow": tensorflow, "JAX": jax, "weights file": weights_file}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    kind, path, inputs, outputs = sys.argv[1:]
    assert find_spec("graphs_save") is None, "the source of the models can be imported"
    np.save(outputs, LOADERS[kind](path, np.load(inputs)))
