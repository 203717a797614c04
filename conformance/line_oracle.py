"""The line rungs computed by hand, one number at a time, from their definitions.

Like `conformance.oracle`, this is plain Python and slow on purpose. Each line is computed at its own width, so there is
no padding that could leak into a result. Only batch norm looks at the whole batch.
"""

# B batch, T frames, K classes

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from common.batch import LineBatch
from common.spec import LineSpec, LSTMCTCSpec, Spec, TransformerSpec

Weights = Mapping[str, np.ndarray]
Image = list[list[list[float]]]  # row, column, channel
Rows = list[list[float]]
Keep = Iterator[float]

# Written down here again and not imported from the spec, which they are to check. Source: the defaults of
# torch.nn.BatchNorm2d and torch.nn.LayerNorm, which the ladder takes for all frameworks
NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1  # the share of the batch; Keras and Flax count the share of the past, 0.9

WAYS = 4000
"""Largest number of ways to drop units that are all computed; of more, as many are drawn."""


def logits(spec: Spec, weights: Weights, batch: LineBatch) -> list[Rows]:
    """Each line's scores per frame or per character when reading: batch norm uses its running statistics."""
    memories = [frames for frames, _ in _stem(spec, weights, _images(batch), training=False)]
    return [_scores(spec, weights, frames, label) for frames, label in zip(memories, _labels(batch), strict=True)]


def loss(spec: Spec, weights: Weights, batch: LineBatch, keep: Sequence[float] | None = None) -> float:
    """The loss of a training step, nats; `keep` multiplies, in order, the units that dropout acts on."""
    multipliers = None if keep is None else iter(keep)
    total, count = 0.0, 0
    stem = _stem(spec, weights, _images(batch), training=True)
    for (frames, _), label in zip(stem, _labels(batch), strict=True):
        scores = _scores(spec, weights, frames, label, multipliers)
        if isinstance(spec, LSTMCTCSpec):
            total -= math.log(ctc_probability([_softmax(row) for row in scores], label))
            if spec.shortcut_weight:
                scores = _shortcut(weights, frames)
                total -= spec.shortcut_weight * math.log(ctc_probability([_softmax(row) for row in scores], label))
            count += len(label)
        else:
            total -= sum(math.log(_softmax(row)[k]) for row, k in zip(scores, [*label, 0], strict=True))
            count += len(label) + 1
    return total / max(1, count)


def running_statistics(spec: LineSpec, weights: Weights, batch: LineBatch) -> dict[str, np.ndarray]:
    """The running means and variances after a training step on the batch."""
    (_, statistics), *_ = _stem(spec, weights, _images(batch), training=True)
    share = BATCH_NORM_MOMENTUM
    return {name: (1 - share) * weights[name] + share * np.array(seen) for name, seen in statistics.items()}


def losses_under_dropout(spec: LineSpec, weights: Weights, batch: LineBatch, units: int) -> list[tuple[float, float]]:
    """(probability, loss) of each way to drop units, the kept ones scaled by 1 / (1 - rate).

    There are 2^units ways. If they are more than `WAYS`, a sample of `WAYS` stands for them, each equally probable.
    """
    rates = _rates(spec, units)
    if 2**units <= WAYS:
        ways = list(itertools.product((0, 1), repeat=units))
        shares = [math.prod(1 - r if k else r for k, r in zip(kept, rates, strict=True)) for kept in ways]
    else:
        ways = (np.random.default_rng(17).random((WAYS, units)) >= np.array(rates)).astype(int).tolist()
        shares = [1 / WAYS] * WAYS
    losses = [loss(spec, weights, batch, [k / (1 - r) for k, r in zip(kept, rates, strict=True)]) for kept in ways]
    return list(zip(shares, losses, strict=True))


def _rates(spec: LineSpec, units: int) -> list[float]:
    """The share that is dropped, per unit: the last layer of `lstm_ctc` may have a share of its own."""
    if not isinstance(spec, LSTMCTCSpec) or spec.head_dropout is None:
        return [spec.dropout] * units
    of_last = units // spec.num_layers
    return [spec.dropout] * (units - of_last) + [spec.head_dropout] * of_last


