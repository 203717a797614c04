"""What the engine answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.reading.page import PageReading


@dataclass(frozen=True, kw_only=True)
class PageReply:
    """One page that was read."""

    reading: PageReading
    signs: Any = None
    """Measurements of the picture."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A document that was read."""

    pages: tuple[PageReply, ...]
    """One per page of the document, in order."""
    seconds: Mapping[str, float]
    """Of the stages queue, decode, find, read and total."""
    model: str
    """Identity: the first 12 hex digits of SHA-256 over finder, reader and prior."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The model that reads."""

    identity: str
    rung: str
    framework: str
    charset: str
    parameters: int
    card: str
    provenance: dict[str, Any]


class QueueFullError(Exception):
    """Too many pictures wait."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class TooLateError(Exception):
    """The time limit passed."""


class WorkerLostError(Exception):
    """The process that read a picture ended."""


class TooLargeError(UserError):
    """A picture or a document passes a limit."""
