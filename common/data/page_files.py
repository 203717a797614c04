"""Pages on disk: XML files with their images, in a folder and its subfolders; their lines, checked; their writers."""

# H height, W width; a point is (x, y) in pixels of the image, from its upper left corner

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from common.data.dataset import Refused
from common.data.images import image_size, load_image
from common.data.prepared import file_states
from common.data.splits import split_groups
from common.data.xml_pages import Page, Points, TextLine, read_page
from common.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_UNREADABLE = "><"
# greatest share of an outline's area, or of a baseline's length, outside the page. Layout tools draw outlines a few
# pixels past the edge. More means that the line is on another image.
_MOST_OUTSIDE = 0.5
_SAMPLES = 101  # points at which a baseline is looked at
# least share of its area that a polygon keeps when loops of opposite direction cancel out. Layout tools make tiny
# loops, which cancel almost nothing.
_LEAST_AREA = 0.8
_LEAST_GROUPS = 3  # one for each split


@dataclass(frozen=True, kw_only=True)
class PageFolder:
    """The pages under a folder, by name, in the order of their names."""

    path: Path
    files: Mapping[str, Path]
    """XML file of each page. The name is the file's path under the folder, with forward slashes, without .xml."""
    writers: Mapping[str, str]
    """Writer of each page, or the page's own name if writers are unknown."""

    def states(self) -> list[tuple[str, int, int]]:
        """All that the pages depend on, for `prepared.prepare`: the files in the folders that have pages."""
        folders = sorted({file.parent for file in self.files.values()})
        return file_states(
            self.path, (path for folder in folders for path in sorted(folder.iterdir()) if path.is_file())
        )

    def splits(self, lines_of_page: Mapping[str, int]) -> dict[str, str]:
        """The split of each page: train, validation or test.

        Each subfolder is split on its own. The splits of a folder of collections are therefore the splits of its
        collections together. Subfolders with fewer than three writers are split together. If they have fewer than three
        writers together, they are all in the training split.

        Args:
            lines_of_page: number of lines that can be read of each page. Writers without any do not count; their pages
                are in the training split.

        Raises:
            UserError: there are fewer than three writers in all.
        """
        sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, writer in self.writers.items():
            if lines_of_page.get(name, 0):
                sizes[name.rpartition("/")[0]][writer] += lines_of_page[name]
        large = [folder for folder, of_writer in sizes.items() if len(of_writer) >= _LEAST_GROUPS]
        pools = [sizes[folder] for folder in large]
        rest: dict[str, int] = defaultdict(int)
        for folder in sizes.keys() - set(large):
            for writer, lines in sizes[folder].items():
                rest[writer] += lines
        if len(rest) >= _LEAST_GROUPS or not pools:
            pools.append(rest)
        split_of: dict[str, str] = {}
        for pool in pools:
            # a writer with pages in several subfolders stays where the first one puts them
            split_of = split_groups("pages", pool) | split_of
        return {name: split_of.get(writer, "train") for name, writer in self.writers.items()}


def find_pages(folder: Path, writer_pattern: str = "") -> PageFolder:
    """Find the pages under a folder and its subfolders. Files and folders whose names begin with a dot are skipped.

    Args:
        folder: the folder.
        writer_pattern: regular expression that is searched in the name of each page. Its group 1 is the writer. Empty:
            each page is by a writer of its own.

    Raises:
        UserError: there is no XML. The pattern is not valid or does not match every page name.
    """
    pattern = _compile(writer_pattern)
    inside = {path.relative_to(folder): path for path in folder.rglob("*.xml")}
    # `fourhands label` keeps earlier states of its files in a hidden folder
    seen = {name: path for name, path in inside.items() if not any(part.startswith(".") for part in name.parts)}
    named = {name.with_suffix("").as_posix(): path for name, path in seen.items()}
    if not named:
        raise UserError(
            f"{folder} holds no .xml file; expected ALTO or PAGE files beside their images, name another folder"
        )
    files = {name: named[name] for name in sorted(named)}
    return PageFolder(path=folder, files=files, writers={name: _writer(name, pattern) for name in files})


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


def image_beside(file: Path, page: Page) -> Path:
    """The image of a page: the file that the XML names, or one of the XML's name, in the XML's folder.

    Raises:
        UserError: there is none.
    """
    # some tools write a whole path, of the machine that they ran on
    named = file.parent / re.split(r"[/\\]", page.image_name)[-1] if page.image_name else file
    candidates = [named, *(file.with_suffix(suffix) for suffix in SUFFIXES)]
    for path in candidates:
        if path != file and path.is_file():
            return path
    wanted = f"{named.name} or " if page.image_name else ""
    raise UserError(f"the image of {file.name} is missing; put {wanted}{file.stem}{'|'.join(SUFFIXES)} beside it")


def load_page(file: Path) -> tuple[UInt8[np.ndarray, "H W"], Page]:
    """A page's picture, as grey levels, and what its XML says.

    Raises:
        UserError: the XML cannot be read or has another form. The image is missing, cannot be read, or has another size
            than the XML says.
    """
    page = read_page(file)
    image_path = image_beside(file, page)
    picture_HW = load_image(image_path)
    _check_size(file, page, image_path, (picture_HW.shape[1], picture_HW.shape[0]))
    return picture_HW, page


