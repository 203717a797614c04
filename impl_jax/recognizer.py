"""The border: NumPy on both sides, pure jitted functions inside."""

# B batch, H height, W width, K classes

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from common.data.dataset import Batch
from common.recognizer import Device, DType
from common.spec import Spec
from common.training.run import Run
from common.weights import initial_weights
from impl_jax import cnn, mlp, train
from impl_jax.device import COMPILER_OPTIONS, device_of, find_device

RUNGS = {"mlp": (mlp.MLP, mlp.loss_fn), "cnn": (cnn.CNN, cnn.loss_fn)}


@partial(jax.jit, static_argnames="graphdef", compiler_options=COMPILER_OPTIONS)
def forward(
    params: PyTree, images_BHW1: Float[Array, "B H W 1"], *, graphdef: nnx.GraphDef[Any]
) -> Float[Array, "B K"]:
    """Logits, dropout off."""
    return nnx.merge(graphdef, params)(images_BHW1)


@partial(jax.jit, static_argnames=("graphdef", "loss_fn"), compiler_options=COMPILER_OPTIONS)
def loss_and_gradients(
    params: PyTree,
    images_BHW1: Float[Array, "B H W 1"],
    labels_B: Int[Array, "B"],
    *,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
) -> tuple[Float[Array, ""], PyTree]:
    """Mean cross-entropy in nats and its gradient, dropout off."""
    return jax.value_and_grad(lambda params: loss_fn(nnx.merge(graphdef, params), images_BHW1, labels_B))(params)


class JaxRecognizer:
    """A module's static half (graphdef) and its arrays (params)."""

    packages: ClassVar[tuple[str, ...]] = ("jax", "flax", "optax")

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        self.spec = spec
        self.device = find_device(device)
        self.dtype = np.dtype(dtype)
        module, self.loss_fn = RUNGS[spec.rung]
        with self.x64():
            # shapes only: the weights are not Flax's to draw
            model = nnx.eval_shape(lambda: module(spec, dtype=self.dtype, rngs=nnx.Rngs(0)))
        self.graphdef, self.params = nnx.split(model)
        self.load_weights(initial_weights(spec, seed))

    def x64(self) -> AbstractContextManager[None]:
        """Around every call into JAX: whether float64 stays float64 is decided per model, not per process."""
        return jax.enable_x64(self.dtype == np.float64)

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        with self.x64():
            self.params = nnx.from_flat_state(
                (path, param.replace(jax.device_put(weights[canonical_name(path)].astype(self.dtype), self.device)))
                for path, param in nnx.to_flat_state(self.params)
            )

    def export_weights(self) -> dict[str, np.ndarray]:
        return self._by_name(self.params)

    def logits(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> Float[np.ndarray, "B K"]:
        return np.array(self._forward(images_BHW1))

    def loss_and_gradients(self, batch: Batch) -> tuple[float, dict[str, np.ndarray]]:
        with self.x64():
            loss, gradients = loss_and_gradients(
                self.params, batch.images_BHW1, batch.labels_B, graphdef=self.graphdef, loss_fn=self.loss_fn
            )
        return float(loss), self._by_name(gradients)

    def fit(self, run: Run) -> None:
        train.fit(self, run)

    def placement(self) -> dict[str, Device]:
        image = np.zeros((1, self.spec.height, self.spec.width, 1), self.dtype)
        params = {canonical_name(path): param[...] for path, param in nnx.to_flat_state(self.params)}
        return {name: device_of(array) for name, array in (params | {"logits": self._forward(image)}).items()}

    def _forward(self, images_BHW1: np.ndarray) -> Float[Array, "B K"]:
        with self.x64():
            return forward(self.params, images_BHW1, graphdef=self.graphdef)

    def _by_name(self, state: PyTree) -> dict[str, np.ndarray]:
        """Copies on the CPU under canonical names, in the order of the layers."""
        arrays = {canonical_name(path): np.array(param[...]) for path, param in nnx.to_flat_state(state)}
        return {name: arrays[name] for name in self.spec.parameters()}


def canonical_name(path: tuple[Any, ...]) -> str:
    """The canonical name of a parameter: its path in the module, dotted."""
    return ".".join(map(str, path))


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> JaxRecognizer:
    """A recognizer in JAX; see `common.recognizer.Build`."""
    return JaxRecognizer(spec, seed=seed, device=device, dtype=dtype)
