"""Batches of pages, for training and for reading."""

# N pages or lines, B batch, H height, W width, h and w half of them, M maps

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.batch import PageBatch
from common.data.batches import Batches
from common.data.page_augment import change_ink, crop, random_change
from common.data.page_dataset import PageSplit, Picture
from common.data.page_targets import NUM_MAPS, draw_known, draw_targets, line_distances
from common.data.xml_pages import Points
from common.spec import UNetSpec

Targets = tuple[UInt8[np.ndarray, "_ _ M"], UInt8[np.ndarray, "_ _"]]
Order = list[Int[np.ndarray, "B"]]

CROP = 0.95, 0.76
"""Rows and columns of a training page, in parts of `UNetSpec.side`. All batches have this shape."""
READING_STEP = 64
"""The sizes of pages that are read are rounded up to a multiple of it: some frameworks compile for each size."""


def page_batch(
    images: Sequence[Picture], targets: Sequence[Targets] | None = None, *, size: tuple[int, int]
) -> PageBatch:
    """Make one batch of pages.

    Args:
        images: the pages' images, ink 255 on paper 0.
        targets: the maps of each page and the pixels that count; None for maps of zeros, in which no pixel counts.
        size: rows and columns to pad to; multiples of `UNetSpec.multiple`.
    """
    rows, columns = size
    images_BHW1 = np.zeros((len(images), rows, columns, 1), np.float32)
    targets_BhwM = np.zeros((len(images), rows // 2, columns // 2, NUM_MAPS), np.uint8)
    counts_Bhw = np.zeros((len(images), rows // 2, columns // 2), np.uint8)
    for i, image in enumerate(images):
        images_BHW1[i, : image.shape[0], : image.shape[1], 0] = image
        if targets is not None:
            maps, counts = targets[i]
            targets_BhwM[i, : maps.shape[0], : maps.shape[1]] = maps
            counts_Bhw[i, : counts.shape[0], : counts.shape[1]] = counts
    images_BHW1 /= np.float32(255)
    return PageBatch(
        images_BHW1=images_BHW1,
        sizes_B2=np.array([image.shape for image in images], np.int32),
        targets_BhwM=targets_BhwM,
        counts_Bhw=counts_Bhw,
    )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is known of a page's lines, in pixels of the page image."""

    baselines: list[Points]
    distances_N: Float[np.ndarray, "N"]
    """Distance of each line to its neighbours."""
    unknown: list[Points]
    """Polygons within which the truth is not known."""

    @classmethod
    def of(cls, split: PageSplit, index: int) -> Truth:
        """The truth of a page of a split."""
        scale, lines = float(split.scales_N[index]), split.lines[index]
        baselines = [line.baseline * scale for line in lines]
        return cls(
            baselines=baselines,
            distances_N=line_distances(baselines, [line.outline * scale for line in lines]),
            unknown=[polygon * scale for polygon in split.unknown[index]],
        )


def rounded_up(size: Sequence[float | int], step: int) -> tuple[int, int]:
    """Rows and columns, rounded up to multiples of `step`."""
    rows, columns = (math.ceil(length / step) * step for length in size)
    return rows, columns


class PageBatches(Batches[PageBatch, Order]):
    """Training batches of a split of pages; see `Batches`.

    Args:
        split: the pages.
        batch_size: pages per batch.
        seed: seed of the order and of the augmentation.
        spec: the model; its side and its multiple decide the shape of a batch.
        workers: threads that prepare batches ahead of time; 0 prepares each batch on demand.
        augment: whether to change each page, in a new way in each epoch. Otherwise a page is cropped only.
    """

    def __init__(
        self, split: PageSplit, *, batch_size: int, seed: int, spec: UNetSpec, workers: int = 0, augment: bool = True
    ) -> None:
        super().__init__(len(split), batch_size=batch_size, seed=seed, workers=workers)
        self._split = split
        self._augment = augment
        self.shape = rounded_up([spec.side * share for share in CROP], spec.multiple)
        self._truths = [Truth.of(split, i) for i in range(len(split))]

    def batch(self, epoch: int, index: int) -> PageBatch:
        pages = [self._page(epoch, int(i)) for i in self.order_of(epoch)[index]]
        return page_batch([image for image, _ in pages], [targets for _, targets in pages], size=self.shape)

    def example(self, epoch: int, index: int) -> PageBatch:
        """The page at `index` of the split, as a batch of its own, as it is in an epoch."""
        image, targets = self._page(epoch, index)
        return page_batch([image], [targets], size=self.shape)

    def draw_order(self, rng: np.random.Generator) -> Order:
        shuffled_N = rng.permutation(self.examples)
        return [shuffled_N[i : i + self.batch_size] for i in range(0, self.examples, self.batch_size)]

    def _page(self, epoch: int, index: int) -> tuple[Picture, Targets]:
        rng = np.random.default_rng([self.seed, epoch, index])
        image, truth = self._split.images[index], self._truths[index]
        change = random_change(image.shape, self.shape, rng) if self._augment else crop(image.shape, self.shape, rng)
        scale = float(np.sqrt(abs(np.linalg.det(change.matrix_22))))
        changed = change.image(image)
        if self._augment:
            changed = change_ink(changed, self._split.images[int(rng.integers(self.examples))], rng)
        targets = draw_targets(
            change.size,
            [change.points(baseline) for baseline in truth.baselines],
            scale * truth.distances_N,
        )
        return changed, (targets, draw_known(change.size, [change.points(polygon) for polygon in truth.unknown]))


def true_maps(split: PageSplit, index: int) -> Targets:
    """The maps of a page of a split, and the pixels that count."""
    truth, size = Truth.of(split, index), split.images[index].shape
    return draw_targets(size, truth.baselines, truth.distances_N), draw_known(size, truth.unknown)


def reading_batches(split: PageSplit, step: int = READING_STEP) -> Iterator[tuple[int, PageBatch]]:
    """Each page of a split as a batch of its own, unchanged, with its true maps and its index.

    Args:
        split: the pages.
        step: sizes are rounded up to multiples of it; itself a multiple of `UNetSpec.multiple`.
    """
    for index in range(len(split)):
        image = split.images[index]
        yield index, page_batch([image], [true_maps(split, index)], size=rounded_up(image.shape, step))
