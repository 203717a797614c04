"""What the engine answers, and the errors that it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import TooLargeError
from common.evaluation.signs import PageSigns
from common.reading.page import PageReading

__all__ = [
    "ModelInfo",
    "PageReply",
    "QueueFullError",
    "Reply",
    "TooLargeError",
    "TooLateError",
    "WorkerLostError",
]


@dataclass(frozen=True, kw_only=True)
class PageReply:
    """What was read from one page of a document."""

    reading: PageReading
    signs: PageSigns | None = None
    """Measurements of the picture for monitoring."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was read from one document."""

    pages: tuple[PageReply, ...]
    """One per page of the document, in its order."""
    seconds: Mapping[str, float]
    """`queue`: waiting for a worker. `decode`, `find`, `read`: of all pages together. `total`: all of it."""
    model: str
    """Identity of the model, see `ModelInfo.identity`."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The model that reads."""

    identity: str
    """First 12 hexadecimal digits of the SHA-256 of the files of the finder, the reader and the character prior."""
    rung: str
    framework: str
    """Name of the framework that computes."""
    charset: str
    """The characters that the model knows."""
    parameters: int
    """Numbers that were trained: of the reader, and of the finder if the model reads lines."""
    card: str = ""
    """The model card, Markdown; empty if there is none."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Origin of the reader's weights, as its file says."""


class QueueFullError(Exception):
    """The queue is full."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} seconds")
        self.retry_after = retry_after
        """Seconds after which there should be room."""


class TooLateError(Exception):
    """The time limit has passed."""


class WorkerLostError(Exception):
    """The process that read the picture ended, or the engine has closed."""
