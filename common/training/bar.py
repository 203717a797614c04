"""A progress bar with the time that is left, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from common.terminal import counting_bar
from common.training.run import Observer, Progress, State

if TYPE_CHECKING:
    import rich.progress

    from common.recognizer import Recognizer


class _Bar:
    """An `Observer` that moves a bar."""

    def __init__(self, bar: rich.progress.Progress, total_steps: int, done: int) -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=total_steps, completed=done)

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        self._bar.update(
            self._task, completed=progress.step, description=f"epoch {progress.epoch + 1}, loss {loss:.3f}"
        )

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """Nothing to show; the keeper records."""


@contextmanager
def progress_bar(total_steps: int, done: int) -> Iterator[list[Observer]]:
    """The observers that show progress on stderr: one on a terminal, none in a pipe."""
    if not sys.stderr.isatty():
        yield []
        return
    with counting_bar() as bar:
        yield [_Bar(bar, total_steps, done)]
