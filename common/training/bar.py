"""The progress bar of a training run, on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from common.recognizer import Recognizer, State
from common.terminal import progress_bar
from common.training.run import Observer, Progress

if TYPE_CHECKING:
    import rich.progress


class _Bar:
    """An `Observer` that advances a bar."""

    def __init__(self, bar: rich.progress.Progress, total_steps: int, done: int) -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=total_steps, completed=done)

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        self._bar.update(
            self._task, completed=progress.step, description=f"epoch {progress.epoch + 1}, loss {loss:.3f}"
        )

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """Nothing to show."""


@contextmanager
def training_bar(total_steps: int, done: int) -> Iterator[list[Observer]]:
    """The observers that show progress on stderr: one on a terminal, none in a pipe."""
    with progress_bar() as bar:
        yield [] if bar is None else [_Bar(bar, total_steps, done)]
