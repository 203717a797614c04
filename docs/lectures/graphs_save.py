"""One network, saved in four ways, and run by a process without its source."""

# N examples, D inputs, O outputs

from __future__ import annotations

import string
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import torch
from graphs_tensorflow import tf
from jax import export

from common.charset import Charset
from common.spec import MLPSpec
from common.weights import Golden, WeightsFile, save_weights

Weights = dict[str, np.ndarray]


def predict(weights: Weights, x_ND: np.ndarray) -> np.ndarray:
    """Linear → ReLU → linear."""
    return np.maximum(x_ND @ weights["w1"] + weights["b1"], 0) @ weights["w2"] + weights["b2"]


# --- torch.export
class Net(torch.nn.Module):
    """The network as a module."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        tensors = {name: torch.tensor(value) for name, value in weights.items()}
        self.weights = torch.nn.ParameterDict(tensors)

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        hidden_NH = torch.relu(x_ND @ self.weights["w1"] + self.weights["b1"])
        return hidden_NH @ self.weights["w2"] + self.weights["b2"]


def save_pytorch(weights: Weights, path: Path) -> None:
    """For any number of examples: the first axis is declared dynamic."""
    example_ND = torch.zeros(2, len(weights["w1"]))
    free = {0: torch.export.Dim("examples")}
    program = torch.export.export(Net(weights), (example_ND,), dynamic_shapes=(free,))
    torch.export.save(program, path)


# --- SavedModel
def save_tensorflow(weights: Weights, path: Path) -> None:
    """For any number of examples: `None` in the signature."""
    module = tf.Module()
    module.weights = w1, b1, w2, b2 = [tf.Variable(value) for value in weights.values()]

    @tf.function(input_signature=[tf.TensorSpec((None, len(weights["w1"])), tf.float32)])
    def predict(x_ND: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x_ND @ w1 + b1) @ w2 + b2

    module.predict = predict
    tf.saved_model.save(module, str(path))


# --- jax.export
def save_jax(weights: Weights, path: Path) -> None:
    """For any number of examples: a symbol in the shape. The weights become constants."""

    def predict(x_ND: jax.Array) -> jax.Array:
        return jax.nn.relu(x_ND @ weights["w1"] + weights["b1"]) @ weights["w2"] + weights["b2"]

    shape = export.symbolic_shape(f"examples, {len(weights['w1'])}")
    exported = export.export(jax.jit(predict))(jax.ShapeDtypeStruct(shape, np.float32))
    path.write_bytes(exported.serialize())


# --- weights file
def save_file(weights: Weights, path: Path) -> None:
    """The project's format: the spec, the arrays by name, and an example with its logits."""
    (inputs, hidden), outputs = weights["w1"].shape, len(weights["b2"])
    names = ["dense.0.kernel", "dense.0.bias", "dense.1.kernel", "dense.1.bias"]
    images_GHW = np.full((1, 1, inputs), 255, np.uint8)
    logits_GK = predict(weights, images_GHW[0] / np.float32(255))
    content = WeightsFile(
        spec=MLPSpec(num_classes=outputs, height=1, width=inputs, hidden_dims=(hidden,)),
        charset=Charset(tuple(string.digits[:outputs])),
        weights=dict(zip(names, weights.values(), strict=True)),
        golden=Golden(images_GHW=images_GHW, logits=logits_GK),
    )
    save_weights(path, content)


tf.get_logger().setLevel("ERROR")  # else it reports each SavedModel

SAVERS = {"PyTorch": save_pytorch, "TensorFlow": save_tensorflow, "JAX": save_jax, "weights file": save_file}


# --- fresh process
def run_elsewhere(kind: str, path: Path, x_ND: np.ndarray) -> np.ndarray:
    """Run the saved network in a new process. `-I` removes this folder from its import path."""
    inputs, outputs = path.with_suffix(".in.npy"), path.with_suffix(".out.npy")
    np.save(inputs, x_ND)
    program = Path(__file__).with_name("graphs_load.py")
    command = [sys.executable, "-I", program, kind, path, inputs, outputs]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True)
    return np.load(outputs)
