"""Pages for the rung `unet`: random images whose maps can be seen in them, drawn from a fixed seed."""

# N pages, h and w rows and columns of the maps, M maps

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from common.batch import PageBatch
from common.data.batches import Batches
from common.spec import UNetSpec


@dataclass(frozen=True, kw_only=True)
class GoldenPages:
    """Pages of different sizes. The targets and counts of a page are at half its resolution, rounded up."""

    images: Sequence[UInt8[np.ndarray, "_h _w"]]
    targets: Sequence[UInt8[np.ndarray, "_h _w M"]]
    """1 or 0; noise where a pixel does not count."""
    counts: Sequence[UInt8[np.ndarray, "_h _w"]]
    """1 for the pixels that count, about nine of ten; else 0."""

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: Int[np.ndarray, "_"]) -> GoldenPages:
        """The pages at these indices, in this order."""
        return GoldenPages(
            images=[self.images[i] for i in chosen],
            targets=[self.targets[i] for i in chosen],
            counts=[self.counts[i] for i in chosen],
        )

    @property
    def sizes_N2(self) -> Int[np.ndarray, "N 2"]:
        """Each page's own rows and columns."""
        return np.array([image.shape for image in self.images], np.int32)


SEED = 19


def golden_pages(spec: UNetSpec, examples: int) -> GoldenPages:
    """Pages of 5 to 15 rows and as many columns at three levels, and twice as many with each further level.

    No page of five has the height or the width of another. Map 0 shows where a page is darker than its mean, and map 1
    a stripe without ink. Further maps alternate between the two.

    With this seed, no input of a ReLU and no difference of two pooled pixels is nearer to zero than 9e-6 in the
    20 steps of any of the suite's runs. Nearer ones have another sign in float32 by rounding. In networks as small as
    these, a single one moves the loss by 2e-5, and by a thousand times the noise ten steps later.
    """
    rng = np.random.default_rng(SEED)
    scale = max(1, spec.multiple // 8)
    sides = (5 + 3 * np.arange(examples) % 11) * scale - (scale > 1)  # odd and even ones
    images, targets, counts = [], [], []
    for height, width in zip(rng.permutation(sides), rng.permutation(sides), strict=True):
        rows, columns = -(-height // 2), -(-width // 2)
        # ink and paper in blocks of 2×2, which are the pixels of the maps
        dark = np.kron(rng.integers(0, 2, (rows, columns)), np.ones((2, 2), int))[:height, :width]
        image = rng.integers(0, 80, (height, width)) + 175 * dark
        top = int(rng.integers(rows))
        stripe = np.zeros((rows, columns), np.uint8)
        stripe[top : top + 1 + rows // 4] = 1
        image[np.kron(stripe, np.ones((2, 2), int))[:height, :width] > 0] = 0
        maps = [dark[::2, ::2] * (1 - stripe), stripe]
        target = np.stack([maps[m % 2] for m in range(spec.num_maps)], axis=2)
        count = rng.random((rows, columns)) < 0.9
        noise = rng.integers(0, 2, target.shape)
        images.append(image.astype(np.uint8))
        targets.append(np.where(count[..., None], target, noise).astype(np.uint8))
        counts.append(count.astype(np.uint8))
    return GoldenPages(images=images, targets=targets, counts=counts)


def page_batch(spec: UNetSpec, pages: GoldenPages, *, rows: int = 0, columns: int = 0) -> PageBatch:
    """The pages as one batch, in their order.

    Args:
        spec: whose `multiple` the size of the batch is a multiple of.
        pages: the pages.
        rows: rows that the batch has at least.
        columns: columns that the batch has at least.
    """
    sizes_N2, count = pages.sizes_N2, len(pages)
    largest = np.maximum(sizes_N2.max(axis=0), (rows, columns))
    height, width = (-(-largest // spec.multiple) * spec.multiple).tolist()
    images = np.zeros((count, height, width, 1), np.float32)
    targets = np.zeros((count, height // 2, width // 2, spec.num_maps), np.uint8)
    counts = np.zeros((count, height // 2, width // 2), np.uint8)
    for i in range(count):
        h, w = pages.images[i].shape
        images[i, :h, :w, 0] = pages.images[i] / np.float32(255)
        h, w = pages.counts[i].shape
        targets[i, :h, :w], counts[i, :h, :w] = pages.targets[i], pages.counts[i]
    return PageBatch(images_BHW1=images, sizes_B2=sizes_N2, targets_BhwM=targets, counts_Bhw=counts)


class GoldenPageBatches(Batches[PageBatch, Int[np.ndarray, "N"]]):
    """Training batches of one size. The last batch of an epoch may have fewer pages."""

    def __init__(self, spec: UNetSpec, pages: GoldenPages, *, batch_size: int, seed: int, workers: int = 0) -> None:
        super().__init__(len(pages), batch_size=batch_size, seed=seed, workers=workers)
        self._spec, self._pages = spec, pages

    def batch(self, epoch: int, index: int) -> PageBatch:
        chosen = self.order_of(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        rows, columns = self._pages.sizes_N2.max(axis=0)
        return page_batch(self._spec, self._pages.take(chosen), rows=int(rows), columns=int(columns))

    def draw_order(self, rng: np.random.Generator) -> Int[np.ndarray, "N"]:
        return rng.permutation(self.examples)
