"""The stem of the rungs that read lines: convolution → batch norm → ReLU, for lines of different widths."""

# B batch, H height, W width, C channels, P pixels that are a line's own, T frames

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import BATCH_NORM_MOMENTUM, NORM_EPSILON, Block, LineSpec


# --- layers
class BatchNorm(nn.Module):
    """Batch norm of pixels (P, C). Source: Ioffe & Szegedy 2015.

    Written out, because PyTorch's own adds up a channels-last batch in one float32, which at 130,000 pixels leaves
    relative errors of 1e-5, and keeps the unbiased variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("mean", torch.empty(channels))
        self.register_buffer("variance", torch.empty(channels))

    def forward(self, x_PC: Tensor, *, batch_statistics: bool) -> Tensor:
        if not batch_statistics:
            return F.batch_norm(x_PC, self.mean, self.variance, self.weight, self.bias, eps=NORM_EPSILON)
        mean_C = x_PC.mean(0)
        centred_PC = x_PC - mean_C
        variance_C = (centred_PC * centred_PC).mean(0)
        if self.training:
            self.mean.lerp_(mean_C.detach(), BATCH_NORM_MOMENTUM)
            self.variance.lerp_(variance_C.detach(), BATCH_NORM_MOMENTUM)
        return torch.addcmul(self.bias, centred_PC, self.weight * (variance_C + NORM_EPSILON).rsqrt())


class StemBlock(nn.Module):
    """Convolution without bias → batch norm → ReLU → zero past each line's own width."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            block.fan_in, block.channels, (block.rows, 3), block.stride, padding=(block.padding, 1), bias=False
        )
        self.norm = BatchNorm(block.channels)

    def forward(self, x_BCHW: Tensor, widths_B: Tensor, *, batch_statistics: bool) -> Tensor:
        x_BHWC = self.conv(x_BCHW).permute(0, 2, 3, 1)
        # the lines' own pixels are taken out and put back among zeros: faster than masks, and the norm sees no others
        keep_BHW = keep_first(widths_B, x_BHWC.shape[2])[:, None].expand(x_BHWC.shape[:3])
        own_P = keep_BHW.flatten().nonzero()[:, 0]
        x_PC = self.norm(x_BHWC.flatten(0, 2).index_select(0, own_P), batch_statistics=batch_statistics)
        y_BHWC = torch.zeros_like(x_BHWC)
        y_BHWC.view(-1, x_PC.shape[1]).index_copy_(0, own_P, F.relu(x_PC, inplace=True))
        return y_BHWC.permute(0, 3, 1, 2)


# --- model
class Stem(nn.ModuleList):
    """Images (B, H, W, 1) and their widths (B,) to frames (B, T, C), and how many are a line's own (B,).

    With `batch_statistics`, batch norm is by the batch's own mean and variance, which also move the running ones while
    the module trains; without, it is by the running ones.
    """

    def __init__(self, spec: LineSpec) -> None:
        super().__init__(StemBlock(block) for block in spec.stem)
        self.strides = [block.stride for block in spec.stem]
        # shapes stay (B, C, H, W), memory is ordered (B, H, W, C): a third of the time on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images_BHW1: Tensor, widths_B: Tensor, *, batch_statistics: bool) -> tuple[Tensor, Tensor]:
        x_BCHW = images_BHW1.permute(0, 3, 1, 2)
        for block, stride in zip(self, self.strides, strict=True):
            widths_B = -(-widths_B // stride)
            x_BCHW = block(x_BCHW, widths_B, batch_statistics=batch_statistics)
        return x_BCHW.squeeze(2).transpose(1, 2), widths_B


def keep_first(lengths_B: Tensor, total: int) -> Tensor:
    """(B, total), True for so many places from the first on."""
    return torch.arange(total, device=lengths_B.device) < lengths_B[:, None]


# --- loss: of the rungs


# --- training step: the same for every rung, see train.fit


# --- weights
def canonical(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Name and axes of a tensor of the stem: convolution (kh, kw, in, out), not (out, in, kh, kw)."""
    if tensor.ndim == 4:
        return name.replace("conv.weight", "kernel"), tensor.permute(2, 3, 1, 0)
    return name.replace("norm.weight", "scale").replace("norm.", ""), tensor
