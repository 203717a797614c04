"""The scores of pages that were read: error rates, and what the errors come from."""

# N pages

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int
from rapidfuzz.distance import Levenshtein

from common.data.text import normalised
from common.data.xml_pages import Points
from common.evaluation.finding import distance_of
from common.evaluation.matching import assign_lines
from common.metrics import bootstrap_interval, error_rate

UNREADABLE = "><"
"""The mark of a stretch that the transcriber could not read."""
PARTS = ("missed", "invented", "outlines", "misreading", "order")
"""The parts of a page's error, as fields of `PageScore`."""
RATES = {
    "cer": ("edits", "characters"),
    "wer": ("word_edits", "words"),
    "cer_matched": ("edits_matched", "characters"),
    "wer_matched": ("word_edits_matched", "words"),
    "cer_own_lines": ("edits_own_lines", "characters"),
    "wer_own_lines": ("word_edits_own_lines", "words"),
} | {f"cer_{part}": (part, "characters") for part in PARTS}
"""Name of each rate to two fields of `PageScore`: what is counted, and the length that divides it."""


class Line(Protocol):
    """A line of a page, true or read."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def baseline(self) -> Points:
        """Polyline under its letters, in pixels of the picture; empty if it is not known."""

    @property
    def outline(self) -> Points:
        """Polygon around its ink, in pixels of the picture."""


@dataclass(frozen=True)
class Placed:
    """A line with a baseline that is known."""

    outline: Points
    baseline: Points


@dataclass(frozen=True, kw_only=True)
class PageScore:
    """The edits of one page, in characters unless a field says words.

    The text of a page is its lines, joined by line breaks. The true lines follow the file's order, the lines that were
    read follow the reading order. A line whose text the transcriber did not give, or could not read (`><`), is left out
    of the true text. So is what was read from it.

    Lines are matched by their baselines, whatever their order; see `common.evaluation.matching.assign_lines`. A match
    is usually one true line and one line that was read. If a match has several, their texts are joined by line breaks,
    from left to right.

    The five parts add up to `edits`, exactly. `outlines` and `order` may be negative:

    - `missed`: each true line without a match costs its characters and its line break.
    - `invented`: each line that was read without a match costs its characters and its line break.
    - `misreading`: the edits between the true text and the text that the same recognizer reads from the line cut by
      the outline of the file, over the true lines that have a match.
    - `outlines`: the edits of all matches, less `misreading`. It is what the outlines that were found cost, compared
      with the outlines of the file. It is negative if the lines that were found are read better.
    - `order`: the edits of the page, less all edits with lines matched (`edits_matched`). It is negative if the page's
      text can be aligned across lines at a lower cost than line by line, for example a line that was read far from its
      true baseline: line by line, it is missed and invented.
    """

    characters: int
    """Of the true text, line breaks included."""
    words: int
    """Of the true text."""
    edits: int
    """From the true text of the page to the text that was read, in reading order."""
    word_edits: int
    edits_matched: int
    """Whatever the order: the edits of all matches, of the missed and of the invented lines."""
    word_edits_matched: int
    edits_own_lines: int
    """The edits of every true line, cut by the outline of the file."""
    word_edits_own_lines: int
    missed: int
    invented: int
    misreading: int
    lines: int
    """True lines with a known text."""
    lines_read: int
    lines_missed: int
    lines_invented: int
    lines_left_out: int
    """True lines whose text is not known."""

    @property
    def outlines(self) -> int:
        """The edits that wrong outlines cause."""
        return self.edits_matched - self.missed - self.invented - self.misreading

    @property
    def order(self) -> int:
        """The edits that a wrong order causes."""
        return self.edits - self.edits_matched

    @property
    def cer(self) -> float:
        """Edits ÷ characters."""
        return self.edits / max(1, self.characters)


def score_page(truth: Sequence[Line], read: Sequence[Line], own: Sequence[str | None]) -> PageScore:
    """Compare what was read from a page with its true lines.

    Args:
        truth: the true lines, in the order of the file.
        read: the lines that were read, in reading order.
        own: what the same recognizer reads from each true line, cut by the outline of the file. None for a line that
            cannot be cut: its text then counts as read by nobody in the figures of own lines, and the edits of its
            match count as misreading.
    """
    assert len(own) == len(truth), "one text of its own for each true line"
    texts, said = ([normalised(line.text) for line in lines] for lines in (truth, read))
    cut = [None if text is None else normalised(text) for text in own]
    true, found = ([baseline_of(line) for line in lines] for lines in (truth, read))
    matches = assign_lines(true, found, distance_of([Placed(line.outline, baseline_of(line)) for line in truth]))

    known = [i for i, text in enumerate(texts) if text and UNREADABLE not in text]
    groups = [([i for i in lines if i in known], pieces) for lines, pieces in matches.groups]
    left_out = {j for lines, pieces in groups if not lines for j in pieces}
    kept = [j for j in range(len(said)) if j not in left_out]
    missed = [i for i in matches.missed if i in known]
    page, page_read = "\n".join(texts[i] for i in known), "\n".join(said[j] for j in kept)

    # a page has one line break fewer than lines: a page without any line on one of the two sides spares one
    missed_edits = sum(len(texts[i]) + 1 for i in missed) - int(bool(missed) and not kept)
    invented_edits = sum(len(said[j]) + 1 for j in matches.invented) - int(bool(matches.invented) and not known)
    word_edits = sum(len(texts[i].split()) for i in missed) + sum(len(said[j].split()) for j in matches.invented)
    matched_edits = missed_edits + invented_edits
    misreading = 0
    for lines, pieces in groups:
        true_text, read_text = "\n".join(texts[i] for i in lines), "\n".join(said[j] for j in pieces)
        edits = _edits(true_text, read_text) if lines else 0
        matched_edits += edits
        word_edits += _word_edits(true_text, read_text) if lines else 0
        own_texts = [cut[i] for i in lines]
        misreading += edits if None in own_texts else sum(_edits(texts[i], cut[i] or "") for i in lines)
    return PageScore(
        characters=len(page),
        words=len(page.split()),
        edits=_edits(page, page_read),
        word_edits=_word_edits(page, page_read),
        edits_matched=matched_edits,
        word_edits_matched=word_edits,
        edits_own_lines=sum(_edits(texts[i], cut[i] or "") for i in known),
        word_edits_own_lines=sum(_word_edits(texts[i], cut[i] or "") for i in known),
        missed=missed_edits,
        invented=invented_edits,
        misreading=misreading,
        lines=len(known),
        lines_read=len(kept),
        lines_missed=len(missed),
        lines_invented=len(matches.invented),
        lines_left_out=len(texts) - len(known),
    )


def baseline_of(line: Line) -> Points:
    """The baseline of a line. Without one, it is level, a quarter of the outline's height above its lower edge."""
    if len(line.baseline) > 1:
        return line.baseline
    if not len(line.outline):
        return np.zeros((2, 2))
    (left, top), (right, bottom) = line.outline.min(axis=0), line.outline.max(axis=0)
    y = bottom - (bottom - top) / 4
    return np.array([(left, y), (right, y)])


