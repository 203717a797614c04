"""`pages`: page images with ALTO or PAGE XML beside them, cut into level lines.

The folder and its subfolders have files `NAME.xml`. Beside each is its image: the file that the XML names, or NAME.jpg,
.jpeg, .png, .tif or .tiff. The image of a line is the part of the page inside the line's polygon (or box), levelled
along the baseline. What reaches outside the page is cut off at its edge.

The text is not changed. Some transcribers mark struck-out words as `>words<`. These words can still be read, so the
marks are kept, and a model learns them like other characters. An empty mark, `><`, means that nobody could read the
words. Such a line has ink without text, and would teach a model to skip ink. It is refused.
"""

# H height, W width; a point is (x, y) in pixels of the image, from its upper left corner

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from common.data.dataset import Refused
from common.data.line_image import darkness, full_contrast, to_height
from common.data.lines import LineDataset
from common.data.page_files import checked_lines, find_pages, load_page, polygon_mask
from common.data.prepared import Line, prepare
from common.data.splits import by_split, held_out, number_groups
from common.data.xml_pages import Points

_VERSION = 4  # of this file's algorithm; increase it to prepare cached lines again
# share of the page's height over which the level of the paper is almost constant
_WINDOW = 1 / 25
_LOOKED_AT = 300_000  # pixels of a page that are enough to see whether its ink is dark
_NO_INK = "no ink within its outline"


def load(folder: Path, *, height: int, writer_pattern: str = "", hold_out: int = 0) -> LineDataset:
    """Load the lines of all pages under the folder. No page and no writer is in two splits, unless `hold_out` is set.

    Args:
        folder: the folder with the XML files and their images, or with subfolders of them. Each subfolder is split on
            its own, see `PageFolder.splits`.
        height: height of the lines, pixels.
        writer_pattern: regular expression that is searched in the name of each page, which is its path under the folder
            without .xml. Its group 1 is the writer. Empty: each page is by a writer of its own.
        hold_out: hold out every Nth page instead of whole writers; see `held_out`. 0: whole writers.

    Raises:
        UserError: the folder has no XML. An XML file cannot be read or has another form. An image is missing, cannot be
            read, or has another size than its XML says. The pattern is not valid or does not match every page name.
            There are fewer than three pages or writers, and `hold_out` is 0.
    """
    found = find_pages(folder, writer_pattern)

    def lines() -> Iterator[Line | Refused]:
        for name, file in found.files.items():
            yield from _lines(name, file, height)

    prepared = prepare("pages", [_VERSION, height, found.states()], lines)
    assert prepared.lines.writers_N is not None, "every prepared line has a group"
    page_N = [prepared.groups[i] for i in prepared.lines.writers_N]
    if hold_out:
        numbered = number_groups(prepared, page_N)
        return by_split("pages", numbered, held_out(page_N, hold_out))
    # a line without ink counts too: the splits then follow from the XML alone, as those of the task pages do
    blank = [refused.name.rpartition(", line ")[0] for refused in prepared.refused if refused.reason == _NO_INK]
    split_of = found.splits(Counter([*page_N, *blank]))
    numbered = number_groups(prepared, [found.writers[page] for page in page_N])
    return by_split("pages", numbered, [split_of[page] for page in page_N])


def _lines(name: str, file: Path, height: int) -> Iterator[Line | Refused]:
    picture_HW, page = load_page(file)
    dark_HW = page_darkness(picture_HW)
    for checked in checked_lines(name, page, (picture_HW.shape[1], picture_HW.shape[0])):
        if isinstance(checked, Refused):
            yield checked
            continue
        line, reason = checked.line, checked.unreadable
        made_HW = None if reason else cut_line(dark_HW, line.outline, line.baseline, height)
        if made_HW is None:
            yield Refused(name=checked.name, reason=reason or _NO_INK)
        else:
            yield Line(image=made_HW, text=line.text, name=checked.name, group=name, clipped=checked.clipped)


