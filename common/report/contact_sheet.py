"""Contact sheets: examples of a data set, and the sizes of its splits."""

# N examples or lines, H height, W width

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from common.data.characters import CharacterDataset, CharacterSplit
from common.data.lines import LineDataset, LineSplit
from common.data.page_dataset import PageDataset, PageSplit
from common.data.page_targets import CORE, ENDS
from common.errors import UserError
from common.sampling import evenly
from common.spec import UNetSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 16  # examples per class
_MOST_ROWS = 32  # classes below each other
_GAP = 2  # pixels between images
_LINES = 8  # lines per split
_EPOCHS = 3  # augmented versions per line or page
_PAGES = 4  # pages per split
_SPLITS = {"train": "#4c72b0", "validation": "#dd8452", "test": "#55a868"}


def characters_sheet(dataset: CharacterDataset, path: Path) -> None:
    """Write a PNG of examples of each class, the sizes of the splits and the number of examples per class.

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
    _save(figure, path)


def lines_sheet(dataset: LineDataset, path: Path) -> None:
    """Write a PNG of lines of each split with their texts, and a histogram of their widths.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    chosen = {name: np.array(evenly(len(dataset.split(name)), _LINES)) for name in _SPLITS}
    rows = max(map(len, chosen.values()))
    figure = Figure(figsize=(19, rows * 0.75 + 3.6), layout="constrained", facecolor="white")
    figure.suptitle(
        f"{dataset.name}: {len(dataset.charset)} characters, {dataset.train.height} rows, "
        f"{len(dataset.refused):,} lines refused",
        fontsize=18,
        fontweight="bold",
    )
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(rows * 0.75, 2.6))[:, 0]
    for axes, (name, lines) in zip(above.subplots(1, len(_SPLITS)), chosen.items(), strict=True):
        _draw_lines(axes, dataset.split(name).take(lines), rows, _SPLITS[name])
        axes.set_title(_amount(name, dataset.split(name), "lines"), fontsize=13, color=_SPLITS[name])
    _draw_widths(below.subplots(), dataset)
    _save(figure, path)


def augmentation_sheet(dataset: LineDataset, path: Path) -> None:
    """Write a PNG of training lines, each beside its augmented versions of the first epochs with seed 0.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    from common.data.augment import WIDEST, augment_line  # imports Pillow

    split = dataset.train
    chosen = evenly(len(split), _LINES)
    figure = Figure(figsize=(19, 0.62 * len(chosen) + 0.9), layout="constrained", facecolor="white")
    figure.suptitle(f"{dataset.name}: training lines and their augmentation", fontsize=18, fontweight="bold")
    grid = figure.subplots(len(chosen), 1 + _EPOCHS, squeeze=False)
    room = int(max(split.widths_N[chosen]) * WIDEST)
    for row, i in zip(grid, chosen, strict=True):
        image = split.image(i)
        changed = [
            augment_line(image, np.random.default_rng([0, epoch, i]), int(image.shape[1] * WIDEST))
            for epoch in range(_EPOCHS)
        ]
        for axes, each in zip(row, (image, *changed), strict=True):
            picture = np.zeros((split.height, room), np.uint8)
            picture[:, : each.shape[1]] = each
            axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="lanczos", aspect="equal")
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("original", *(f"epoch {n + 1}" for n in range(_EPOCHS))), strict=True):
        axes.set_title(title, fontsize=13)
    _save(figure, path)


def pages_sheet(dataset: PageDataset, path: Path) -> None:
    """Write a PNG of pages of each split, with the outlines and the baselines of their lines.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.collections import LineCollection  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * _PAGES, 5.6 * len(_SPLITS) + 0.6), layout="constrained", facecolor="white")
    figure.suptitle(f"{dataset.name}: pages and their lines", fontsize=18, fontweight="bold")
    parts = figure.subfigures(len(_SPLITS), 1, squeeze=False)[:, 0]
    for below, (name, colour) in zip(parts, _SPLITS.items(), strict=True):
        split = dataset.split(name)
        below.suptitle(_amount(name, split, "pages"), fontsize=13, color=colour)
        grid = below.subplots(1, _PAGES, squeeze=False)[0]
        for axes in grid:
            axes.set_axis_off()
        for axes, i in zip(grid, evenly(len(split), _PAGES), strict=False):
            scale = float(split.scales_N[i])
            axes.imshow(split.images[i], cmap="gray_r", vmin=0, vmax=255)
            around = [np.concatenate([line.outline, line.outline[:1]]) * scale for line in split.lines[i]]
            under = [line.baseline * scale for line in split.lines[i]]
            axes.add_collection(LineCollection(around, colors="tab:orange", linewidths=0.6))
            axes.add_collection(LineCollection(under, colors=colour, linewidths=1.2))
            axes.set_title(f"{split.names[i]}: {len(under)} lines", fontsize=9, parse_math=False)
    _save(figure, path)