def page_figures(scores: Sequence[PageScore], writers_N: Int[np.ndarray, "N"] | None = None) -> dict[str, Any]:
    """The figures of several pages: each rate with its 95% interval, and the numbers of lines.

    A rate is Σ edits ÷ Σ characters (or words) over the pages. `cer` and `wer` follow the reading order, `*_matched`
    match lines whatever their order, and `*_own_lines` cut the lines by the outlines of the file. `cer_missed`,
    `cer_invented`, `cer_outlines`, `cer_misreading` and `cer_order` add up to `cer`.

    Args:
        scores: one per page.
        writers_N: the writer of each page. The intervals resample whole writers, or pages if no writers are known.
    """
    figures: dict[str, Any] = {}
    for name, (edits, lengths) in RATES.items():
        edits_N, lengths_N = (np.array([getattr(score, field) for score in scores]) for field in (edits, lengths))
        figures[name] = error_rate(edits_N, lengths_N)
        figures[f"{name}_interval"] = list(bootstrap_interval(edits_N, writers_N, lengths_N=lengths_N))
    counts = ("lines", "lines_read", "lines_missed", "lines_invented", "lines_left_out", "characters", "words")
    return figures | {name: sum(getattr(score, name) for score in scores) for name in counts} | {"pages": len(scores)}


def _edits(truth: str, read: str) -> int:
    return Levenshtein.distance(truth, read)


def _word_edits(truth: str, read: str) -> int:
    return Levenshtein.distance(truth.split(), read.split())
