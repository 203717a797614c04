"""The character rungs computed by hand, one number at a time, from their definitions; and finite differences.

This is plain Python: no arrays, and no line of code shared with an implementation. It is slow and easy to read on
purpose: it is what the reference is compared with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.batch import Batch
from common.config import TrainConfig
from common.spec import CNNSpec, MLPSpec, Spec

Image = list[list[list[float]]]  # row, column, channel

EPSILON_HAT = frozenset({"keras"})
"""Implementations whose AdamW and Adam add epsilon before the bias correction: the form with ε̂ at the end of section 2
of Kingma & Ba 2015. The others add it after the correction, as algorithm 1 there does."""


def logits(
    spec: Spec, weights: Mapping[str, np.ndarray], image_HW1: np.ndarray, keep: Sequence[float] | None = None
) -> list[float]:
    """The scores of one image; `keep` multiplies the units of the one layer that dropout acts on."""
    image: Image = image_HW1.astype(np.float64).tolist()
    if isinstance(spec, CNNSpec):
        for i in range(len(spec.channels)):
            image = _relu_image(_convolve(image, weights[f"conv.{i}.kernel"], weights[f"conv.{i}.bias"]))
        image = _max_pool(image)
    x = [number for row in image for pixel in row for number in pixel]
    if keep is not None and isinstance(spec, CNNSpec):
        x = [number * k for number, k in zip(x, keep, strict=True)]
    layers = len(spec.hidden_dims) + 1 if isinstance(spec, MLPSpec) else 2
    for i in range(layers):
        kernel, bias = weights[f"dense.{i}.kernel"].tolist(), weights[f"dense.{i}.bias"].tolist()
        x = [bias[o] + sum(x[c] * kernel[c][o] for c in range(len(x))) for o in range(len(bias))]
        if i < layers - 1:
            x = [max(number, 0.0) for number in x]
            if keep is not None and isinstance(spec, MLPSpec):
                x = [number * k for number, k in zip(x, keep, strict=True)]
    return x


def loss(spec: Spec, weights: Mapping[str, np.ndarray], batch: Batch) -> float:
    """Mean over the batch of -log(exp(logit of the label) / Σ exp(logits)), nats."""
    total = 0.0
    for image, label in zip(batch.images_BHW1, batch.labels_B, strict=True):
        total += _cross_entropy(logits(spec, weights, image), label)
    return total / len(batch.labels_B)


def losses_under_dropout(
    spec: Spec, weights: Mapping[str, np.ndarray], batch: Batch, units: int
) -> list[tuple[float, float]]:
    """(probability, loss of the first image) of each of the 2^units ways to drop units.

    The units that are kept are scaled by 1 / (1 - rate). Source: Srivastava et al. 2014.
    """
    ways = []
    for kept in itertools.product((0, 1), repeat=units):
        probability = (1 - spec.dropout) ** sum(kept) * spec.dropout ** (units - sum(kept))
        scores = logits(spec, weights, batch.images_BHW1[0], [k / (1 - spec.dropout) for k in kept])
        ways.append((probability, _cross_entropy(scores, int(batch.labels_B[0]))))
    return ways


def _cross_entropy(scores: list[float], label: int) -> float:
    return -math.log(math.exp(scores[label]) / sum(math.exp(score) for score in scores))


def slope(
    loss_of: Callable[[Mapping[str, np.ndarray]], float],
    weights: Mapping[str, np.ndarray],
    name: str,
    direction: np.ndarray,
    width: float = 1e-5,
) -> float:
    """The slope of the loss as one tensor moves along `direction`: a central difference, error O(width²).

    It equals the sum of gradient · direction, so one quotient tests every element of the tensor.
    """
    losses = []
    for sign in (1, -1):
        moved = {key: np.array(array, np.float64) for key, array in weights.items()}
        moved[name] += sign * width * direction
        losses.append(loss_of(moved))
    return (losses[0] - losses[1]) / (2 * width)


def train(
    config: TrainConfig,
    weights: Mapping[str, np.ndarray],
    batches: list[Batch],
    gradients_of: Callable[[Mapping[str, np.ndarray], Batch], tuple[float, dict[str, np.ndarray]]],
    statistics_of: Callable[[Mapping[str, np.ndarray], Batch], dict[str, np.ndarray]],
    terms_of: Callable[[Batch], int],
    *,
    epsilon_hat: bool = False,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The weights after one update per batch, from the optimizers' published formulas, and the loss of each step.

    Args:
        config: how to train.
        weights: the weights before the first step.
        batches: the batch of each step.
        gradients_of: loss and gradients of a batch.
        statistics_of: the running statistics after a batch; they have no gradient.
        terms_of: the number that the loss of a batch is divided by.
        epsilon_hat: adds the epsilon of AdamW and Adam before the bias correction, see `EPSILON_HAT`.

    With `config.accumulate`, sums and numbers of terms are added up over the parts of a batch, and divided once.

    Sources: Loshchilov & Hutter 2019, algorithm 2 (AdamW); Kingma & Ba 2015, algorithm 1 (Adam); Sutskever et al. 2013
    (momentum and Nesterov's); Tieleman & Hinton 2012 (RMSprop); Pascanu et al. 2013 (clipping); Smith & Topin 2019 (one
    cycle).
    """
    w = {name: np.array(array, np.float64) for name, array in weights.items()}
    first = {name: np.zeros_like(array) for name, array in w.items()}
    second = {name: np.zeros_like(array) for name, array in w.items()}
    losses = []
    for step, batch in enumerate(batches):
        above, below, g = 0.0, 0, {}
        for part in _parts(batch, config.accumulate):
            part_loss, part_gradients = gradients_of(w, part)
            above, below = above + part_loss * max(1, terms_of(part)), below + terms_of(part)
            for name, part_gradient in part_gradients.items():
                g[name] = g.get(name, 0.0) + part_gradient * max(1, terms_of(part))
            w |= statistics_of(w, part)
        losses.append(above / max(1, below))
        g = {name: total / max(1, below) for name, total in g.items()}
        norm = math.sqrt(sum(float(np.square(gradient).sum()) for gradient in g.values()))
        shrink = config.clip_norm / norm if config.clip_norm and norm > config.clip_norm else 1.0
        rate = _rate(config, step, len(batches))
        for name in g:
            gradient = shrink * g[name]
            if config.optimizer in ("sgd", "sgd_nesterov"):
                first[name] = 0.9 * first[name] + gradient
                ahead = config.optimizer == "sgd_nesterov"
                w[name] = w[name] - rate * (gradient + 0.9 * first[name] if ahead else first[name])
                continue
            if config.optimizer == "rmsprop":
                second[name] = 0.9 * second[name] + 0.1 * gradient**2
                w[name] = w[name] - rate * gradient / (np.sqrt(second[name]) + 1e-8)
                continue
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, square = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            # √v + ε̂, divided by the correction √(1 - β₂^t), is √(corrected v) + ε̂ / √(1 - β₂^t)
            epsilon = 1e-8 / math.sqrt(1 - 0.999 ** (step + 1)) if epsilon_hat else 1e-8
            decay = config.weight_decay if name.endswith("kernel") and config.optimizer == "adamw" else 0.0
            w[name] = w[name] - rate * (mean / (np.sqrt(square) + epsilon) + decay * w[name])
    return w, losses


