"""What a training loop needs from outside, and what it tells: one for a hand-written loop and a Keras callback."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from common.data.dataset import Batch, Batches
from common.data.lines import LineBatch, LineBatches
from common.errors import UserError
from common.recognizer import Recognizer
from common.config import TrainConfig, learning_rates

State = Mapping[str, np.ndarray]
"""Everything a loop needs to go on: weights, optimizer slots, counters, random state; names are the loop's own."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come."""

    epoch: int
    """Epochs finished."""
    step: int
    """Steps finished."""
    seconds: float
    """Spent in training steps; validation, checkpoints and recording are left out."""


@runtime_checkable
class Observer(Protocol):
    """Is told of every step and epoch."""

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        """One update has been made; `loss` in nats per example."""

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """One pass over the training split has been made."""


@dataclass(kw_only=True)
class Clock:
    """Durations of the steps made in this process, and the seconds of the whole run."""

    seconds: float = 0.0
    durations: list[float] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Of the images of each step; a framework that compiles does so once for each."""
    _mark: float | None = None

    def start(self) -> None:
        """Begin to count, unless it does already."""
        if self._mark is None:
            self._mark = time.perf_counter()

    def step(self) -> None:
        """Close a step that began at the last mark."""
        now = time.perf_counter()
        assert self._mark is not None, "a step ended that never began"
        self.durations.append(now - self._mark)
        self.seconds += self.durations[-1]
        self._mark = now

    def pause(self) -> None:
        """Leave out what follows, until the next start."""
        self._mark = None


class Run:
    """One training run, as a loop sees it.

    A loop asks for `epochs()` and `batches(epoch)`, reports `step_done(loss)` after every update and
    `epoch_done(recognizer, state)` after every epoch, and takes up `checkpoint` if there is one.

    Args:
        config: how to train.
        batches: what to train on.
        observers: told of every step and epoch, in this order.
        checkpoint: state the same implementation gave to `epoch_done`.
        progress: how far the run had come when it gave that state.
    """

    def __init__(
        self,
        config: TrainConfig,
        batches: Batches | LineBatches,
        *,
        observers: Sequence[Observer] = (),
        checkpoint: State | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self._batches = batches
        self._observers = observers
        self.steps_per_epoch = len(self._batches)
        self.learning_rates_S = learning_rates(config, config.epochs * self.steps_per_epoch)
        self.first_epoch = progress.epoch if progress else 0
        self.step = progress.step if progress else 0
        self.clock = Clock(seconds=progress.seconds if progress else 0.0)

    def epochs(self) -> range:
        """The epochs that are left to do, from 0; asking for them starts the clock."""
        self.clock.start()
        return range(self.first_epoch, self.config.epochs)

    def batches(self, epoch: int) -> Iterator[Batch | LineBatch]:
        """The epoch's batches in order, prepared ahead of time."""
        for batch in self._batches.epoch(epoch):
            self.clock.shapes.append(batch.images_BHW1.shape)
            yield batch

    def step_done(self, loss: float) -> None:
        """Report an update.

        Raises:
            UserError: the loss is not finite; what was kept before stays.
        """
        self.clock.step()
        learning_rate = float(self.learning_rates_S[self.step])
        self.step += 1
        if not math.isfinite(loss):
            raise UserError(
                f"the loss became {loss} at step {self.step} (epoch {self._epoch + 1}, learning rate "
                f"{learning_rate:.2g}); what earlier epochs kept is still there; "
                "try a lower learning rate or --train.clip-norm 1"
            )
        for observer in self._observers:
            observer.step_done(self._progress(), loss, learning_rate)

    def epoch_done(self, recognizer: Recognizer, state: State) -> None:
        """Report a finished epoch with everything needed to go on from here."""
        self.clock.pause()
        for observer in self._observers:
            observer.epoch_done(self._progress(), recognizer, state)
        self.clock.start()

    @property
    def _epoch(self) -> int:
        return (self.step - 1) // self.steps_per_epoch

    def _progress(self) -> Progress:
        return Progress(epoch=self.step // self.steps_per_epoch, step=self.step, seconds=self.clock.seconds)
