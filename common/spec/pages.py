"""The spec of the rung that finds the lines of a page: `unet`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.spec.base import Block, Parameter, check_all_positive, check_positive


@dataclass(frozen=True, kw_only=True)
class UNetSpec:
    """U-shaped convolutional network: a page to maps of scores, at half the resolution of its input.

    A block is a convolution without bias → batch norm → ReLU → zero past the page's own rows and columns. One 5×5 block
    with stride 2 comes first. Level l has two 3×3 blocks of `channels[l]` channels, and works at 1 / 2^(l + 1) of the
    input's resolution. On the way down, max-pooling 2×2 leads from a level to the next. On the way up, each pixel is
    repeated 2×2, pixels past the page's own size at the finer level become zero, and the result follows the channels
    that the same level had on the way down. A dense layer turns the channels of level 0 into one logit per map.

    A page of h rows has ceil(h / 2^(l + 1)) own rows at level l, and columns alike. Batch norm counts own pixels only.
    The result for a page therefore depends neither on its padding nor on the other pages of its batch.

    Source: Ronneberger, Fischer & Brox 2015, with batch norm (Ioffe & Szegedy 2015) and padded convolutions.
    """

    rung: ClassVar[str] = "unet"
    task: ClassVar[str] = "pages"
    """Name of the task, see `common.tasks`."""
    decided_by_data: ClassVar[tuple[str, ...]] = ()
    """Fields that the data decides and no flag sets."""
    extra_classes: ClassVar[int] = 0
    """Classes that are no character."""
    stem: ClassVar[tuple[Block, ...]] = ()
    num_maps: ClassVar[int] = 2
    """Maps of scores, see `common.data.page_targets`."""
    dropout: ClassVar[float] = 0.0

    side: int = 672
    """A page is scaled to side² pixels, with the same aspect ratio. A page of paper gets about 800 rows of 565."""
    channels: tuple[int, ...] = (16, 32, 48, 64, 96)
    """Channels of each level, from half the resolution down."""

    def __post_init__(self) -> None:
        check_positive(self, "side")
        check_all_positive(self, "channels")

    @property
    def multiple(self) -> int:
        """The rows and the columns of a batch are multiples of this number, so that each level halves them exactly."""
        return 2 ** len(self.channels)

    def loss_terms(self, *arrays: np.ndarray) -> int:
        """The number that the cross-entropy of a batch is divided by: pixels that count.

        Args:
            arrays: `PageBatch.arrays`.
        """
        return int(arrays[3].sum(dtype=np.int64))

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Canonical name and size of each block, in the order of the layers."""
        channels, deepest = self.channels, len(self.channels) - 1
        yield "enter", Block(rows=5, columns=5, padding=2, strides=(2, 2), fan_in=1, channels=channels[0])
        for level, width in enumerate(channels):
            yield from _pair(f"down.{level}", channels[max(level - 1, 0)], width)
        for level in reversed(range(deepest)):
            yield from _pair(f"up.{level}", channels[level] + channels[level + 1], channels[level])

    def parameters(self) -> dict[str, Parameter]:
        """Canonical name to shape and initializer, in the order of the layers."""
        table: dict[str, Parameter] = {}
        for name, block in self.blocks():
            table |= block.parameters(name)
        table["head.kernel"] = Parameter((self.channels[0], self.num_maps), "glorot_uniform")
        table["head.bias"] = Parameter((self.num_maps,), "zeros")
        return table


def _pair(name: str, fan_in: int, channels: int) -> Iterator[tuple[str, Block]]:
    yield f"{name}.0", Block(rows=3, padding=1, strides=(1, 1), fan_in=fan_in, channels=channels)
    yield f"{name}.1", Block(rows=3, padding=1, strides=(1, 1), fan_in=channels, channels=channels)
