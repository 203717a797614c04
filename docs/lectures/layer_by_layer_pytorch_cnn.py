"""A convolutional network in PyTorch: as a module, as a list of layers, for any image size, on any device."""

# B batch, C channels, H height, W width

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import torch
import torch.nn.functional as F
from layer_by_layer import Digits, Plan
from layer_by_layer_pytorch import Batches, accuracy, fit
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset


# --- cnn
class CNN(nn.Module):
    """Three convolutions that halve the image, the mean over the remaining pixels, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1)
        self.output = nn.Linear(32, 10)

    def forward(self, xb: Tensor) -> Tensor:
        x_BCHW = xb.unflatten(1, (1, 28, 28))
        x_BCHW = F.relu(self.conv1(x_BCHW))
        x_BCHW = F.relu(self.conv2(x_BCHW))
        x_BCHW = F.relu(self.conv3(x_BCHW))
        return self.output(F.avg_pool2d(x_BCHW, 4).flatten(1))


# --- sequential
def sequential() -> nn.Sequential:
    """The same network as a list of layers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


# --- any size
def any_size() -> nn.Sequential:
    """The same network for images of any size."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


# --- same start
def same_start(model: nn.Module, other: nn.Module) -> nn.Module:
    """Copy the other's weights into the model. They have other names, in the same order."""
    values = other.state_dict().values()  # load_state_dict copies them
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    return model


# --- listen
def zeros_after_relu(model: nn.Sequential, xb: Tensor) -> list[float]:
    """The share of zeros in the output of each ReLU."""
    shares: list[float] = []

    def note(_layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        shares.append((output == 0).double().mean().item())

    relus = [layer for layer in model if isinstance(layer, nn.ReLU)]
    handles = [relu.register_forward_hook(note) for relu in relus]
    with torch.no_grad():
        model(xb)
    for handle in handles:
        handle.remove()
    return shares


# --- resized
def resized(images: Tensor, size: int) -> Tensor:
    """Resize images (B, C, H, W) to `size` × `size` pixels."""
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


class Resized:
    """Batches with their images resized, each batch to the next size in turn."""

    def __init__(self, batches: Batches, sizes: list[int]) -> None:
        self.batches, self.sizes = batches, cycle(sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for xb, tb in self.batches:
            yield resized(xb, next(self.sizes)), tb


# --- on a device
class OnDevice:
    """Batches, each moved to the device when the loop takes it."""

    def __init__(self, batches: Batches, device: str) -> None:
        self.batches, self.device = batches, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for xb, tb in self.batches:
            yield xb.to(self.device), tb.to(self.device)


# --- train on a device
def train_on(
    device: str,
    model: nn.Module,
    digits: Digits,
    plan: Plan,
) -> tuple[list[float], list[float]]:
    """The loss before each update, and the accuracy after each epoch."""
    model.to(device)
    optimizer = SGD(model.parameters(), lr=plan.rate, momentum=plan.momentum)
    train_set = TensorDataset(torch.from_numpy(digits.x), torch.from_numpy(digits.t))
    valid_set = TensorDataset(torch.from_numpy(digits.x_valid), torch.from_numpy(digits.t_valid))
    train_batches = OnDevice(DataLoader(train_set, plan.batch), device)
    valid_batches = OnDevice(DataLoader(valid_set, 4 * plan.batch), device)
    losses, accuracies = [], []

    def validate(model: nn.Module) -> None:
        accuracies.append(accuracy(model, valid_batches))

    hooks = {"after_step": [losses.append], "after_epoch": [validate]}
    fit(model, optimizer, train_batches, plan.epochs, **hooks)
    return losses, accuracies
