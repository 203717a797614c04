"""Lines that were read and whose true text is known: what a calibration of confidences is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.data.text import normalised
from common.data.xml_pages import TextLine
from common.evaluation.finding import distance_of
from common.evaluation.matching import assign_lines
from common.evaluation.pages import UNREADABLE
from common.metrics import edit_operations
from common.reading.page import PageReading


@dataclass(frozen=True, kw_only=True)
class KnownLine:
    """A line that was read, and how far it is from the truth."""

    confidences: tuple[float, ...]
    """Probability of each character that was read."""
    right: tuple[bool, ...]
    """Whether each of them is right."""
    edits: int
    """Edits from the true text to the text that was read."""
    length: int
    """Characters of the true text."""
    writer: int

    @property
    def confidence(self) -> float:
        """Mean probability of its characters."""
        return sum(self.confidences) / len(self.confidences)

    @property
    def characters(self) -> int:
        """Characters that were read."""
        return len(self.confidences)


def known_line(truth: str, text: str, confidences: Sequence[float], writer: int) -> KnownLine:
    """Compare a text that was read with the true one."""
    edits = edit_operations(truth, text)
    wrong = {place for _, said, _, place in edits if said}
    return KnownLine(
        confidences=tuple(confidences),
        right=tuple(i not in wrong for i in range(len(text))),
        edits=len(edits),
        length=len(truth),
        writer=writer,
    )


def known_lines(reading: PageReading, truth: Sequence[TextLine], writer: int) -> list[KnownLine]:
    """The lines of a page that match exactly one true line with a known text, see `assign_lines`.

    Args:
        reading: of a page that is upright.
        truth: its true lines.
        writer: number of its writer.
    """
    matches = assign_lines(
        [line.baseline for line in truth], [line.baseline for line in reading.lines], distance_of(truth)
    )
    found = []
    for own, pieces in matches.groups:
        if len(own) == len(pieces) == 1:
            true, line = normalised(truth[own[0]].text), reading.lines[pieces[0]]
            if true and UNREADABLE not in true and line.text:
                found.append(known_line(true, line.text, [each.confidence for each in line.characters], writer))
    return found
