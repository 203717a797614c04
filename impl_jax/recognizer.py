"""The border: NumPy arrays outside, pure jitted functions inside."""

# B batch, H height, W width, L label length, T frames, K classes
# S scores per image: a row per frame of lstm_ctc, and per character and end of text of the transformer
# h and w half of H and W, M maps of a page

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from common.recognizer import AnyBatch, Device, DType, TrainingRun
from common.spec import Spec, UNetSpec
from common.weights import initial_weights
from impl_jax import cnn, lstm_ctc, mlp, train, transformer, unet
from impl_jax.device import COMPILER_OPTIONS, device_of, find_device, full_precision

RUNGS: dict[str, tuple[Callable[..., nnx.Module], Callable[..., Array]]] = {
    "mlp": (mlp.MLP, mlp.loss_fn),
    "cnn": (cnn.CNN, cnn.loss_fn),
    "lstm_ctc": (lstm_ctc.LSTMCTC, lstm_ctc.loss_fn),
    "transformer": (transformer.Transformer, transformer.loss_fn),
    "unet": (unet.UNet, unet.loss_fn),
}
INPUTS = {"mlp": 1, "cnn": 1, "lstm_ctc": 2, "transformer": 3, "unet": 2}
"""A module takes the first 1, 2 or 3 of images, widths or sizes, and labels."""


@partial(jax.jit, static_argnames="graphdef", compiler_options=COMPILER_OPTIONS)
def forward(
    params: PyTree, statistics: PyTree, *inputs: Array, graphdef: nnx.GraphDef[Any]
) -> Float[Array, "B K"] | Float[Array, "B S K"] | Float[Array, "B h w M"]:
    """Logits, with dropout off and the running statistics of batch norm."""
    return nnx.merge(graphdef, params, statistics)(*inputs)


@partial(jax.jit, static_argnames=("graphdef", "loss_fn"), compiler_options=COMPILER_OPTIONS)
def loss_and_gradients(
    params: PyTree,
    statistics: PyTree,
    *batch: Array,
    graphdef: nnx.GraphDef[Any],
    loss_fn: Callable[..., Float[Array, ""]],
) -> tuple[Float[Array, ""], PyTree]:
    """The loss and its gradient, with dropout off. The running statistics do not move."""
    return jax.value_and_grad(lambda params: loss_fn(nnx.merge(graphdef, params, statistics, copy=True), *batch))(
        params
    )


@partial(jax.jit, static_argnames=("graphdef", "cached"), compiler_options=COMPILER_OPTIONS)
def decode(
    params: PyTree,
    statistics: PyTree,
    images_BHW1: Float[Array, "B H W 1"],
    widths_B: Int[Array, "B"],
    *,
    graphdef: nnx.GraphDef[Any],
    cached: bool,
) -> tuple[Int[Array, "B T"], Float[Array, "B T"]]:
    """See `transformer.decode`."""
    return transformer.decode(nnx.merge(graphdef, params, statistics), images_BHW1, widths_B, cached=cached)


class JaxRecognizer:
    """A module's static half (graphdef) and its arrays: trained params, and the running statistics of batch norm."""

    packages: ClassVar[tuple[str, ...]] = ("jax", "flax", "optax")
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    graphdef: nnx.GraphDef[Any]
    params: PyTree
    statistics: PyTree

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        self.spec = spec
        self.device = find_device(device)
        self.dtype = np.dtype(dtype)
        module, self.loss_fn = RUNGS[spec.rung]
        with full_precision(self.dtype):
            # shapes only, because `common.weights` draws the weights
            model = nnx.eval_shape(lambda: module(spec, dtype=self.dtype, rngs=nnx.Rngs(0)))
        parts: Any = nnx.split(model, nnx.Param, nnx.BatchStat)
        self.graphdef, self.params, self.statistics = parts
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        with full_precision(self.dtype):
            self.params, self.statistics = (
                nnx.from_flat_state(
                    (path, param.replace(jax.device_put(weights[canonical_name(path)].astype(self.dtype), self.device)))
                    for path, param in nnx.to_flat_state(state)
                )
                for state in (self.params, self.statistics)
            )

    def export_weights(self) -> dict[str, np.ndarray]:
        return self._by_name(self.params, self.statistics)

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"] | Float[np.ndarray, "B h w M"]:
        return np.array(self._forward(images_BHW1, sizes, labels_BL))

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"], *, cached: bool = True
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        with full_precision(self.dtype):
            ids_BT, scores_BT = decode(
                self.params, self.statistics, images_BHW1, widths_B, graphdef=self.graphdef, cached=cached
            )
        return np.array(ids_BT), np.array(scores_BT)

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        with full_precision(self.dtype):
            loss, gradients = loss_and_gradients(
                self.params, self.statistics, *batch.arrays, graphdef=self.graphdef, loss_fn=self.loss_fn
            )
        return float(loss), self._by_name(gradients)

    def fit(self, run: TrainingRun) -> None:
        with full_precision(self.dtype):
            epochs = train.fit(
                self.params,
                self.statistics,
                run,
                spec=self.spec,
                graphdef=self.graphdef,
                loss_fn=self.loss_fn,
                device=self.device,
            )
            for state in epochs:
                # copies, because the next step donates the state's own buffers
                self.params, self.statistics = jax.tree.map(jnp.copy, (state.params, state.statistics))
                if run.look_due:
                    run.look(self)
                else:
                    run.epoch_done(self, train.to_flat(state))

    def placement(self) -> dict[str, Device]:
        if isinstance(self.spec, UNetSpec):
            height = width = self.spec.multiple
            size: int | list[int] = [height, width]
        else:
            height, width = self.spec.height, getattr(self.spec, "width", 8)
            size = width
        image = np.zeros((1, height, width, 1), self.dtype)
        logits = self._forward(image, np.array([size], np.int32), np.ones((1, 1), np.int32))
        arrays = {canonical_name(path): array[...] for path, array in self._flat(self.params, self.statistics)}
        return {name: device_of(array) for name, array in (arrays | {"logits": logits}).items()}

    def _forward(
        self, *inputs: np.ndarray | None
    ) -> Float[Array, "B K"] | Float[Array, "B S K"] | Float[Array, "B h w M"]:
        with full_precision(self.dtype):
            return forward(self.params, self.statistics, *inputs[: INPUTS[self.spec.rung]], graphdef=self.graphdef)

    def _flat(self, *states: PyTree) -> list[tuple[tuple[Any, ...], Any]]:
        return [item for state in states for item in nnx.to_flat_state(state)]

    def _by_name(self, *states: PyTree) -> dict[str, np.ndarray]:
        """NumPy copies by canonical name, in the order of the layers."""
        arrays = {canonical_name(path): np.array(array[...]) for path, array in self._flat(*states)}
        return {name: arrays[name] for name in self.spec.parameters() if name in arrays}


def canonical_name(path: tuple[Any, ...]) -> str:
    """The canonical name of a parameter: its path in the module joined by dots. The transformer has two exceptions."""
    return (
        ".".join(map(str, path))
        .replace("embedding.embedding", "embedding.kernel")
        .replace("decoder_norm", "decoder.norm")
    )


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> JaxRecognizer:
    """A recognizer in JAX; see `common.recognizer.Build`."""
    return JaxRecognizer(spec, seed=seed, device=device, dtype=dtype)
