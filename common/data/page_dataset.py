"""Pages with their lines, as a data set: pictures and page images are read when they are needed."""

# N pages, M chosen pages, H height, W width

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from common.charset import Charset
from common.data.dataset import SPLITS, Dataset, Refused
from common.data.page_files import CheckedLine, checked_lines, find_pages, load_page, page_size
from common.data.page_image import page_image, page_scale
from common.data.xml_pages import Points, TextLine, read_page
from common.errors import UserError

Picture = UInt8[np.ndarray, "_ _"]


@runtime_checkable
class Images(Protocol):
    """Images of pages. Each may be read, or made, when it is needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...


class LazyImages(Sequence[Picture]):
    """Images of pages, each made when it is first needed.

    Args:
        makers: one function per image.
        keep: whether to keep the images that were made. Any number of threads may ask for them.
    """

    def __init__(self, makers: Sequence[Callable[[], Picture]], *, keep: bool) -> None:
        self._makers = makers
        self._keep = keep
        self._made: dict[int, Picture] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]  # no slices
        with self._lock:
            made = self._made.get(index)
        if made is None:
            made = self._makers[index]()  # without the lock: two threads may make the same image, which is the same
            if self._keep:
                with self._lock:
                    self._made[index] = made
        return made


class _Joined(Sequence[Picture]):
    """The images of two sequences, one after the other."""

    def __init__(self, first: Images, second: Images) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]  # no slices
        here = index - len(self._first)
        return self._first[index] if here < 0 else self._second[here]


class _Chosen(Sequence[Picture]):
    """Some images of a sequence, each read on demand."""

    def __init__(self, images: Images, indices: Int[np.ndarray, "M"]) -> None:
        self._images, self._indices = images, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]  # no slices
        return self._images[int(self._indices[index])]


@dataclass(frozen=True, kw_only=True)
class PageSplit:
    """Pages with their lines."""

    pictures: Images
    """Grey levels of each page as it was loaded. Each may be read from its file when it is needed."""
    images: Images
    """What a finder of lines sees of each page, see `common.data.page_image`: ink 255 on paper 0."""
    scales_N: Float[np.ndarray, "N"]
    """Pixels of each page's image per pixel of its picture."""
    lines: Sequence[tuple[TextLine, ...]]
    """The lines of each page in reading order, in pixels of its picture. Every line has an outline and a baseline."""
    unknown: Sequence[tuple[Points, ...]]
    """Per page, polygons within which the truth is not known: lines whose position cannot be used."""
    names: Sequence[str]
    """Name of each page in messages."""
    writers_N: Int[np.ndarray, "N"] | None = None
    """Number of each page's writer, or None if unknown. No writer is in two splits."""

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Picture:
        """The page image at `index`."""
        return self.images[index]

    def take(self, indices: Int[np.ndarray, "M"]) -> PageSplit:
        """The pages at `indices`, in that order."""
        return PageSplit(
            pictures=_Chosen(self.pictures, indices),
            images=_Chosen(self.images, indices),
            scales_N=self.scales_N[indices],
            lines=[self.lines[int(i)] for i in indices],
            unknown=[self.unknown[int(i)] for i in indices],
            names=[self.names[i] for i in indices],
            writers_N=None if self.writers_N is None else self.writers_N[indices],
        )


PageDataset = Dataset[PageSplit]


def joined(first: PageSplit, second: PageSplit) -> PageSplit:
    """The pages of two splits that share no writer, one split after the other."""
    writers_N = None
    if first.writers_N is not None and second.writers_N is not None:
        writers_N = np.concatenate([first.writers_N, second.writers_N + first.writers_N.max() + 1])
    return PageSplit(
        pictures=_Joined(first.pictures, second.pictures),
        images=_Joined(first.images, second.images),
        scales_N=np.concatenate([first.scales_N, second.scales_N]),
        lines=[*first.lines, *second.lines],
        unknown=[*first.unknown, *second.unknown],
        names=[*first.names, *second.names],
        writers_N=writers_N,
    )


