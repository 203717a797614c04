"""A contact sheet: what a data set looks like and how it is made up."""

# N examples, H height, W width

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from common.data.dataset import Dataset, Split
from common.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS = 16  # examples of a class
_MOST_ROWS = 32  # in one column of classes
_GAP = 2  # pixels between images
_SPLITS = {"train": "#4c72b0", "validation": "#dd8452", "test": "#55a868"}


def contact_sheet(dataset: Dataset, path: Path) -> None:
    """Write a PNG with examples of each class, the sizes of the splits and the examples per class.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    classes = len(dataset.charset)
    columns = -(-classes // _MOST_ROWS)
    rows = -(-classes // columns)
    height, width = dataset.train.images_NHW.shape[1:]
    tall = rows * (height + _GAP) / 60
    wide = max(8.0, columns * (_ACROSS * (width + _GAP) / 60 + 0.5))
    figure = Figure(figsize=(wide, tall + 3.4), layout="constrained", facecolor="white")
    figure.suptitle(f"{dataset.name}: {classes} classes, {height}×{width} pixels", fontsize=18, fontweight="bold")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(tall, 2.6))[:, 0]
    for column, axes in enumerate(above.subplots(1, columns, squeeze=False)[0]):
        start = column * rows
        _draw_classes(axes, dataset, range(start, min(start + rows, classes)))
    _draw_counts(below.subplots(), dataset)
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise UserError(
            f"cannot write the contact sheet to {path} ({error.strerror}); "
            "name a file in a folder that exists and is writable"
        ) from None


def _examples(split: Split, k: int) -> UInt8[np.ndarray, "H W"]:
    """Images of class k side by side, drawn evenly from the whole split."""
    of_class = np.flatnonzero(split.labels_N == k)
    chosen = of_class[np.unique(np.linspace(0, len(of_class) - 1, min(_ACROSS, len(of_class))).astype(int))]
    height, width = split.images_NHW.shape[1:]
    strip = np.zeros((height + _GAP, _ACROSS * (width + _GAP)), dtype=np.uint8)
    for i, image_HW in enumerate(split.images_NHW[chosen]):
        strip[:height, i * (width + _GAP) : i * (width + _GAP) + width] = image_HW
    return strip


def _draw_classes(axes: Axes, dataset: Dataset, classes: range) -> None:
    picture = np.concatenate([_examples(dataset.train, k) for k in classes])
    row = picture.shape[0] / len(classes)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="lanczos", aspect="equal")
    axes.set_yticks([(i + 0.5) * row for i in range(len(classes))], [dataset.charset.characters[k] for k in classes])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=13)
    axes.spines[:].set_visible(False)


def _draw_counts(axes: Axes, dataset: Dataset) -> None:
    classes = np.arange(len(dataset.charset))
    bottom = np.zeros(len(classes))
    for name, colour in _SPLITS.items():
        split = dataset.split(name)
        counts = np.bincount(split.labels_N, minlength=len(classes))
        writers = "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers"
        axes.bar(classes, counts, bottom=bottom, color=colour, label=f"{name}: {len(split):,}{writers}")
        bottom += counts
    axes.set_xticks(classes, dataset.charset.characters)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylabel("examples per class")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