def ctc_probability(probabilities_TK: Rows, label: Sequence[int]) -> float:
    """The probability of a label: the sum, over all alignments that spell it, of the product of their probabilities.

    An alignment gives each frame a class. It spells what remains when repeats are merged and then blanks (class 0) are
    removed. Alignments that have spelt the same number of characters and end with the same class are added up, frame by
    frame. Source: Graves et al. 2006, equation 3.
    """
    alignments = {(0, 0): 1.0}  # (characters spelt, class of the last frame) -> probability
    for row in probabilities_TK:
        longer: dict[tuple[int, int], float] = {}
        for (spelt, last), probability in alignments.items():
            for k, share in enumerate(row):
                if k in (0, last):
                    now = spelt
                elif spelt < len(label) and k == label[spelt]:
                    now = spelt + 1
                else:
                    continue
                longer[now, k] = longer.get((now, k), 0.0) + probability * share
        alignments = longer
    return sum(probability for (spelt, _), probability in alignments.items() if spelt == len(label))


def _images(batch: LineBatch) -> list[Image]:
    return [
        image[:, :width].astype(np.float64).tolist()
        for image, width in zip(batch.images_BHW1, batch.widths_B, strict=True)
    ]


def _labels(batch: LineBatch) -> list[list[int]]:
    return [label[:n].tolist() for label, n in zip(batch.labels_BL, batch.label_lengths_B, strict=True)]


# --- stem
def _stem(
    spec: LineSpec, weights: Weights, images: list[Image], *, training: bool
) -> list[tuple[Rows, dict[str, list[float]]]]:
    """The frames of each line, and the batch's means and variances by name."""
    statistics: dict[str, list[float]] = {}
    for i, block in enumerate(spec.stem):
        kernel = weights[f"stem.{i}.kernel"].tolist()
        images = [_convolve(image, kernel, block.strides, block.padding) for image in images]
        pixels = [pixel for image in images for row in image for pixel in row]
        mean = [sum(p[c] for p in pixels) / len(pixels) for c in range(block.channels)]
        variance = [sum((p[c] - mean[c]) ** 2 for p in pixels) / len(pixels) for c in range(block.channels)]
        statistics |= {f"stem.{i}.mean": mean, f"stem.{i}.variance": variance}
        if not training:
            mean, variance = weights[f"stem.{i}.mean"].tolist(), weights[f"stem.{i}.variance"].tolist()
        scale, bias = weights[f"stem.{i}.scale"].tolist(), weights[f"stem.{i}.bias"].tolist()
        root = [math.sqrt(v + NORM_EPSILON) for v in variance]
        images = [
            [
                [
                    [max(0.0, scale[c] * (p[c] - mean[c]) / root[c] + bias[c]) for c in range(block.channels)]
                    for p in row
                ]
                for row in image
            ]
            for image in images
        ]
    # the largest of each column; where the last convolution is as high as the image, a column has one number
    return [
        ([[max(numbers) for numbers in zip(*column, strict=True)] for column in zip(*image, strict=True)], statistics)
        for image in images
    ]


def _convolve(image: Image, kernel: list, strides: tuple[int, int], padding: int) -> Image:
    height, width, channels = len(image), len(image[0]), len(image[0][0])
    rows, out = len(kernel), len(kernel[0][0][0])

    def pixel(top: int, left: int) -> list[float]:
        total = [0.0] * out
        for i, j in itertools.product(range(rows), range(3)):
            y, x = top + i, left + j
            if 0 <= y < height and 0 <= x < width:
                for c in range(channels):
                    for o in range(out):
                        total[o] += image[y][x][c] * kernel[i][j][c][o]
        return total

    tops = range(-padding, height + padding - rows + 1, strides[0])
    return [[pixel(top, left) for left in range(-1, width - 1, strides[1])] for top in tops]


# --- frames to scores
def _scores(spec: Spec, weights: Weights, frames: Rows, label: list[int], keep: Keep | None = None) -> Rows:
    if isinstance(spec, LSTMCTCSpec):
        for i in range(spec.num_layers):
            forward = _lstm(weights, f"lstm.{i}.forward", frames)
            backward = _lstm(weights, f"lstm.{i}.backward", frames[::-1])[::-1]
            frames = [_drop(left + right, keep) for left, right in zip(forward, backward, strict=True)]
        return _dense(weights, "head", frames)
    assert isinstance(spec, TransformerSpec)
    return _decoder(spec, weights, frames, label, keep)


def _shortcut(weights: Weights, frames: Rows) -> Rows:
    """Scores from each frame and its two neighbours; beside the line there are frames of zeros."""
    kernel, bias = weights["shortcut.kernel"].transpose(0, 2, 1).tolist(), weights["shortcut.bias"].tolist()
    nothing = [0.0] * len(frames[0])
    padded = [nothing, *frames, nothing]
    return [
        [b + sum(_dot(padded[t + j], kernel[j][k]) for j in range(3)) for k, b in enumerate(bias)]
        for t in range(len(frames))
    ]


