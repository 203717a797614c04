"""What the tests beside this file assert, measured in a process that holds no other framework.

`python measures.py FUNCTION RUNG` prints what the function returns, as JSON.
"""

# B batch, W width

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, export
from torch.utils._python_dispatch import TorchDispatchMode

import impl_pytorch
from common.spec import CNNSpec, LineSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec, UNetSpec, positions
from impl_pytorch import stem
from impl_pytorch.recognizer import MODELS, MODULES
from impl_pytorch.stem import MaskedNormalization
from impl_pytorch.transformer import TABLE_LENGTH, Positions

LINES: dict[str, Any] = {"num_classes": 6, "height": 5, "stem_channels": (3, 3), "stem_strides": (2, 1)}
SPECS: dict[str, Spec] = {
    "mlp": MLPSpec(num_classes=7, height=9, width=7, hidden_dims=(12, 12)),
    "cnn": CNNSpec(num_classes=7, height=9, width=7, channels=(3, 3), hidden_dim=12),
    "lstm_ctc": LSTMCTCSpec(frame_dim=4, hidden_dim=4, **LINES),
    "transformer": TransformerSpec(model_dim=8, num_layers=1, num_heads=2, feed_forward_dim=8, **LINES),
    "unet": UNetSpec(channels=(3, 4)),
}
BATCHES, WIDTHS = (3, 5), (23, 40)


# --- torch.export
def exported(rung: str) -> dict[str, float]:
    """Largest difference from the eager logits per batch size and width, of one exported program if possible."""
    model, found = built(rung), {}
    for width in WIDTHS:
        # the frames of an LSTM and the size of a page are fixed by export, so each width has a program of its own
        traced_width = width if rung in ("lstm_ctc", "unet") else WIDTHS[0]
        axes = dynamic_axes(rung, width=rung == "transformer")
        program = export(model, inputs(rung, BATCHES[0], traced_width), dynamic_shapes=axes).module()
        for batch in BATCHES:
            found[f"{batch} of width {width}"] = difference(program, model, inputs(rung, batch, width))
    return found


def refused(rung: str) -> str:
    """The error of a program that was exported for any width when it meets another width, or an empty text."""
    program = export(built(rung), inputs(rung, 3, WIDTHS[0]), dynamic_shapes=dynamic_axes(rung, width=True)).module()
    try:
        program(*inputs(rung, 3, WIDTHS[1]))
    except AssertionError as error:
        return str(error)
    return ""


# --- torch.compile
def compiled(rung: str) -> dict[str, float]:
    """Largest difference from the eager logits per batch size and width, of one compiled model."""
    model = built(rung)
    # nn.LSTM is not compiled but called, so the graph of lstm_ctc has a break there
    program = torch.compile(model, fullgraph=rung != "lstm_ctc")
    found = {}
    with torch.inference_mode():
        for batch, width in product(BATCHES, WIDTHS):
            tensors = inputs(rung, batch, width)
            for tensor, axes in zip(tensors, dynamic_axes(rung, width=isinstance(SPECS[rung], LineSpec)), strict=True):
                for axis in axes:
                    torch._dynamo.mark_dynamic(tensor, axis)
            found[f"{batch} of width {width}"] = difference(program, model, tensors)
    return found


# --- a GPU that is not there
class Recorder(TorchDispatchMode):
    """Notes the copies to another device that the CPU would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        moved = args and isinstance(args[0], Tensor) and kwargs.get("device") not in (None, args[0].device)
        if moved and not kwargs.get("non_blocking"):
            self.waits.append(str(func))
        return func(*args, **kwargs)


def waits(rung: str) -> list[str]:
    """Copies in a training step (forward, loss, backward, clipping) for which the CPU would wait for a GPU.

    The meta device plays the GPU: its tensors have no numbers, so an operation that must read one raises an error.
    CTC cannot run there, so the loss of lstm_ctc is the sum of its logits.
    """
    with torch.device("meta"):
        model = MODELS[rung](SPECS[rung]).train()
    images, *integers = inputs(rung, 3, 23, training=True)
    with Recorder() as recorder:
        images = images.to("meta", non_blocking=True)
        if rung == "lstm_ctc":
            loss = model(images, integers[0], batch_statistics=True).sum()
        else:
            loss = MODULES[rung].loss(model, images, *integers)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert loss.is_meta, "the step did not run on the meta device"
    return recorder.waits


# --- batch norm, precision and positions
def gradcheck(_: str) -> bool:
    """Whether the hand-written derivative of the masked batch norm and ReLU is that of finite differences."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for shape in ((9, 3), (3,), (3,))
    )
    keep = torch.tensor([[1, 1, 0, 1, 0, 1, 1, 1, 0]], dtype=torch.float64)

    def kept(*parameters: Tensor) -> Tensor:
        return MaskedNormalization.apply(*parameters, keep)[0]

    return torch.autograd.gradcheck(kept, (x, weight, bias))