@dataclass(kw_only=True)
class FoundPages:
    """Pages that were found in files, and why others cannot be used."""

    makers: list[Callable[[], Picture]] = field(default_factory=list)
    """Load the picture of each page."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Width and height of each picture, pixels."""
    lines: list[tuple[TextLine, ...]] = field(default_factory=list)
    unknown: list[tuple[Points, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        maker: Callable[[], Picture],
        size: tuple[int, int],
        lines: Sequence[TextLine],
        unknown: Sequence[Points] = (),
    ) -> None:
        """Add a page. A page without lines is refused: nobody has marked its lines, which does not mean it has none."""
        if not lines:
            self.refused.append(Refused(name=name, reason="the page has no lines"))
            return
        self.makers.append(maker)
        self.sizes.append(size)
        self.lines.append(tuple(lines))
        self.unknown.append(tuple(unknown))
        self.names.append(name)

    def dataset(
        self, name: str, *, side: int, writer_of: Mapping[str, str], split_of: Mapping[str, str]
    ) -> PageDataset:
        """The pages as a data set.

        Args:
            name: name of the data set.
            side: size of the page images, see `page_image`.
            writer_of: the writer of each page, by the page's name.
            split_of: train, validation or test, by the page's name. A page in none of them is left out.

        Raises:
            UserError: a split has no page.
        """
        writers = [writer_of[page] for page in self.names]
        whole = page_split(
            pictures=LazyImages(self.makers, keep=False),
            side=side,
            scales=[page_scale(size, side) for size in self.sizes],
            lines=self.lines,
            unknown=self.unknown,
            names=self.names,
            writers_N=np.searchsorted(sorted(set(writers)), writers),
        )
        splits = {}
        for split in SPLITS:
            chosen = [i for i, page in enumerate(self.names) if split_of.get(page) == split]
            if not chosen:
                raise UserError(f"the {split} split of {name} has no page with lines; give more pages")
            splits[split] = whole.take(np.array(chosen, dtype=np.int64))
        return PageDataset(
            name=name,
            charset=Charset(()),  # a finder reads no text
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
            refused=tuple(self.refused),
            clipped=tuple(self.clipped),
        )


def load(folder: Path, *, side: int, writer_pattern: str = "") -> PageDataset:
    """Load the pages under a folder, with the same splits as `pages.load`. Pictures are read when they are needed.

    Args:
        folder: the folder with the XML files and their images, or with subfolders of them.
        side: size of the page images, see `page_image`.
        writer_pattern: as in `pages.load`.

    Raises:
        UserError: as `pages.load` raises it, but a damaged picture is reported when it is needed. A split has no page.
    """
    files = find_pages(folder, writer_pattern)
    found = FoundPages()
    readable = {name: _add(found, name, file) for name, file in files.files.items()}
    return found.dataset("pages", side=side, writer_of=files.writers, split_of=files.splits(readable))


def _add(found: FoundPages, name: str, file: Path) -> int:
    """Add the page of a file. The result is the number of its lines that can be read."""
    page = read_page(file)
    size = page_size(file, page)
    lines: list[TextLine] = []
    unknown: list[Points] = []
    readable = 0
    outline_of = {f"{name}, line {line.number}": line.outline for line in page.lines}
    for checked in checked_lines(name, page, size):
        if isinstance(checked, CheckedLine):
            readable += not checked.unreadable
            if len(checked.line.baseline) >= 2:
                lines.append(checked.line)
                if checked.clipped:
                    found.clipped.append(checked.name)
                continue
            checked = Refused(name=checked.name, reason="has no baseline")
        found.refused.append(checked)
        if len(outline_of[checked.name]) >= 3:
            unknown.append(outline_of[checked.name])
    found.add(name, lambda: load_page(file)[0], size, lines, unknown)
    return readable


def page_split(
    *,
    pictures: Images,
    side: int,
    scales: Sequence[float],
    lines: Sequence[tuple[TextLine, ...]],
    names: Sequence[str],
    unknown: Sequence[tuple[Points, ...]] | None = None,
    writers_N: Int[np.ndarray, "N"] | None = None,
) -> PageSplit:
    """A split whose page images are made from the pictures when they are first needed, and then kept."""

    def maker(index: int) -> Callable[[], Picture]:
        return lambda: page_image(pictures[index], side)[0]

    return PageSplit(
        pictures=pictures,
        images=LazyImages([maker(i) for i in range(len(names))], keep=True),
        scales_N=np.array(scales, dtype=np.float64),
        lines=lines,
        unknown=[()] * len(names) if unknown is None else unknown,
        names=names,
        writers_N=writers_N,
    )