def _lstm(weights: Weights, name: str, frames: Rows) -> Rows:
    kernel, recurrent = weights[f"{name}.kernel"].tolist(), weights[f"{name}.recurrent_kernel"].tolist()
    bias, width = weights[f"{name}.bias"].tolist(), len(recurrent)
    h, c, outputs = [0.0] * width, [0.0] * width, []
    for x in frames:
        z = [
            bias[n]
            + sum(x[i] * kernel[i][n] for i in range(len(x)))
            + sum(h[i] * recurrent[i][n] for i in range(width))
            for n in range(4 * width)
        ]
        i, f, o = ([_sigmoid(z[gate * width + n]) for n in range(width)] for gate in (0, 1, 3))
        g = [math.tanh(z[2 * width + n]) for n in range(width)]
        c = [f[n] * c[n] + i[n] * g[n] for n in range(width)]
        h = [o[n] * math.tanh(c[n]) for n in range(width)]
        outputs.append(h)
    return outputs


def _decoder(spec: TransformerSpec, weights: Weights, frames: Rows, label: list[int], keep: Keep | None) -> Rows:
    width = spec.model_dim
    memory = [_sum(frame, _position(t, width)) for t, frame in enumerate(frames)]
    table = weights["embedding.kernel"].tolist()
    embedded = [[math.sqrt(width) * number for number in table[k]] for k in [0, *label]]
    x = [_drop(_sum(row, _position(n, width)), keep) for n, row in enumerate(embedded)]
    for i in range(spec.num_layers):
        name = f"decoder.{i}"
        normed = _norm(weights, f"{name}.self_attention_norm", x)
        added = _attention(spec, weights, f"{name}.self_attention", normed, normed, causal=True)
        x = [_sum(row, _drop(more, keep)) for row, more in zip(x, added, strict=True)]
        normed = _norm(weights, f"{name}.cross_attention_norm", x)
        added = _attention(spec, weights, f"{name}.cross_attention", normed, memory, causal=False)
        x = [_sum(row, _drop(more, keep)) for row, more in zip(x, added, strict=True)]
        hidden = _dense(weights, f"{name}.feed_forward.0", _norm(weights, f"{name}.feed_forward_norm", x))
        added = _dense(weights, f"{name}.feed_forward.1", [[max(0.0, n) for n in row] for row in hidden])
        x = [_sum(row, _drop(more, keep)) for row, more in zip(x, added, strict=True)]
    return _dense(weights, "head", _norm(weights, "decoder.norm", x))


def _attention(spec: TransformerSpec, weights: Weights, name: str, x: Rows, memory: Rows, *, causal: bool) -> Rows:
    queries, keys, values = (
        _dense(weights, f"{name}.{part}", rows) for part, rows in (("query", x), ("key", memory), ("value", memory))
    )
    size = spec.model_dim // spec.num_heads
    joined: Rows = [[] for _ in x]
    for head in range(spec.num_heads):
        own = slice(head * size, (head + 1) * size)
        for n, query in enumerate(queries):
            seen = n + 1 if causal else len(memory)
            weight = _softmax([_dot(query[own], key[own]) / math.sqrt(size) for key in keys[:seen]])
            joined[n] += [_dot(weight, [value[own][d] for value in values[:seen]]) for d in range(size)]
    return _dense(weights, f"{name}.output", joined)


def _position(n: int, width: int) -> list[float]:
    return [(math.sin, math.cos)[d % 2](n / 10_000 ** ((d - d % 2) / width)) for d in range(width)]


def _norm(weights: Weights, name: str, rows: Rows) -> Rows:
    scale, bias, normed = weights[f"{name}.scale"].tolist(), weights[f"{name}.bias"].tolist(), []
    for row in rows:
        mean = sum(row) / len(row)
        root = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + NORM_EPSILON)
        normed.append([scale[d] * (x - mean) / root + bias[d] for d, x in enumerate(row)])
    return normed


def _dense(weights: Weights, name: str, rows: Rows) -> Rows:
    columns = weights[f"{name}.kernel"].T.tolist()
    bias = weights[f"{name}.bias"].tolist() if f"{name}.bias" in weights else [0.0] * len(columns)
    return [[b + _dot(row, column) for column, b in zip(columns, bias, strict=True)] for row in rows]


def _drop(row: list[float], keep: Keep | None) -> list[float]:
    return row if keep is None else [x * next(keep) for x in row]


def _softmax(row: list[float]) -> list[float]:
    powers = [math.exp(x - max(row)) for x in row]
    return [power / sum(powers) for power in powers]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _sum(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]
