"""Batches: what one training step sees, on the NumPy side of the border."""

# B batch, N examples, H height, W width, L label length, h and w half of H and W, M maps

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt8


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one character each."""

    images_BHW1: Float[np.ndarray, "B H W 1"]
    """float32, ink 1 on paper 0."""
    labels_B: Int[np.ndarray, "B"]
    """int32, class of each image."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arguments of `Recognizer.logits`."""
        return (self.images_BHW1,)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of a loss."""
        return self.images_BHW1, self.labels_B


@dataclass(frozen=True, kw_only=True)
class LineBatch:
    """Images of one line each, padded to one width."""

    images_BHW1: Float[np.ndarray, "B H W 1"]
    """float32, ink 1 on paper 0; 0 past a line's own width."""
    widths_B: Int[np.ndarray, "B"]
    """int32, each line's own columns, at least 1."""
    labels_BL: Int[np.ndarray, "B L"]
    """int32, classes of the characters, from 1; 0 past the end."""
    label_lengths_B: Int[np.ndarray, "B"]
    """int32, characters."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arguments of `Recognizer.logits`."""
        return self.images_BHW1, self.widths_B, self.labels_BL

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of a loss."""
        return self.images_BHW1, self.widths_B, self.labels_BL, self.label_lengths_B


@dataclass(frozen=True, kw_only=True)
class PageBatch:
    """Pages, padded to one size."""

    images_BHW1: Float[np.ndarray, "B H W 1"]
    """float32, ink 1 on paper 0; 0 past a page's own rows and columns. H and W are multiples of `UNetSpec.multiple`."""
    sizes_B2: Int[np.ndarray, "B 2"]
    """int32, each page's own rows and columns, at least 1."""
    targets_BhwM: UInt8[np.ndarray, "B h w M"]
    """What the maps are to show, at half the resolution: 1 or 0; see `common.data.page_targets`."""
    counts_Bhw: UInt8[np.ndarray, "B h w"]
    """1 for the pixels that count in the loss; 0 past a page's own size, and where the truth is not known."""

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """The arguments of `Recognizer.logits`."""
        return self.images_BHW1, self.sizes_B2

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of a loss."""
        return self.images_BHW1, self.sizes_B2, self.targets_BhwM, self.counts_Bhw


AnyOne = TypeVar("AnyOne", bound=Batch | LineBatch | PageBatch)


def split(batch: AnyOne, parts: int) -> list[AnyOne]:
    """The examples in their order, in `parts` batches whose sizes differ by at most one. Each keeps its padding."""
    examples = len(batch.images_BHW1)
    bounds = [examples * i // parts for i in range(parts + 1)]
    arrays = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return [
        replace(batch, **{name: array[first:end] for name, array in arrays.items()}) for first, end in pairwise(bounds)
    ]


def to_float(images_NHW: UInt8[np.ndarray, "N H W"]) -> Float[np.ndarray, "N H W 1"]:
    """uint8 images (ink 255) as float32 (ink 1) with a channel axis."""
    return (images_NHW.astype(np.float32) / np.float32(255))[..., None]
