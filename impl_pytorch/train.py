"""The training loop, shared by all rungs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from common.config import (
    ADAM_BETA1,
    ADAM_BETA2,
    ADAM_EPSILON,
    MOMENTUM,
    RMSPROP_DECAY,
    RMSPROP_EPSILON,
    TrainConfig,
)
from common.recognizer import AnyBatch, Recognizer, State, TrainingRun
from common.training.accumulate import micro_batches
from impl_pytorch.device import to_numpy, to_tensor


def fit(recognizer: Recognizer, model: nn.Module, loss_of: Callable[[AnyBatch], Tensor], run: TrainingRun) -> None:
    """Train in place.

    Args:
        recognizer: the model, for those who observe the run.
        model: its module.
        loss_of: the module's loss of a batch.
        run: what to train on and how.
    """
    config, device = run.config, next(model.parameters()).device
    optimizer = optimizer_for(config, model)
    lower_precision = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    if run.checkpoint:
        restore(model, optimizer, run.checkpoint)

    for epoch in run.epochs():
        for batch in run.batches(epoch):
            for group in optimizer.param_groups:
                group["lr"] = float(run.learning_rates_S[run.step])
            model.train()
            optimizer.zero_grad()
            step_loss = torch.zeros((), device=device)
            with dropout_seeded(config.seed, run.step, device):
                for part, share in micro_batches(recognizer.spec, batch, config.accumulate):
                    with lower_precision:
                        loss = share * loss_of(part)
                    loss.backward()  # adds to the gradients of the parts before
                    step_loss = step_loss + loss.detach()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            run.step_done(step_loss)  # still on the device: the run fetches the losses of several steps at once
            if run.look_due:
                run.look(recognizer)
        run.epoch_done(recognizer, state_of(model, optimizer))


@contextmanager
def dropout_seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators, which nn.Dropout draws from, for one step; restore them afterwards."""
    gpus = [device] if device.type == "cuda" else []
    step_seed = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(step_seed)
        if gpus:
            torch.cuda.manual_seed(step_seed)
        yield


def optimizer_for(config: TrainConfig, model: nn.Module) -> Optimizer:
    """The optimizer that the configuration names; every step sets its learning rate."""
    rate = config.learning_rate
    if config.optimizer in ("sgd", "sgd_nesterov"):
        ahead = config.optimizer == "sgd_nesterov"
        return SGD(model.parameters(), lr=rate, momentum=MOMENTUM, nesterov=ahead, fused=True)
    if config.optimizer == "rmsprop":  # PyTorch has no fused form of it
        return RMSprop(model.parameters(), lr=rate, alpha=RMSPROP_DECAY, eps=RMSPROP_EPSILON)
    options: Any = {"lr": rate, "betas": (ADAM_BETA1, ADAM_BETA2), "eps": ADAM_EPSILON, "fused": True}
    if config.optimizer == "adam":
        return Adam(model.parameters(), **options)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kernels = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim == 1]  # biases, and scales of norms
    return AdamW(
        [{"params": kernels, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        **options,
    )


def state_of(model: nn.Module, optimizer: Optimizer) -> dict[str, np.ndarray]:
    """Parameters by name, and the optimizer's slots as slot/name."""
    tensors = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        tensors |= {f"{slot}/{name}": value for slot, value in optimizer.state[parameter].items()}
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}


def restore(model: nn.Module, optimizer: Optimizer, state: State) -> None:
    """Load the state that `state_of` returned."""
    model.load_state_dict({name: to_tensor(array) for name, array in state.items() if "/" not in name})
    parameters = dict(model.named_parameters())
    for key in (key for key in state if "/" in key):
        slot, name = key.split("/")
        parameter, value = parameters[name], to_tensor(state[key])
        # the fused update relies on each slot having its parameter's memory order
        like = torch.empty_like(parameter if value.shape == parameter.shape else value, device=parameter.device)
        optimizer.state[parameter][slot] = like.copy_(value)
