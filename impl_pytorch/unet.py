"""U-Net: a page to maps of scores at half its resolution; binary cross-entropy and Dice loss."""

# B batch, H height, W width, h and w half of them, C channels, M maps, X pixels of the batch (B times H times W)

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.spec import Block, UNetSpec
from impl_pytorch.stem import BatchNorm, keep_first


# --- layers: PyTorch's own, see nn.Conv2d, F.max_pool2d, F.interpolate and nn.Linear; batch norm is in stem.py
class PageBlock(nn.Module):
    """Convolution without bias → batch norm → ReLU → zero where `keep_BHW` is zero."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        kernel, padding = (block.rows, block.columns), (block.padding, block.columns // 2)
        self.conv = nn.Conv2d(block.fan_in, block.channels, kernel, block.strides, padding, bias=False)
        self.norm = BatchNorm(block.channels)

    def forward(self, x_BCHW: Tensor, keep_BHW: Tensor, *, batch_statistics: bool) -> Tensor:
        x_BHWC = self.conv(x_BCHW).permute(0, 2, 3, 1)
        keep_1X = keep_BHW.reshape(1, -1)
        x_XC = self.norm(x_BHWC.flatten(0, 2), keep_1X, batch_statistics=batch_statistics)
        return x_XC.view_as(x_BHWC).permute(0, 3, 1, 2)


def keep_masks(sizes_B2: Tensor, height: int, width: int, levels: int, like: Tensor) -> list[Tensor]:
    """Per level from half the resolution down, a mask (B, rows, columns) in the dtype of `like`: 1 on a page's own."""
    masks = []
    for _ in range(levels):
        sizes_B2, height, width = -(-sizes_B2 // 2), -(-height // 2), -(-width // 2)
        rows_BH, columns_BW = keep_first(sizes_B2[:, 0], height), keep_first(sizes_B2[:, 1], width)
        masks.append((rows_BH[:, :, None] & columns_BW[:, None, :]).to(like.dtype))
    return masks


# --- model
class UNet(nn.Module):
    """Pages (B, H, W, 1) and their sizes (B, 2) to logits (B, h, w, M), zero past a page's own size.

    H and W are multiples of `spec.multiple`.
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        blocks = dict(spec.blocks())
        self.enter = PageBlock(blocks["enter"])
        self.down, self.up = (
            nn.ModuleList(
                nn.ModuleList(PageBlock(blocks[f"{side}.{level}.{i}"]) for i in range(2)) for level in range(levels)
            )
            for side, levels in (("down", len(spec.channels)), ("up", len(spec.channels) - 1))
        )
        self.head = nn.Linear(spec.channels[0], spec.num_maps)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, images_BHW1: Tensor, sizes_B2: Tensor, labels_BL: Tensor | None = None, *, batch_statistics: bool = False
    ) -> Tensor:
        height, width = images_BHW1.shape[1:3]
        sizes_B2 = sizes_B2.to(images_BHW1.device, non_blocking=True)
        masks = keep_masks(sizes_B2, height, width, len(self.spec.channels), images_BHW1)
        x_BCHW = self.enter(images_BHW1.permute(0, 3, 1, 2), masks[0], batch_statistics=batch_statistics)
        seen = []
        for level, (pair, keep_BHW) in enumerate(zip(self.down, masks, strict=True)):
            if level:
                # scores are not negative, and zero past a page's own size: padding never has the maximum
                x_BCHW = F.max_pool2d(x_BCHW, 2)
            x_BCHW = through(pair, x_BCHW, keep_BHW, batch_statistics=batch_statistics)
            seen.append(x_BCHW)
        for level in reversed(range(len(self.up))):
            x_BCHW = F.interpolate(x_BCHW, scale_factor=2, mode="nearest") * masks[level][:, None]
            x_BCHW = torch.cat([seen[level], x_BCHW], 1)
            x_BCHW = through(self.up[level], x_BCHW, masks[level], batch_statistics=batch_statistics)
        logits_BhwM: Tensor = self.head(x_BCHW.permute(0, 2, 3, 1)) * masks[0][..., None]
        return logits_BhwM


def through(blocks: Iterable[nn.Module], x_BCHW: Tensor, keep_BHW: Tensor, *, batch_statistics: bool) -> Tensor:
    """The result of the blocks one after the other."""
    for block in blocks:
        x_BCHW = block(x_BCHW, keep_BHW, batch_statistics=batch_statistics)
    return x_BCHW


# --- loss
def loss(model: UNet, images_BHW1: Tensor, sizes_B2: Tensor, targets_BhwM: Tensor, counts_Bhw: Tensor) -> Tensor:
    """Mean binary cross-entropy (nats) plus mean over the maps of 1 - Dice, over the pixels with a 1 in `counts_Bhw`.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", for Dice as a loss; here with 1 added above and below.
    """
    logits_BhwM = model(images_BHW1, sizes_B2, batch_statistics=True)
    targets_BhwM = targets_BhwM.to(logits_BhwM.device, logits_BhwM.dtype, non_blocking=True)
    counts_Bhw1 = counts_Bhw.to(logits_BhwM.device, logits_BhwM.dtype, non_blocking=True)[..., None]
    entropy_BhwM = F.binary_cross_entropy_with_logits(logits_BhwM, targets_BhwM, reduction="none")
    entropy = (entropy_BhwM * counts_Bhw1).sum() / (counts_Bhw1.sum() * logits_BhwM.shape[3]).clamp(min=1)
    scores_BhwM, targets_BhwM = logits_BhwM.sigmoid() * counts_Bhw1, targets_BhwM * counts_Bhw1
    common_M = (scores_BhwM * targets_BhwM).sum((0, 1, 2))
    total_M = scores_BhwM.sum((0, 1, 2)) + targets_BhwM.sum((0, 1, 2))
    return entropy + (1 - (2 * common_M + 1) / (total_M + 1)).mean()


# --- training step: shared by all rungs, see train.fit


# --- weights
def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of parameters and running statistics, or of gradients, under canonical names and axes.

    Convolution (kh, kw, in, out), not (out, in, kh, kw); dense (in, out), not (out, in).
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 4:
            tensor = tensor.permute(2, 3, 1, 0)
        elif tensor.ndim == 2:
            tensor = tensor.t()
        name = name.replace("conv.", "").replace("norm.weight", "scale").replace("norm.", "")
        named[name.replace("weight", "kernel")] = tensor
    return named
