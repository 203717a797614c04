"""The stem of the rungs that read lines: convolution → batch norm → ReLU → zero past each line's own width."""

# B batch, H height, W width, C channels, T frames, X pixels of the batch (B times H times W)

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec


# --- layers
class MaskedNormalization(torch.autograd.Function):
    """Batch norm by the mean and the biased variance of the kept pixels → ReLU → zero elsewhere.

    Source: Ioffe & Szegedy 2015. All passes over a few pixels follow each other while these are in the processor's
    cache, and the backward is written out (16 lines of 32×544 pixels, 32 channels, one core, forward and backward: 71
    ms; the same passes over all pixels at once 129 ms; with ReLU and mask by autograd 162 ms).
    """

    @staticmethod
    def forward(ctx: Any, x_XC: Tensor, weight_C: Tensor, bias_C: Tensor, keep_1X: Tensor) -> tuple[Tensor, ...]:
        """Result (X, C), mean (C,) and variance (C,); `keep_1X` is 1 for kept pixels, 0 for others."""
        keep_X1, count = keep_1X.t(), keep_1X.sum()
        # products and sums and no matrix product, which under autocast would have three digits
        mean_C = sum((x_XC[few] * keep_X1[few]).sum(0) for few in slices(x_XC)) / count
        squares = ((x_XC[few] - mean_C).square_().mul_(keep_X1[few]).sum(0) for few in slices(x_XC))
        variance_C = sum(squares) / count
        inverse_C = (variance_C + NORM_EPSILON).rsqrt()
        y_XC = torch.empty_like(x_XC)
        for few in slices(x_XC):
            centered_XC = torch.sub(x_XC[few], mean_C, out=y_XC[few])
            centered_XC.mul_(weight_C * inverse_C).add_(bias_C).relu_().mul_(keep_X1[few])
        ctx.save_for_backward(x_XC, y_XC, mean_C, inverse_C, weight_C, keep_1X, count)
        ctx.mark_non_differentiable(mean_C, variance_C)
        return y_XC, mean_C, variance_C

    @staticmethod
    def backward(ctx: Any, dy_XC: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """dx, dweight, dbias; only kept pixels count."""
        x_XC, y_XC, mean_C, inverse_C, weight_C, keep_1X, count = ctx.saved_tensors
        dbias_C, dweight_C, dx_XC = torch.zeros_like(mean_C), torch.zeros_like(mean_C), torch.empty_like(x_XC)
        for few in slices(x_XC):
            # ReLU's own backward: no gradient where ReLU or the mask made the result zero
            dy = torch.ops.aten.threshold_backward.grad_input(dy_XC[few], y_XC[few], 0, grad_input=dx_XC[few])
            dbias_C += dy.sum(0)
            dweight_C += (x_XC[few] - mean_C).mul_(dy).sum(0)
        dweight_C *= inverse_C
        # the mean and the variance depend on every kept pixel
        for few in slices(x_XC):
            shared_XC = (x_XC[few] - mean_C).mul_(inverse_C * dweight_C / count).add_(dbias_C / count)
            dx_XC[few].sub_(shared_XC).mul_(weight_C * inverse_C).mul_(keep_1X[:, few].t())
        return dx_XC, dweight_C, dbias_C, None


CACHED_NUMBERS = 1 << 17
"""Numbers of an array that stay in a core's cache while a few operations pass over them."""


def slices(x_XC: Tensor) -> list[slice]:
    """Pixels to take at a time: a few on a CPU, all on a GPU, which is fast when it has much to do."""
    step = max(1, CACHED_NUMBERS // x_XC.shape[1]) if x_XC.device.type == "cpu" else len(x_XC)
    return [slice(start, start + step) for start in range(0, len(x_XC), step)]


class BatchNorm(nn.Module):
    """Batch norm of pixels (X, C) → ReLU → zero where `keep_1X` is 0. Only pixels with a 1 in `keep_1X` count.

    PyTorch's own has no mask, keeps the unbiased variance, and sums a channels-last batch in one float32, which for
    130,000 pixels has a relative error of 1e-5.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("mean", torch.empty(channels))
        self.register_buffer("variance", torch.empty(channels))

    def forward(self, x_XC: Tensor, keep_1X: Tensor, *, batch_statistics: bool) -> Tensor:
        if not batch_statistics:
            x_XC = F.batch_norm(x_XC, self.mean, self.variance, self.weight, self.bias, eps=NORM_EPSILON)
            return F.relu(x_XC * keep_1X.t(), inplace=True)
        # under autocast, the convolution's result is in bfloat16
        x_XC, keep_1X = x_XC.to(self.weight.dtype), keep_1X.to(self.weight.dtype)
        y_XC, mean_C, variance_C = MaskedNormalization.apply(x_XC, self.weight, self.bias, keep_1X)
        if self.training:
            self.mean.lerp_(mean_C, BATCH_NORM_MOMENTUM)
            self.variance.lerp_(variance_C, BATCH_NORM_MOMENTUM)
        return y_XC


class StemBlock(nn.Module):
    """Convolution without bias → batch norm → ReLU → zero past each line's own width."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            block.fan_in,
            block.channels,
            (block.rows, block.columns),
            block.strides,
            padding=(block.padding, block.columns // 2),
            bias=False,
        )
        self.norm = BatchNorm(block.channels)

    def forward(self, x_BCHW: Tensor, widths_B: Tensor, *, batch_statistics: bool) -> Tensor:
        x_BHWC = self.conv(x_BCHW).permute(0, 2, 3, 1)
        keep_BW = keep_first(widths_B, x_BHWC.shape[2])
        # masks, not indices of the kept pixels: a GPU would have to report how many there are
        keep_1X = keep_BW[:, None].expand(x_BHWC.shape[:3]).reshape(1, -1).to(x_BHWC.dtype)
        x_XC = self.norm(x_BHWC.flatten(0, 2), keep_1X, batch_statistics=batch_statistics)
        return x_XC.view_as(x_BHWC).permute(0, 3, 1, 2)


# --- model
class Stem(nn.ModuleList):
    """Images (B, H, W, 1) and their widths (B,) to frames (B, T, C), and the number of each line's own frames (B,).

    With `batch_statistics`, batch norm uses the batch's own mean and variance; in training mode they also move the
    running ones. Without, it uses the running ones.
    """

    def __init__(self, spec: LineSpec) -> None:
        super().__init__(StemBlock(block) for block in spec.stem)
        self.column_strides = [block.strides[1] for block in spec.stem]
        # shapes stay (B, C, H, W), memory is ordered (B, H, W, C): a third of the time on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images_BHW1: Tensor, widths_B: Tensor, *, batch_statistics: bool) -> tuple[Tensor, Tensor]:
        x_BCHW = images_BHW1.permute(0, 3, 1, 2)
        widths_B = widths_B.to(images_BHW1.device, non_blocking=True)
        for block, stride in zip(self, self.column_strides, strict=True):
            widths_B = -(-widths_B // stride)
            x_BCHW = block(x_BCHW, widths_B, batch_statistics=batch_statistics)
        # the maximum over a single row is that row
        return x_BCHW.amax(2).transpose(1, 2), widths_B


def keep_first(lengths_B: Tensor, total: int) -> Tensor:
    """Mask (B, total), bool: True in the first `lengths_B` places of each row."""
    return torch.arange(total, device=lengths_B.device) < lengths_B[:, None]


# --- loss: see lstm_ctc.py and transformer.py


# --- training step: shared by all rungs, see train.fit


# --- weights
def canonical(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Canonical name and axes of a tensor of the stem: convolution (kh, kw, in, out), not (out, in, kh, kw)."""
    if tensor.ndim == 4:
        return name.replace("conv.weight", "kernel"), tensor.permute(2, 3, 1, 0)
    return name.replace("norm.weight", "scale").replace("norm.", ""), tensor
