"""Evaluating a page's reader on a split of pages: the lines that it finds, and the text that it reads."""

# N pages, H height, W width

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from common.charset import Charset
from common.data.page_dataset import PageSplit, Picture
from common.data.pages import cut_line, page_darkness
from common.data.xml_pages import Points, TextLine
from common.evaluation.finding import PageFinding, finding_figures, page_finding
from common.evaluation.pages import PARTS, Line, PageScore, page_figures, score_page
from common.reading.finding import FoundLine, find_lines
from common.reading.lines import spec_of
from common.reading.page import PageReading, read_found, read_images
from common.reading.search import BEST_PATH, Search
from common.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class PageResult:
    """What a page's reader made of one page."""

    name: str
    finding: PageFinding
    """How well the lines were found."""
    score: PageScore
    """How well the page was read."""
    found: tuple[FoundLine, ...]
    """The lines that were found, in reading order."""
    reading: PageReading
    """The text that was read."""

    @property
    def collection(self) -> str:
        """The subfolder of the page; empty for a page of the folder itself."""
        return self.name.rpartition("/")[0]

    def figures(self) -> dict[str, Any]:
        """The figures of this page."""
        score, finding = self.score, self.finding
        length = max(1, score.characters)
        return {
            "page": self.name,
            "lines": finding.true,
            "lines_found": finding.found,
            "lines_matched": len(finding.pairs),
            "characters": score.characters,
            "edits": score.edits,
            "cer": score.edits / length,
            "cer_matched": score.edits_matched / length,
            "cer_own_lines": score.edits_own_lines / length,
            **{f"cer_{part}": getattr(score, part) / length for part in PARTS},
        }


@dataclass(frozen=True, kw_only=True)
class PageEvaluation:
    """The result of evaluating a page's reader on pages."""

    results: Sequence[PageResult]
    writers_N: Int[np.ndarray, "N"] | None
    """Number of each page's writer, or None if unknown."""

    def figures(self) -> dict[str, Any]:
        """The figures of all pages, of each collection if there are several, and of each page, the worst first."""
        collections = sorted({result.collection for result in self.results})
        figures = self._figures(list(range(len(self.results))))
        if len(collections) > 1:
            figures["collections"] = {
                name: self._figures([i for i, result in enumerate(self.results) if result.collection == name])
                for name in collections
            }
        return figures | {"each_page": [self.results[i].figures() for i in self.worst]}

    @cached_property
    def worst(self) -> list[int]:
        """The indices of the pages, those with the most edits first."""
        return sorted(range(len(self.results)), key=lambda i: -self.results[i].score.edits)

    def _figures(self, chosen: Sequence[int]) -> dict[str, Any]:
        results = [self.results[i] for i in chosen]
        writers_N = None if self.writers_N is None else self.writers_N[list(chosen)]
        found = finding_figures([result.finding for result in results], writers_N)
        return {**found, **page_figures([result.score for result in results], writers_N), "examples": len(results)}


def read_pages(
    finder: Recognizer,
    recognizer: Recognizer,
    charset: Charset,
    split: PageSplit,
    search: Search = BEST_PATH,
    read: Callable[[Sequence[FoundLine], Picture], PageReading] | None = None,
) -> Iterator[PageResult]:
    """Find and read the lines of each page, and compare both with the truth.

    Each line is read twice: as it was found, and cut by the outline of the file.

    Args:
        finder: a trained `unet`.
        recognizer: a model that reads lines.
        charset: the characters of `recognizer`.
        split: the pages.
        search: turns CTC's scores into text.
        read: reads the lines that were found on a picture; by default `common.reading.page.read_found`.
    """

    def read_all(found: Sequence[FoundLine], picture_HW: Picture) -> PageReading:
        return read_found(found, recognizer, charset, picture_HW, search)

    for i, name in enumerate(split.names):
        picture_HW = split.pictures[i]
        found = find_lines(finder, picture_HW)
        reading = (read or read_all)(found, picture_HW)
        truth: list[Line] = [*split.lines[i], *_of_unknown_text(split.unknown[i])]
        yield PageResult(
            name=name,
            finding=page_finding(split.lines[i], found, split.unknown[i], (picture_HW.shape[0], picture_HW.shape[1])),
            score=score_page(truth, reading.lines, read_own_lines(recognizer, charset, picture_HW, truth, search)),
            found=tuple(found),
            reading=reading,
        )


def read_own_lines(
    recognizer: Recognizer,
    charset: Charset,
    picture_HW: UInt8[np.ndarray, "H W"],
    lines: Sequence[Line],
    search: Search = BEST_PATH,
) -> list[str | None]:
    """The text that a recognizer reads from each line, cut by its own outline; None if that has no ink."""
    dark_HW, height = page_darkness(picture_HW), spec_of(recognizer).height
    cut = [cut_line(dark_HW, line.outline, line.baseline, height) for line in lines]
    readings = iter(read_images(recognizer, charset, [image for image in cut if image is not None], search))
    return [None if image is None else next(readings).text for image in cut]


def _of_unknown_text(outlines: Sequence[Points]) -> list[TextLine]:
    """Lines whose position cannot be used for training. What is read there is neither right nor wrong."""
    return [TextLine(number=0, text="", outline=outline, baseline=np.empty((0, 2))) for outline in outlines]