def page_darkness(picture_HW: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """How much darker each pixel of a page is than the paper around it: 0 is paper, 255 is black.

    Args:
        picture_HW: grey levels. Light ink on dark paper is inverted.
    """
    if _has_light_ink(picture_HW):
        picture_HW = 255 - picture_HW
    return darkness(picture_HW, max(16, round(len(picture_HW) * _WINDOW)))


def _has_light_ink(picture_HW: UInt8[np.ndarray, "H W"]) -> bool:
    """Whether the ink of a page is lighter than its paper.

    Ink covers little of the paper around it, so it is on the side of the median with the larger deviations. Small
    blocks decide, each by its own median: a dark table around a page is not ink, and a shadow is no dark paper.
    """
    step = max(1, round(math.sqrt(picture_HW.size / _LOOKED_AT)))
    few_HW = picture_HW[::step, ::step].astype(np.float32)
    side = max(8, round(len(few_HW) * _WINDOW))
    rows, columns = (max(1, length // side) for length in few_HW.shape)
    blocks = [block for band in np.array_split(few_HW, rows) for block in np.array_split(band, columns, axis=1)]
    skews = [float(((block - np.median(block)) ** 3).mean()) for block in blocks]
    # the cube root: an edge of the table must not outweigh many blocks of text
    return float(np.cbrt(skews).sum()) > 0


def cut_line(
    dark_HW: UInt8[np.ndarray, "H W"], outline: Points, baseline: Points, height: int
) -> UInt8[np.ndarray, "{height} _"] | None:
    """Cut a line out of a page, and bring it to the form that models of lines are trained on.

    Args:
        dark_HW: the page, as `page_darkness` returns it.
        outline: the line's polygon, in pixels of the page. What lies outside the page is cut off.
        baseline: the line's baseline, in pixels of the page; may be empty.
        height: height of the result, pixels.

    Returns:
        The level line, ink 255 on paper 0; None if it has no ink.
    """
    limit = np.array(dark_HW.shape[::-1]) - 1
    outline = np.clip(outline, 0, limit)
    corner = np.floor(outline.min(axis=0)).astype(int)
    mask_HW = polygon_mask(outline - corner)
    left, top = corner
    cut_HW = dark_HW[top : top + mask_HW.shape[0], left : left + mask_HW.shape[1]]
    mask_HW = mask_HW[: cut_HW.shape[0], : cut_HW.shape[1]]
    ink_HW = full_contrast(cut_HW * mask_HW)
    if ink_HW is None:
        return None
    return to_height(level(ink_HW, outline - corner, baseline - corner), height)


def level(ink_HW: UInt8[np.ndarray, "H W"], outline: Points, baseline: Points) -> UInt8[np.ndarray, "_ _"]:
    """Rotate a line until the ends of its baseline are level, then shift its columns until the whole baseline is level.

    A baseline that is shorter than the line's height has no reliable direction. Such a line is returned unchanged.

    Args:
        ink_HW: ink 255 on paper 0.
        outline: the line's polygon, in pixels of `ink_HW`.
        baseline: the line's baseline, in pixels of `ink_HW`; may be empty.
    """
    if len(baseline) < 2 or np.linalg.norm(baseline[-1] - baseline[0]) < np.ptp(outline, axis=0).min():
        return ink_HW
    if baseline[-1, 0] < baseline[0, 0]:
        baseline = baseline[::-1]  # drawn from right to left
    start = baseline[0]
    along = (baseline[-1] - start) / np.linalg.norm(baseline[-1] - start)
    axes = np.stack([along, (-along[1], along[0])])  # along the line, and downwards from it
    knots_u, knots_v = ((baseline - start) @ axes.T).T
    ahead = knots_u > np.maximum.accumulate(np.concatenate([[-1.0], knots_u[:-1]]))
    knots_u, knots_v = knots_u[ahead], knots_v[ahead]
    outline_u, outline_v = ((outline - start) @ axes.T).T
    shift_v = np.interp(outline_u, knots_u, knots_v)
    left, right = int(np.floor(outline_u.min())), int(np.ceil(outline_u.max())) + 1
    top, bottom = int(np.floor((outline_v - shift_v).min())), int(np.ceil((outline_v - shift_v).max())) + 1
    u = np.unique(np.clip(np.rint([left, *knots_u, right]), left, right)).astype(int)
    v = np.interp(u, knots_u, knots_v)
    # upper and lower ends, on the page, of the borders between the strips
    upper = start + np.stack([u, v + top], axis=1) @ axes
    lower = start + np.stack([u, v + bottom], axis=1) @ axes
    strips = [
        (
            (int(u[i]) - left, 0, int(u[i + 1]) - left, bottom - top),
            tuple(float(x) for corner in (upper[i], lower[i], lower[i + 1], upper[i + 1]) for x in corner),
        )
        for i in range(len(u) - 1)
    ]
    size = (right - left, bottom - top)
    picture = Image.fromarray(ink_HW)
    return np.asarray(picture.transform(size, Image.Transform.MESH, strips, resample=Image.Resampling.BILINEAR))
