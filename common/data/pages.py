"""`pages`: page images with ALTO or PAGE XML beside them, cut into level lines.

The folder has files `NAME.xml`. Beside each is its image: the file that the XML names, or NAME.jpg, .jpeg, .png, .tif
or .tiff. The image of a line is the part of the page inside the line's polygon (or box), levelled along the baseline.

The text is not changed. Some transcribers mark struck-out words as `>words<`. These words can still be read, so the
marks are kept, and a model learns them like other characters. An empty mark, `><`, means that nobody could read the
words. Such a line has ink without text, and would teach a model to skip ink. It is refused.
"""

# H height, W width; a point is (x, y) in pixels of the image, from its upper left corner

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from common.data.dataset import Refused
from common.data.images import load_image
from common.data.line_image import darkness, full_contrast, to_height
from common.data.lines import LineDataset
from common.data.prepared import Line, file_states, prepare
from common.data.splits import by_group
from common.data.threshold import otsu
from common.data.xml_pages import Page, Points, TextLine, read_page
from common.errors import UserError

_VERSION = 2  # of this file's algorithm; increase it to prepare cached lines again
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_UNREADABLE = "><"
# pixels: rounding and scaling of coordinates may put a point this far outside its page
_ROUNDING = 1.5
# least share of its area that a polygon keeps when loops of opposite direction cancel out. Layout tools make tiny
# loops, which cancel almost nothing.
_LEAST_AREA = 0.8
# share of the page's height over which the level of the paper is almost constant
_WINDOW = 1 / 25


def load(folder: Path, *, height: int, writer_pattern: str = "") -> LineDataset:
    """Load the lines of all pages in the folder. No page and no writer is in two splits.

    Args:
        folder: the folder with the XML files and their images.
        height: height of the lines, pixels.
        writer_pattern: regular expression that is searched in the name of each page (without .xml). Its group 1 is the
            writer. Empty: each page is by a writer of its own.

    Raises:
        UserError: the folder has no XML. An XML file cannot be read or has another form. An image is missing, cannot be
            read, or has another size than its XML says. The pattern is not valid or does not match every page name.
            There are fewer than three pages or writers.
    """
    pattern = _compile(writer_pattern)
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise UserError(
            f"{folder} holds no .xml file; expected ALTO or PAGE files beside their images, name another folder"
        )
    writers = {file.stem: _writer(file.stem, pattern) for file in files}
    state = [_VERSION, height, file_states(folder, (path for path in sorted(folder.iterdir()) if path.is_file()))]

    def lines() -> Iterator[Line | Refused]:
        for file in files:
            yield from _lines(file, height)

    prepared = prepare("pages", state, lines)
    assert prepared.lines.writers_N is not None, "every prepared line has a group"
    groups = [writers[prepared.groups[i]] for i in prepared.lines.writers_N]
    return by_group("pages", prepared, groups)


def _compile(pattern: str) -> re.Pattern[str] | None:
    try:
        compiled = re.compile(pattern) if pattern else None
    except re.error as error:
        raise UserError(
            f"the writer pattern {pattern!r} is no regular expression ({error}); expected one such as '^(.*)_[0-9]+$'"
        ) from None
    if compiled is not None and not compiled.groups:
        raise UserError(
            f"the writer pattern {pattern!r} has no group; put the part that names the writer in parentheses"
        )
    return compiled


