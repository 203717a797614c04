"""Evaluating a finder of lines by its maps: the loss, and how well the core of the lines is found, pixel by pixel."""

# B batch, N pages, H height, W width of a page image; h and w half of them, M maps, G golden images

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from common.batch import PageBatch, to_float
from common.data.page_batches import page_batch, rounded_up, true_maps
from common.data.page_dataset import PageSplit
from common.data.page_targets import CORE
from common.metrics import bootstrap_interval
from common.reading.result import Mark, Reading
from common.recognizer import Recognizer
from common.sampling import evenly
from common.spec import UNetSpec
from common.weights import Golden

GOLDEN_SIZES = (150, 121), (96, 128)
"""Own rows and columns of the golden examples: odd and even numbers, less than the padded size."""


@dataclass(frozen=True, kw_only=True)
class MapEvaluation:
    """The result of evaluating a finder on a split of pages, pixel by pixel."""

    split: PageSplit
    spec: UNetSpec
    loss: float
    """Mean of the pages' losses, in the unit of the training loss."""
    common_N: Int[np.ndarray, "N"]
    """Per page, pixels in the core of the true lines and in that of the model."""
    either_N: Int[np.ndarray, "N"]
    """Per page, pixels in the core of the true lines or in that of the model."""

    @property
    def iou(self) -> float:
        """Intersection over union of the cores, over all pages."""
        return float(self.common_N.sum() / max(int(self.either_N.sum()), 1))

    @property
    def scores_N(self) -> Float[np.ndarray, "N"]:
        """Intersection over union of each page."""
        scores_N: Float[np.ndarray, "N"] = self.common_N / np.maximum(self.either_N, 1)
        return scores_N

    @property
    def score(self) -> float:
        """The intersection over union."""
        return self.iou

    @property
    def rates(self) -> dict[str, float]:
        """The intersection over union."""
        return {"iou": self.iou}

    def figures(self) -> dict[str, Any]:
        """The figures for result.json."""
        interval = bootstrap_interval(self.common_N, self.split.writers_N, lengths_N=self.either_N)
        return {"iou": self.iou, "iou_interval": list(interval), "loss": self.loss, "examples": len(self.split)}

    def reading(self, index: int) -> Reading:
        """One page as a reading, whose confidence is its intersection over union."""
        scale, true = float(self.split.scales_N[index]), self.split.lines[index]
        said = f"{len(true)} lines"
        marks = tuple(Mark(points=line.baseline * scale, colour="tab:blue") for line in true)
        share = float(self.scores_N[index])
        return Reading(image_HW=self.split.images[index], text=said, confidence=share, truth=said, marks=marks)

    def sample(self, limit: int, mistakes: int) -> list[int]:
        """At most `limit` indices: a sample of the split, then the `mistakes` pages with the worst scores."""
        return self._sample(self.scores_N, limit, mistakes)

    def _sample(self, scores_N: Float[np.ndarray, "N"], limit: int, mistakes: int) -> list[int]:
        worst = np.argsort(scores_N, kind="stable")[:mistakes]
        return [*evenly(len(self.split), limit - len(worst)), *(int(i) for i in worst)]

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz."""
        arrays: dict[str, np.ndarray] = {"common": self.common_N, "either": self.either_N}
        return arrays if self.split.writers_N is None else arrays | {"writers": self.split.writers_N}

    def golden(self, recognizer: Recognizer) -> Golden:
        """Parts of two pages, with the logits that the model computes for them."""
        return golden_pages(recognizer, self.split)

    def first_batch(self) -> PageBatch:
        """The first pages as a batch, for a look at the gradients."""
        return first_pages(self.split, self.spec.multiple)


def core_pixels(logits_BhwM: Float[np.ndarray, "B h w M"], batch: PageBatch) -> tuple[int, int]:
    """Pixels in the core of the true lines and in that of the model, and pixels in either of them."""
    counts_Bhw = batch.counts_Bhw > 0
    found_Bhw = (logits_BhwM[..., CORE] > 0) & counts_Bhw
    true_Bhw = (batch.targets_BhwM[..., CORE] > 0) & counts_Bhw
    return int(np.count_nonzero(found_Bhw & true_Bhw)), int(np.count_nonzero(found_Bhw | true_Bhw))


def page_loss(logits_BhwM: Float[np.ndarray, "B h w M"], batch: PageBatch) -> float:
    """The loss of a batch of pages, as `Recognizer.loss_and_gradients` defines it."""
    logits = logits_BhwM.astype(np.float64)
    targets, counts = batch.targets_BhwM.astype(np.float64), batch.counts_Bhw[..., None].astype(np.float64)
    # log(1 + exp(x)) - target * x, without overflow
    entropy = np.maximum(logits, 0) - targets * logits + np.log1p(np.exp(-np.abs(logits)))
    mean_entropy = (entropy * counts).sum() / max(counts.sum() * logits.shape[3], 1)
    scores = counts / (1 + np.exp(-np.clip(logits, -500, 500)))
    targets = targets * counts
    dice_M = (2 * (scores * targets).sum((0, 1, 2)) + 1) / ((scores + targets).sum((0, 1, 2)) + 1)
    return float(mean_entropy + (1 - dice_M).mean())


def golden_pages(recognizer: Recognizer, split: PageSplit) -> Golden:
    """Parts of two pages of a split as a golden example, with the logits that the model computes for them now."""
    multiple = recognizer.spec.multiple  # type: ignore[union-attr]  # a finder is always a U-Net
    sizes = np.array(GOLDEN_SIZES, np.int32)
    tall, wide = rounded_up(sizes.max(axis=0).tolist(), multiple)
    images_GHW = np.zeros((len(sizes), tall, wide), np.uint8)
    for image_HW, page, (rows, columns) in zip(images_GHW, evenly(len(split), len(sizes)), GOLDEN_SIZES, strict=False):
        whole_HW = split.images[page]
        top, left = max(0, (len(whole_HW) - rows) // 2), max(0, (whole_HW.shape[1] - columns) // 2)
        part_HW = whole_HW[top : top + rows, left : left + columns]
        image_HW[: part_HW.shape[0], : part_HW.shape[1]] = part_HW
    return Golden(images_GHW=images_GHW, logits=recognizer.logits(to_float(images_GHW), sizes), sizes_G2=sizes)


def first_pages(split: PageSplit, multiple: int, pages: int = 2) -> PageBatch:
    """The first pages of a split as a batch."""
    chosen = range(min(pages, len(split)))
    images = [split.images[i] for i in chosen]
    size = rounded_up(np.max([image.shape for image in images], axis=0).tolist(), multiple)
    return page_batch(images, [true_maps(split, i) for i in chosen], size=size)