def page_augmentation_sheet(dataset: PageDataset, path: Path) -> None:
    """Write a PNG of training pages, each beside its augmented versions of the first epochs with seed 0.

    Over each version are the maps that a finder learns: the cores of the lines in blue, their ends in red.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    from common.data.page_batches import PageBatches

    chosen = evenly(len(dataset.train), _PAGES)
    split = dataset.train.take(np.array(chosen))
    batches = PageBatches(split, batch_size=1, seed=0, spec=UNetSpec())
    figure = Figure(figsize=(4.2 * (1 + _EPOCHS), 5.2 * len(split) + 0.6), layout="constrained", facecolor="white")
    figure.suptitle(f"{dataset.name}: training pages and their augmentation", fontsize=18, fontweight="bold")
    grid = figure.subplots(len(split), 1 + _EPOCHS, squeeze=False)
    for i, row in enumerate(grid):
        row[0].imshow(split.images[i], cmap="gray_r", vmin=0, vmax=255)
        for epoch, axes in enumerate(row[1:]):
            batch = batches.example(epoch, i)
            rows, columns = batch.sizes_B2[0]
            core_hw, ends_hw = (batch.targets_BhwM[0, ..., m].repeat(2, axis=0).repeat(2, axis=1) for m in (CORE, ENDS))
            paper_HW = 1 - batch.images_BHW1[0, :, :, 0]
            red_HW, green_HW, blue_HW = paper_HW * (1 - 0.5 * core_hw), paper_HW * (1 - 0.5 * ends_hw), paper_HW * 1
            blue_HW = blue_HW * (1 - 0.5 * ends_hw)
            axes.imshow(np.stack([red_HW, green_HW, blue_HW], axis=2)[:rows, :columns])
        for axes in row:
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("original", *(f"epoch {n + 1}" for n in range(_EPOCHS))), strict=True):
        axes.set_title(title, fontsize=13)
    _save(figure, path)


SHEETS: dict[str, Callable[[Any, Path], None]] = {
    "characters": characters_sheet,
    "lines": lines_sheet,
    "pages": pages_sheet,
}
"""Task to the function that draws its contact sheet."""
AUGMENTED: dict[str, Callable[[Any, Path], None]] = {"lines": augmentation_sheet, "pages": page_augmentation_sheet}
"""Task to the function that draws examples beside their augmented versions."""


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise UserError(
            f"cannot write the contact sheet to {path} ({error.strerror}); "
            "name a file in a folder that exists and is writable"
        ) from None


def _amount(name: str, split: CharacterSplit | LineSplit | PageSplit, what: str = "") -> str:
    writers = "" if split.writers_N is None else f" by {len(np.unique(split.writers_N)):,} writers"
    return f"{name}: {len(split):,}{' ' if what else ''}{what}{writers}"


def _examples(split: CharacterSplit, k: int) -> UInt8[np.ndarray, "H W"]:
    """Images of class k side by side, spread over the whole split."""
    of_class = np.flatnonzero(split.labels_N == k)
    chosen = of_class[evenly(len(of_class), _ACROSS)]
    height, width = split.images_NHW.shape[1:]
    strip = np.zeros((height + _GAP, _ACROSS * (width + _GAP)), dtype=np.uint8)
    for i, image_HW in enumerate(split.images_NHW[chosen]):
        strip[:height, i * (width + _GAP) : i * (width + _GAP) + width] = image_HW
    return strip


def _draw_classes(axes: Axes, dataset: CharacterDataset, classes: range) -> None:
    picture = np.concatenate([_examples(dataset.train, k) for k in classes])
    row = picture.shape[0] / len(classes)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="lanczos", aspect="equal")
    axes.set_yticks([(i + 0.5) * row for i in range(len(classes))], [dataset.charset.characters[k] for k in classes])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=13)
    axes.spines[:].set_visible(False)


def _draw_counts(axes: Axes, dataset: CharacterDataset) -> None:
    classes = np.arange(len(dataset.charset))
    bottom = np.zeros(len(classes))
    for name, colour in _SPLITS.items():
        split = dataset.split(name)
        counts = np.bincount(split.labels_N, minlength=len(classes))
        axes.bar(classes, counts, bottom=bottom, color=colour, label=_amount(name, split))
        bottom += counts
    axes.set_xticks(classes, dataset.charset.characters)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylabel("examples per class")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def _draw_lines(axes: Axes, split: LineSplit, rows: int, colour: str) -> None:
    """Draw the lines below each other, each above its text."""
    pitch = 2 * split.height
    picture = np.zeros((rows * pitch, max(int(split.widths_N.max()), 8 * split.height)), np.uint8)
    for i, image in enumerate(split.images):
        picture[i * pitch : i * pitch + split.height, : image.shape[1]] = image
        text = split.texts[i].replace("$", r"\$")  # a bare $ would start a formula
        axes.text(0, i * pitch + 1.15 * split.height, text, fontsize=9, va="top", color=colour, clip_on=True)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="lanczos", aspect="equal")
    axes.set_axis_off()


def _draw_widths(axes: Axes, dataset: LineDataset) -> None:
    widths = [dataset.split(name).widths_N for name in _SPLITS]
    axes.hist(widths, bins=40, stacked=True, color=list(_SPLITS.values()), label=list(_SPLITS))
    axes.set_xlabel("width, pixels")
    axes.set_ylabel("lines")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
