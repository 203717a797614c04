"""The settings of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.recognizer import Device


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a document may have."""

    pixels: int = 40_000_000
    """Pixels of a page, checked before it is decoded."""
    pages: int = 20
    """Pages of a document."""
    lines: int = 500
    """Lines of a page."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The settings of the engine."""

    run: Path | None = None
    """A run folder or a weights file of a model that reads; None for the reader that ships."""
    finder: Path | None = None
    """A run folder or a weights file of `unet`; None for the finder that ships."""
    framework: str | None = "numpy"
    """The framework that computes; None for the one that trained `run`."""
    device: Device = "cpu"
    workers: int = 1
    """Processes that read; one per core is best, because each computes in one thread."""
    queue: int = 4
    """Requests that may wait, besides those that the workers have. A longer queue only makes answers later."""
    wait_ms: float = 4.0
    """How long a line waits for lines of other requests to share a batch with, milliseconds."""
    seconds: float = 60.0
    """Time limit of a request, from its arrival."""
    grace: float = 20.0
    """Seconds that `close` waits for what is in flight."""
    patience: float = 20.0
    """Seconds that a worker may take to leave a request that was cancelled or too late. One that takes longer hangs and
    is killed."""
    limits: Limits = field(default_factory=Limits)
    signs: bool = True
    """Whether to measure the signs of each picture, for a monitor."""
    watch: bool = False
    """Whether to load the weights anew when their files change."""
