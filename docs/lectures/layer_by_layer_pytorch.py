"""The dense network in PyTorch, from bare tensors to a `fit` with hooks."""

# N examples, B batch

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from layer_by_layer import Digits, Plan, Weights
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, TensorDataset

Batches = Iterable[tuple[Tensor, Tensor]]  # images and classes


# --- tensors
def log_softmax(logits: Tensor) -> Tensor:
    """The log-probabilities of the classes."""
    shifted = logits - logits.max(dim=1, keepdim=True).values  # exp of a large number overflows
    return shifted - shifted.exp().sum(dim=1, keepdim=True).log()


def negative_log_likelihood(log_p: Tensor, t: Tensor) -> Tensor:
    """The mean over the examples of -log p, where p is the probability of the right class."""
    return -log_p[torch.arange(len(t)), t].mean()


def tensors(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. PyTorch computes the gradients."""
    w1, b1, w2, b2 = (torch.tensor(value, requires_grad=True) for value in start.values())
    x, t = torch.from_numpy(digits.x), torch.from_numpy(digits.t)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(x), plan.batch):
            xb, tb = x[first : first + plan.batch], t[first : first + plan.batch]
            hidden = (xb @ w1 + b1).clamp(min=0)
            loss = negative_log_likelihood(log_softmax(hidden @ w2 + b2), tb)
            loss.backward()
            with torch.no_grad():
                for parameter in (w1, b1, w2, b2):
                    parameter -= plan.rate * parameter.grad
                    parameter.grad.zero_()
            losses.append(loss.item())
    return losses


# --- what is recorded
def what_is_recorded() -> dict[str, bool]:
    """Whether PyTorch records the operation 2·x, so that a backward can follow it."""
    plain, leaf = torch.ones(3), torch.ones(3, requires_grad=True)
    results = {"plain": 2 * plain, "requires_grad": 2 * leaf}
    with torch.no_grad():
        results["no_grad"] = 2 * leaf
    with torch.inference_mode():
        results["inference_mode"] = 2 * leaf
    return {name: y.grad_fn is not None for name, y in results.items()}


# --- functional
def functional(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. PyTorch has the activation and the loss."""
    w1, b1, w2, b2 = (torch.tensor(value, requires_grad=True) for value in start.values())
    x, t = torch.from_numpy(digits.x), torch.from_numpy(digits.t)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(x), plan.batch):
            xb, tb = x[first : first + plan.batch], t[first : first + plan.batch]
            hidden = F.relu(xb @ w1 + b1)
            loss = F.cross_entropy(hidden @ w2 + b2, tb)
            loss.backward()
            with torch.no_grad():
                for parameter in (w1, b1, w2, b2):
                    parameter -= plan.rate * parameter.grad
                    parameter.grad.zero_()
            losses.append(loss.item())
    return losses


# --- network
class Net(nn.Module):
    """Linear → ReLU → linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, xb: Tensor) -> Tensor:
        return self.output(F.relu(self.hidden(xb)))


# --- same start
def net_from(start: Weights) -> Net:
    """A `Net` with the given weights."""
    (inputs, hidden), outputs = start["w1"].shape, len(start["b2"])
    model = Net(inputs, hidden, outputs)
    for parameter, value in zip(model.parameters(), start.values(), strict=True):
        parameter.data = torch.from_numpy(value.T.copy())  # nn.Linear keeps (out, in)
    return model


# --- module
def module(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. PyTorch keeps the parameters."""
    model = net_from(start)
    x, t = torch.from_numpy(digits.x), torch.from_numpy(digits.t)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(x), plan.batch):
            xb, tb = x[first : first + plan.batch], t[first : first + plan.batch]
            loss = F.cross_entropy(model(xb), tb)
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= plan.rate * parameter.grad
                    parameter.grad.zero_()
            losses.append(loss.item())
    return losses


# --- optim
def optim(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. PyTorch updates."""
    model = net_from(start)
    optimizer = SGD(model.parameters(), lr=plan.rate)
    x, t = torch.from_numpy(digits.x), torch.from_numpy(digits.t)
    losses = []
    for _ in range(plan.epochs):
        for first in range(0, len(x), plan.batch):
            xb, tb = x[first : first + plan.batch], t[first : first + plan.batch]
            loss = F.cross_entropy(model(xb), tb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


# --- loader
def loader(start: Weights, digits: Digits, plan: Plan) -> list[float]:
    """The loss before each update. PyTorch makes the batches."""
    model = net_from(start)
    optimizer = SGD(model.parameters(), lr=plan.rate)
    train_set = TensorDataset(torch.from_numpy(digits.x), torch.from_numpy(digits.t))
    losses = []
    for _ in range(plan.epochs):
        for xb, tb in DataLoader(train_set, plan.batch):
            loss = F.cross_entropy(model(xb), tb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


# --- accuracy
def accuracy(model: nn.Module, batches: Batches) -> float:
    """The share of examples whose largest logit is that of the right class."""
    model.eval()
    right = examples = 0
    with torch.no_grad():
        for xb, tb in batches:
            right += (model(xb).argmax(dim=1) == tb).sum().item()
            examples += len(tb)  # the last batch is smaller: a mean over batches would be wrong
    return right / examples


# --- validation
def validation(start: Weights, digits: Digits, plan: Plan) -> tuple[list[float], list[float]]:
    """The loss before each update, and the accuracy after each epoch."""
    model = net_from(start)
    optimizer = SGD(model.parameters(), lr=plan.rate)
    train_set = TensorDataset(torch.from_numpy(digits.x), torch.from_numpy(digits.t))
    valid_set = TensorDataset(torch.from_numpy(digits.x_valid), torch.from_numpy(digits.t_valid))
    losses, accuracies = [], []
    for _ in range(plan.epochs):
        model.train()
        for xb, tb in DataLoader(train_set, plan.batch):
            loss = F.cross_entropy(model(xb), tb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        accuracies.append(accuracy(model, DataLoader(valid_set, 4 * plan.batch)))
    return losses, accuracies


# --- fit
def fit(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    epochs: int,
    *,
    after_step: Sequence[Callable[[float], object]] = (),
    after_epoch: Sequence[Callable[[nn.Module], object]] = (),
) -> None:
    """The loop. Nothing in it depends on the model or on what is recorded."""
    for _ in range(epochs):
        model.train()
        for xb, tb in batches:
            loss = F.cross_entropy(model(xb), tb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for hook in after_step:
                hook(loss.item())
        for hook in after_epoch:
            hook(model)


# --- train
def train(model: nn.Module, digits: Digits, plan: Plan) -> tuple[list[float], list[float]]:
    """The loss before each update, and the accuracy after each epoch."""
    optimizer = SGD(model.parameters(), lr=plan.rate, momentum=plan.momentum)
    train_set = TensorDataset(torch.from_numpy(digits.x), torch.from_numpy(digits.t))
    valid_set = TensorDataset(torch.from_numpy(digits.x_valid), torch.from_numpy(digits.t_valid))
    train_batches = DataLoader(train_set, plan.batch)
    valid_batches = DataLoader(valid_set, 4 * plan.batch)
    losses, accuracies = [], []

    def validate(model: nn.Module) -> None:
        accuracies.append(accuracy(model, valid_batches))

    hooks = {"after_step": [losses.append], "after_epoch": [validate]}
    fit(model, optimizer, train_batches, plan.epochs, **hooks)
    return losses, accuracies
