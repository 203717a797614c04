"""Which examples of a data set to use: the data's own configuration."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples of a data set to use."""

    examples: int = 0
    """Training examples to use; 0 uses all. Drawn data (ink, ink_lines, emnist_lines) draws that many."""
    balance: bool = False
    """Characters only: cap each class of the training split at the mean class count, as is usual for EMNIST byclass."""
    max_characters: int = 32
    """Longest line, in characters, that ink_lines and emnist_lines draw; other data is used as it is."""
    writer_pattern: str = ""
    """Pages only: a regular expression whose group 1 is the writer in a page's name; no writer is then in two splits."""

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise UserError(f"data.examples is {self.examples}; it must be at least 1, or 0 for all")
        if self.max_characters < 1:
            raise UserError(f"data.max_characters is {self.max_characters}; it must be at least 1")