def in_slices(_: str) -> float:
    """Largest relative difference between the gradients of batch norm with all pixels at once and a few at a time."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((101, 3), (3,), (3,))]
    keep, dy = (torch.rand(1, 101, generator=generator) > 0.2).float(), torch.randn(101, 3, generator=generator)
    found = []
    for numbers in (101 * 3, 24):
        stem.CACHED_NUMBERS = numbers
        found.append(torch.autograd.grad(MaskedNormalization.apply(*tensors, keep)[0], tensors, dy))
    return max(float((few - whole).norm() / whole.norm()) for whole, few in zip(*found, strict=True))


def lower_precision(rung: str) -> dict[str, Any]:
    """A training in bfloat16: dtypes of its weights, and how far its gradient is from float32's, relative."""
    found = {}
    for enabled in (False, True):
        model = built(rung).train()
        torch.manual_seed(0)  # dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = MODULES[rung].loss(model, *inputs(rung, 3, 23, training=True))
        loss.backward()
        found[enabled] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        dtypes = {str(tensor.dtype) for tensor in [*model.state_dict().values(), loss, found[enabled]]}
    return {"dtypes": sorted(dtypes), "difference": float((found[True] - found[False]).norm() / found[False].norm())}


def grown_positions(_: str) -> dict[str, Any]:
    """Positions of a line longer than the table, asked for while reading, then used in training."""
    table = Positions(4)
    table.compute()
    length = TABLE_LENGTH + 5
    with torch.inference_mode():
        rows = table(length)
    x = torch.ones(length, 4, requires_grad=True)
    (x * table(length)).sum().backward()
    expected = positions(length, 4)
    return {
        "difference": float(np.abs(rows.numpy() - expected).max()),
        "gradient": float(np.abs(x.grad.numpy() - expected).max()),
        "saved": list(table.state_dict()),
    }


# --- models and inputs
def built(rung: str) -> nn.Module:
    """A model with its initial weights, for reading."""
    return impl_pytorch.build(SPECS[rung], seed=1).model.eval()


def inputs(rung: str, batch: int, width: int, *, training: bool = False) -> tuple[Tensor, ...]:
    """What the module takes, or its loss; random, the first line as wide as the batch."""
    spec, generator = SPECS[rung], torch.Generator().manual_seed(batch + width)
    if isinstance(spec, UNetSpec):
        columns = -(-width // spec.multiple) * spec.multiple
        images = torch.rand(batch, 2 * spec.multiple, columns, 1, generator=generator)
        sizes = torch.tensor([[2 * spec.multiple - 1, width]] * batch)
        maps = torch.randint(0, 2, (batch, spec.multiple, columns // 2, spec.num_maps), generator=generator)
        return (images, sizes, maps, torch.ones(maps.shape[:3], dtype=torch.int64)) if training else (images, sizes)
    if not isinstance(spec, LineSpec):
        images = torch.rand(batch, spec.height, spec.width, 1, generator=generator)
        return (images, torch.zeros(batch, dtype=torch.int64)) if training else (images,)
    images = torch.rand(batch, spec.height, width, 1, generator=generator)
    widths = torch.randint(5, width + 1, (batch,), generator=generator)
    widths[0] = width
    labels = torch.randint(1, spec.num_classes, (batch, width // 5), generator=generator)
    labels[1, 2:] = 0
    lengths = (labels > 0).sum(1)
    return (images, widths, labels, lengths) if training else (images, widths, labels)[: 3 - (rung == "lstm_ctc")]


def dynamic_axes(rung: str, *, width: bool) -> tuple[dict[int, Any], ...]:
    """The axes of each input that may have any size: the batch, with `width` also the columns and label places."""
    batch, columns = {0: Dim.DYNAMIC}, {2: Dim.DYNAMIC} if width else {}
    places = {1: Dim.DYNAMIC} if width else {}
    axes = {
        "lstm_ctc": (batch | columns, batch),
        "transformer": (batch | columns, batch, batch | places),
        "unet": (batch, batch),
    }
    return axes.get(rung, (batch,))


def difference(program: Callable[..., Tensor], model: nn.Module, tensors: tuple[Tensor, ...]) -> float:
    """Largest difference between the logits of both."""
    with torch.no_grad():
        return float((program(*tensors) - model(*tensors)).abs().max())


if __name__ == "__main__":
    # nn.LSTM assigns a list of its weights while it is exported
    warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights", UserWarning)
    sys.stdout.write("\n" + json.dumps(globals()[sys.argv[1]](sys.argv[2])))
