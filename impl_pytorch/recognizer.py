"""The border: inputs and outputs are NumPy arrays, the model's are tensors."""

# B batch, H height, W width, L label length (characters), T frames, K classes, S scores per image
# h and w half of H and W, M maps of a page

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from common.recognizer import AnyBatch, Device, DType, TrainingRun
from common.spec import LineSpec, Spec, UNetSpec
from common.weights import initial_weights
from impl_pytorch import cnn, lstm_ctc, mlp, train, transformer, unet
from impl_pytorch.device import device_of, to_numpy, to_tensor, torch_device

MODULES = {"mlp": mlp, "cnn": cnn, "lstm_ctc": lstm_ctc, "transformer": transformer, "unet": unet}
MODELS = {
    "mlp": mlp.MLP,
    "cnn": cnn.CNN,
    "lstm_ctc": lstm_ctc.LSTMCTC,
    "transformer": transformer.Transformer,
    "unet": unet.UNet,
}


class PyTorchRecognizer:
    """The module of a rung, and its device."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        self.spec = spec
        self.device = torch_device(device)
        self.dtype = getattr(torch, dtype)
        self.module = MODULES[spec.rung]
        # on the meta device there are shapes only: PyTorch would draw initial weights from its global generator
        with torch.device("meta"):
            self.model = MODELS[spec.rung](spec).to(self.dtype)
        self.model.to_empty(device=self.device)
        for tensor in self.model.state_dict().values():
            tensor.zero_()  # a tensor without a canonical name stays zero
        for module in self.model.modules():
            if isinstance(module, transformer.Positions):
                module.compute()
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, tensor in self._canonical_weights().items():
            tensor.copy_(to_tensor(weights[name]))

    def export_weights(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(tensor) for name, tensor in self._canonical_weights().items()}

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B K"] | Float[np.ndarray, "B S K"] | Float[np.ndarray, "B h w M"]:
        return to_numpy(self._forward(images_BHW1, sizes, labels_BL))

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"], *, cached: bool = True
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        tensors = self._tensors(images_BHW1, widths_B)
        classes_BT, log_probs_BT = transformer.decode(self.model.eval(), *tensors, cached=cached)
        return to_numpy(classes_BT.int()), to_numpy(log_probs_BT)

    def loss_and_gradients(self, batch: AnyBatch) -> tuple[float, dict[str, np.ndarray]]:
        self.model.eval()
        loss = self._loss(batch)
        trained = {name: tensor for name, tensor in self.model.named_parameters() if tensor.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()))
        named = self.module.canonical(dict(zip(trained, gradients, strict=True)))
        return loss.item(), {name: to_numpy(gradient) for name, gradient in named.items()}

    def fit(self, run: TrainingRun) -> None:
        train.fit(self, self.model, self._loss, run)

    def placement(self) -> dict[str, Device]:
        if isinstance(self.spec, LineSpec):
            logits = self._forward(np.zeros((1, self.spec.height, 8, 1)), np.array([8]), np.array([[1]]))
        elif isinstance(self.spec, UNetSpec):
            side = self.spec.multiple
            logits = self._forward(np.zeros((1, side, side, 1)), np.array([[side, side]]))
        else:
            logits = self._forward(np.zeros((1, self.spec.height, self.spec.width, 1)))
        return {name: device_of(tensor) for name, tensor in {**self._canonical_weights(), "logits": logits}.items()}

    def _loss(self, batch: AnyBatch) -> Tensor:
        loss: Tensor = self.module.loss(self.model, *self._tensors(*batch.arrays))
        return loss

    def _tensors(self, images_BHW1: np.ndarray, *integers: np.ndarray) -> list[Tensor]:
        """Images on the device, in the model's dtype; classes, widths and lengths in int64, on the CPU.

        CTC reads its lengths on the CPU. What a module needs on a GPU it copies there, which waits for nothing; copying
        lengths back would wait for all the work in the GPU's queue.
        """
        return [to_tensor(images_BHW1, self.dtype, self.device), *(to_tensor(array, torch.int64) for array in integers)]

    @torch.inference_mode()
    def _forward(self, images_BHW1: np.ndarray, *integers: np.ndarray | None) -> Tensor:
        inputs = self._tensors(images_BHW1, *(array for array in integers if array is not None))
        logits: Tensor = self.model.eval()(*inputs)
        return logits

    def _canonical_weights(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.module.canonical(self.model.state_dict())
        return tensors


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> PyTorchRecognizer:
    """A recognizer in PyTorch; see `common.recognizer.Build`."""
    return PyTorchRecognizer(spec, seed=seed, device=device, dtype=dtype)