def _parts(batch: Batch, count: int) -> list[Batch]:
    """Consecutive examples, in parts whose sizes differ by at most one."""
    parts, first, size = [], 0, len(batch.images_BHW1)
    for i in range(1, count + 1):
        chosen = list(range(first, i * size // count))
        parts.append(replace(batch, **{name: array[chosen] for name, array in vars(batch).items()}))
        first = i * size // count
    return parts


def _rate(config: TrainConfig, step: int, steps: int) -> float:
    if config.schedule == "constant":
        return float(np.float32(config.learning_rate))
    top = max(1, round(0.3 * steps))
    if step < top:
        share = 0.04 + 0.96 * (1 - math.cos(math.pi * step / top)) / 2
    else:
        share = (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2
    return float(np.float32(config.learning_rate * share))  # every implementation has its table of rates in float32


def _convolve(image: Image, kernel: np.ndarray, bias: np.ndarray) -> Image:
    height, width, channels = len(image), len(image[0]), len(image[0][0])
    k, b = kernel.tolist(), bias.tolist()

    def pixel(row: int, column: int, out: int) -> float:
        total = b[out]
        for i in range(3):
            for j in range(3):
                y, x = row + i - 1, column + j - 1
                if 0 <= y < height and 0 <= x < width:
                    total += sum(image[y][x][c] * k[i][j][c][out] for c in range(channels))
        return total

    return [[[pixel(y, x, o) for o in range(len(b))] for x in range(width)] for y in range(height)]


def _relu_image(image: Image) -> Image:
    return [[[max(number, 0.0) for number in pixel] for pixel in row] for row in image]


def _max_pool(image: Image) -> Image:
    return [
        [
            [
                max(image[y][x][c], image[y][x + 1][c], image[y + 1][x][c], image[y + 1][x + 1][c])
                for c in range(len(image[0][0]))
            ]
            for x in range(0, len(image[0]) // 2 * 2, 2)
        ]
        for y in range(0, len(image) // 2 * 2, 2)
    ]
