"""The border: NumPy on both sides, tensors inside."""

# B batch, H height, W width, K classes

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from common.data.dataset import Batch
from common.recognizer import Device, DType
from common.spec import Spec
from common.training.run import Run
from common.weights import initial_weights
from impl_pytorch import cnn, mlp, train
from impl_pytorch.device import device_of, to_numpy, to_tensor, torch_device

MODULES = {"mlp": mlp, "cnn": cnn}
MODELS = {"mlp": mlp.MLP, "cnn": cnn.CNN}


class PyTorchRecognizer:
    """A rung's module, and the device that it lies on."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self, spec: Spec, *, seed: int, device: Device, dtype: DType) -> None:
        self.spec = spec
        self.device = torch_device(device)
        self.dtype = getattr(torch, dtype)
        self.module = MODULES[spec.rung]
        with torch.device(
            "meta"
        ):  # shapes only: PyTorch's own initial weights would be drawn from its global generator
            self.model = MODELS[spec.rung](spec).to(self.dtype)
        self.model.to_empty(device=self.device)
        self.load_weights(initial_weights(spec, seed))

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, tensor in self._canonical_weights().items():
            tensor.copy_(to_tensor(weights[name]))

    def export_weights(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(tensor) for name, tensor in self._canonical_weights().items()}

    def logits(self, images_BHW1: Float[np.ndarray, "B H W 1"]) -> Float[np.ndarray, "B K"]:
        return to_numpy(self._forward(images_BHW1))

    def loss_and_gradients(self, batch: Batch) -> tuple[float, dict[str, np.ndarray]]:
        self.model.eval()
        loss = self.module.loss(self.model, *self.tensors(batch))
        gradients = torch.autograd.grad(loss, list(self.model.parameters()))
        named = self.module.canonical(dict(zip(self.model.state_dict(), gradients, strict=True)))
        return loss.item(), {name: to_numpy(gradient) for name, gradient in named.items()}

    def fit(self, run: Run) -> None:
        train.fit(self, run)

    def placement(self) -> dict[str, Device]:
        image = np.zeros((1, self.spec.height, self.spec.width, 1))
        tensors = {**self._canonical_weights(), "logits": self._forward(image)}
        return {name: device_of(tensor) for name, tensor in tensors.items()}

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 1) and labels (B,) on the device."""
        images_BHW1 = to_tensor(batch.images_BHW1, self.dtype, self.device)
        return images_BHW1, to_tensor(batch.labels_B, torch.int64, self.device)

    @torch.inference_mode()
    def _forward(self, images_BHW1: np.ndarray) -> Tensor:
        logits_BK: Tensor = self.model.eval()(to_tensor(images_BHW1, self.dtype, self.device))
        return logits_BK

    def _canonical_weights(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.module.canonical(self.model.state_dict())
        return tensors


def build(spec: Spec, *, seed: int = 0, device: Device = "cpu", dtype: DType = "float32") -> PyTorchRecognizer:
    """A recognizer in PyTorch; see `common.recognizer.Build`."""
    return PyTorchRecognizer(spec, seed=seed, device=device, dtype=dtype)