def page_size(file: Path, page: Page) -> tuple[int, int]:
    """Width and height of a page's image, pixels. Only the header of the image is read.

    Raises:
        UserError: the image is missing, cannot be read, or has another size than the XML says.
    """
    image_path = image_beside(file, page)
    size = image_size(image_path)
    _check_size(file, page, image_path, size)
    return size


def _check_size(file: Path, page: Page, image_path: Path, size: tuple[int, int]) -> None:
    if page.size not in (None, size):
        wanted = "{}×{}".format(*page.size)
        raise UserError(
            f"{image_path.name} is {size[0]}×{size[1]} pixels but {file.name} says {wanted}; "
            "put the image of this XML beside it"
        )


@dataclass(frozen=True, kw_only=True)
class CheckedLine:
    """A line that lies on its page, cut off at the page's edge."""

    line: TextLine
    """With outline and baseline inside the page."""
    name: str
    """Its name in messages."""
    clipped: bool
    """Whether its outline reached more than the rounding of coordinates past the edge."""
    unreadable: str
    """Why its text cannot be learnt; empty if it can."""


# pixels: rounding and scaling of coordinates may put a point this far outside its page
_ROUNDING = 1.5


def checked_lines(name: str, page: Page, size: tuple[int, int]) -> Iterator[CheckedLine | Refused]:
    """The lines of a page in the order of its file, or why a line cannot be used.

    Args:
        name: the page's name.
        page: what its XML says.
        size: width and height of its image, pixels.
    """
    for line in page.lines:
        line_name = f"{name}, line {line.number}"
        if not len(line.outline):
            yield Refused(name=line_name, reason="has neither polygon nor box")
            continue
        points = np.concatenate([line.outline, line.baseline])
        clipped = bool(((points < -_ROUNDING) | (points > np.array(size) + _ROUNDING)).any())
        if clipped and (reason := _outside(line, size)):
            yield Refused(name=line_name, reason=reason)
            continue
        outline, baseline = clip_polygon(line.outline, size), np.clip(line.baseline, 0, size)
        across, down = np.ptp(outline, axis=0) if len(outline) else (0.0, 0.0)
        if len(outline) < 3 or min(across, down) < 2:
            yield Refused(name=line_name, reason=f"its outline is empty ({across:g}×{down:g} pixels)")
        elif _crosses_itself(line.outline) and _area_kept(line.outline) < _LEAST_AREA:
            yield Refused(name=line_name, reason="its polygon crosses itself")
        else:
            yield CheckedLine(
                line=replace(line, outline=outline, baseline=baseline),
                name=line_name,
                clipped=clipped,
                unreadable=_unreadable(line.text),
            )


def _unreadable(text: str) -> str:
    if not text:
        return "has no text"
    if _UNREADABLE in text:
        return f"its text has a mark for a stretch that could not be read ({_UNREADABLE})"
    return ""


def _outside(line: TextLine, size: tuple[int, int]) -> str:
    """Why a line that reaches outside the page cannot be used; empty if most of it lies on the page."""
    whole, inside = _area(line.outline), _area(clip_polygon(line.outline, size))
    if whole - inside > _MOST_OUTSIDE * whole:
        return f"{1 - inside / whole:.0%} of its outline lies outside the {size[0]}×{size[1]} image"
    if len(line.baseline):
        points = _along(line.baseline)
        outside = float(((points < 0) | (points > np.array(size))).any(axis=1).mean())
        if outside > _MOST_OUTSIDE:
            return f"{outside:.0%} of its baseline lies outside the {size[0]}×{size[1]} image"
    return ""


def _along(polyline: Points) -> Points:
    """Points at equal distances along a polyline."""
    steps = np.linalg.norm(np.diff(polyline, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    return np.stack([np.interp(np.linspace(0, at[-1], _SAMPLES), at, axis) for axis in polyline.T], axis=1)


def clip_polygon(polygon: Points, size: tuple[int, int]) -> Points:
    """The part of a polygon inside the page; empty if there is none.

    Args:
        polygon: corners in order.
        size: width and height of the page, pixels.

    Source: Sutherland & Hodgman 1974, "Reentrant polygon clipping".
    """
    for axis in (0, 1):
        for inwards, edge in ((1.0, 0.0), (-1.0, float(-size[axis]))):
            depth = inwards * polygon[:, axis] - edge  # how far inside this edge each corner is
            if (depth >= 0).all():
                continue
            kept = []
            for i in range(len(polygon)):
                before = i - 1
                if (depth[before] >= 0) != (depth[i] >= 0):  # the side from the corner before crosses the edge
                    share = depth[before] / (depth[before] - depth[i])
                    kept.append(polygon[before] + share * (polygon[i] - polygon[before]))
                if depth[i] >= 0:
                    kept.append(polygon[i])
            polygon = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return polygon


def _area(polygon: Points) -> float:
    """Area inside a polygon; loops of opposite direction cancel."""
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


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
    covered = int(np.count_nonzero(polygon_mask(polygon - np.floor(polygon.min(axis=0)))))
    return _area(polygon) / max(covered, 1)


def polygon_mask(polygon: Points) -> UInt8[np.ndarray, "H W"]:
    """1 inside the polygon, 0 outside. The mask extends from the origin to the end of the polygon."""
    from PIL import Image, ImageDraw

    width, height = np.ceil(polygon.max(axis=0)).astype(int) + 1
    mask = Image.new("L", (int(width), int(height)))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in polygon], fill=1, outline=1)
    return np.asarray(mask)
