"""The optimizers and gradient clipping; all of them work in place."""

from __future__ import annotations

import math

from common.config import (
    ADAM_BETA1,
    ADAM_BETA2,
    ADAM_EPSILON,
    MOMENTUM,
    RMSPROP_DECAY,
    RMSPROP_EPSILON,
    TrainConfig,
)
from impl_numpy.device import Array, namespace


def clip_by_global_norm(gradients: dict[str, Array], max_norm: float) -> None:
    """Scale all gradients by one factor if their common L2 norm is above `max_norm`. Source: Pascanu et al. 2013."""
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
    if norm > max_norm:
        for gradient in gradients.values():
            gradient *= max_norm / norm


def add_scaled(total: dict[str, Array], gradients: dict[str, Array], share: float) -> None:
    """Scale the gradients of a micro-batch and add them to `total`, which starts empty. Both change in place."""
    for name, gradient in gradients.items():
        if share != 1:  # a whole batch: its gradients are the total
            gradient *= share
        if name in total:
            total[name] += gradient
        else:
            total[name] = gradient


class SGD:
    """v ← momentum · v + g; w ← w - rate · v. Nesterov's looks ahead: w ← w - rate · (g + momentum · v).

    The weights that are stored are those at which the gradient is taken. Source: Sutskever et al. 2013, who store the
    point from which the step looks ahead.
    """

    def __init__(self, weights: dict[str, Array], *, nesterov: bool) -> None:
        self.nesterov = nesterov
        self.slots = {f"velocity/{name}": namespace(w).zeros_like(w) for name, w in weights.items()}

    def update(self, weights: dict[str, Array], gradients: dict[str, Array], rate: float, step: int) -> None:
        """Make one update; `step` counts from 0."""
        for name, w in weights.items():
            velocity = self.slots[f"velocity/{name}"]
            velocity *= MOMENTUM
            velocity += gradients[name]
            w -= rate * (gradients[name] + MOMENTUM * velocity if self.nesterov else velocity)


class AdamW:
    """Adam with decoupled weight decay, which acts on kernels only. Without weight decay it is Adam.

    Sources: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(self, weights: dict[str, Array], weight_decay: float) -> None:
        self.weight_decay = weight_decay
        self.slots = {
            f"{slot}/{name}": namespace(w).zeros_like(w) for name, w in weights.items() for slot in ("m", "v")
        }

    def update(self, weights: dict[str, Array], gradients: dict[str, Array], rate: float, step: int) -> None:
        """Make one update; `step` counts from 0."""
        correction1 = 1 - ADAM_BETA1 ** (step + 1)
        correction2 = 1 - ADAM_BETA2 ** (step + 1)
        for name, w in weights.items():
            g, m, v = gradients[name], self.slots[f"m/{name}"], self.slots[f"v/{name}"]
            m += (1 - ADAM_BETA1) * (g - m)
            v += (1 - ADAM_BETA2) * (g * g - v)
            if name.endswith("kernel"):
                w *= 1 - rate * self.weight_decay
            w -= rate * (m / correction1) / (namespace(v).sqrt(v / correction2) + ADAM_EPSILON)


class RMSprop:
    """v ← decay · v + (1 - decay) · g²; w ← w - rate · g / (√v + ε). Source: Tieleman & Hinton 2012."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.slots = {f"v/{name}": namespace(w).zeros_like(w) for name, w in weights.items()}

    def update(self, weights: dict[str, Array], gradients: dict[str, Array], rate: float, step: int) -> None:
        """Make one update; `step` counts from 0."""
        for name, w in weights.items():
            g, v = gradients[name], self.slots[f"v/{name}"]
            v += (1 - RMSPROP_DECAY) * (g * g - v)
            w -= rate * g / (namespace(v).sqrt(v) + RMSPROP_EPSILON)


def optimizer_for(config: TrainConfig, weights: dict[str, Array]) -> AdamW | SGD | RMSprop:
    """The optimizer that the configuration names, its slots at zero."""
    if config.optimizer == "rmsprop":
        return RMSprop(weights)
    if config.optimizer in ("sgd", "sgd_nesterov"):
        return SGD(weights, nesterov=config.optimizer == "sgd_nesterov")
    return AdamW(weights, config.weight_decay if config.optimizer == "adamw" else 0.0)
