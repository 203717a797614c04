"""Configuration of the data: which examples of a data set to use."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples of a data set to use."""

    examples: int = 0
    """Number of training examples; 0 uses all. Drawn data (ink, ink_lines, ink_pages, emnist_lines) draws this number,
    or its usual number for 0."""
    balance: bool = False
    """Characters only: limit each class of the training split to the mean class count. This is usual for EMNIST
    byclass."""
    max_characters: int = 32
    """Maximum length, in characters, of the lines that ink_lines and emnist_lines draw. Other data ignores it."""
    writer_pattern: str = ""
    """Pages only: regular expression whose group 1 is the writer in a page's name. The lines of a writer are then all
    in one split. Empty: the lines of a page are all in one split."""
    hold_out: int = 0
    """Lines of pages only: hold out every Nth page for the test, in the order of their names, and every fifth of the
    other lines for validation; for pages of one writer. 0 holds out whole writers."""
    text: str = ""
    """Drawn pages only: a text file (UTF-8) to write on them, in any language with Latin letters. Empty: English prose
    from Python's documentation."""
    drawn_pages: int = 0
    """Pages only: number of drawn pages (ink_pages) that are added to the training split of other pages."""
    drawn_lines: int = 0
    """Lines only: number of drawn lines (ink_lines) that are added to the training split of other lines."""

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise UserError(f"data.examples is {self.examples}; it must be at least 1, or 0 for all")
        if self.hold_out < 0 or self.hold_out == 1:
            raise UserError(
                f"data.hold_out is {self.hold_out}; it must be at least 2, such as 5 for every fifth page, or 0"
            )
        if self.drawn_pages < 0:
            raise UserError(f"data.drawn_pages is {self.drawn_pages}; it must not be negative")
        if self.drawn_lines < 0:
            raise UserError(f"data.drawn_lines is {self.drawn_lines}; it must not be negative")
        if self.max_characters < 1:
            raise UserError(f"data.max_characters is {self.max_characters}; it must be at least 1, such as 32")
