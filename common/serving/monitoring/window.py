"""A sliding window over the signs of the pictures that came in."""

from __future__ import annotations

from collections import deque

from common.evaluation.signs import PageSigns


class Window:
    """The last pictures, as many as have the wanted number of lines. It is not safe for threads.

    Pictures are kept whole. A picture without writing counts as one line, so that a stream of them fills the window.

    Args:
        lines: of a full window.
    """

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self._pages: deque[PageSigns] = deque()
        self._count = 0
        self.seen_lines = 0
        """Lines since the start."""
        self.seen_pictures = 0
        """Pictures since the start."""

    def add(self, page: PageSigns) -> None:
        """Add a picture, and drop the oldest ones that are not needed any more."""
        self._pages.append(page)
        self._count += _weight(page)
        self.seen_pictures += 1
        self.seen_lines += len(page.lines)
        while self._count - _weight(self._pages[0]) >= self.lines:
            self._count -= _weight(self._pages.popleft())

    @property
    def count(self) -> int:
        """Lines in the window; a picture without lines counts as one."""
        return self._count

    def pages(self) -> list[PageSigns]:
        """The pictures, the oldest first."""
        return list(self._pages)


def _weight(page: PageSigns) -> int:
    return max(1, len(page.lines))