def _writer(name: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return name
    found = pattern.search(name)
    if found is None or found[1] is None:
        raise UserError(
            f"the writer pattern {pattern.pattern!r} finds no writer in the page name {name!r}; "
            "it must match every page name"
        )
    return found[1]


def _lines(file: Path, height: int) -> Iterator[Line | Refused]:
    page = read_page(file)
    image_path = _image_beside(file, page)
    image_HW = load_image(image_path)
    size = (image_HW.shape[1], image_HW.shape[0])
    if page.size not in (None, size):
        wanted = "{}×{}".format(*page.size)
        raise UserError(
            f"{image_path.name} is {size[0]}×{size[1]} pixels but {file.name} says {wanted}; "
            "put the image of this XML beside it"
        )
    if np.median(image_HW) <= otsu(image_HW):
        image_HW = 255 - image_HW  # light ink on dark paper
    dark_HW = darkness(image_HW, max(16, round(len(image_HW) * _WINDOW)))
    for line in page.lines:
        name = f"{file.stem}, line {line.number}"
        reason = _refusal(line, size)
        made_HW = None if reason else _cut(dark_HW, line, height)
        if made_HW is None:
            yield Refused(name=name, reason=reason or "no ink within its outline")
        else:
            yield Line(image=made_HW, text=line.text, name=name, group=file.stem)


def _image_beside(file: Path, page: Page) -> Path:
    # some tools write a whole path, of the machine that they ran on
    named = file.parent / re.split(r"[/\\]", page.image_name)[-1] if page.image_name else file
    candidates = [named, *(file.with_suffix(suffix) for suffix in _SUFFIXES)]
    for path in candidates:
        if path != file and path.is_file():
            return path
    wanted = f"{named.name} or " if page.image_name else ""
    raise UserError(f"the image of {file.name} is missing; put {wanted}{file.stem}{'|'.join(_SUFFIXES)} beside it")


def _refusal(line: TextLine, size: tuple[int, int]) -> str:
    """The reason why the line cannot be used; empty if it can."""
    if not line.text:
        return "has no text"
    if _UNREADABLE in line.text:
        return f"its text has a mark for a stretch that could not be read ({_UNREADABLE})"
    if not len(line.outline):
        return "has neither polygon nor box"
    for what, points in (("outline", line.outline), ("baseline", line.baseline)):
        outside = (points < -_ROUNDING) | (points > np.array(size) + _ROUNDING)
        if outside.any():
            axis = int(np.flatnonzero(outside.any(axis=0))[0])
            value = points[outside[:, axis], axis][0]
            return f"its {what} lies outside the {size[0]}×{size[1]} image ({'xy'[axis]}={value:g})"
    across, down = np.ptp(line.outline, axis=0)
    if len(line.outline) < 3 or min(across, down) < 2:
        return f"its outline is empty ({across:g}×{down:g} pixels)"
    if _crosses_itself(line.outline) and _area_kept(line.outline) < _LEAST_AREA:
        return "its polygon crosses itself"
    return ""


def _crosses_itself(polygon: Points) -> bool:
    """Whether two sides cross at a point that is inside both."""
    a, b = polygon[:, None], np.roll(polygon, -1, axis=0)[:, None]
    c, d = a.swapaxes(0, 1), b.swapaxes(0, 1)
    return bool(((_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)).any())


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Positive where c is on one side of the line from a to b, negative where it is on the other."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def _area_kept(polygon: Points) -> float:
    """The polygon's area with loops of opposite direction cancelled, as a share of the area that it covers."""
    x, y = polygon.T
    signed = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    corner = np.floor(polygon.min(axis=0))
    return float(signed / max(np.count_nonzero(_mask(polygon - corner)), 1))


def _mask(polygon: Points) -> UInt8[np.ndarray, "H W"]:
    """1 inside the polygon, 0 outside. The mask extends from the origin to the end of the polygon."""
    width, height = np.ceil(polygon.max(axis=0)).astype(int) + 1
    mask = Image.new("L", (int(width), int(height)))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in polygon], fill=1, outline=1)
    return np.asarray(mask)


def _cut(dark_HW: UInt8[np.ndarray, "H W"], line: TextLine, height: int) -> UInt8[np.ndarray, "{height} _"] | None:
    """The line's image; None if it has no ink."""
    limit = np.array(dark_HW.shape[::-1]) - 1
    outline = np.clip(line.outline, 0, limit)
    corner = np.floor(outline.min(axis=0)).astype(int)
    mask_HW = _mask(outline - corner)
    left, top = corner
    cut_HW = dark_HW[top : top + mask_HW.shape[0], left : left + mask_HW.shape[1]]
    mask_HW = mask_HW[: cut_HW.shape[0], : cut_HW.shape[1]]
    ink_HW = full_contrast(cut_HW * mask_HW)
    if ink_HW is None:
        return None
    return to_height(level(ink_HW, outline - corner, line.baseline - corner), height)


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
