"""A training run: batches in, losses and finished epochs out; for hand-written loops and for Keras's callbacks."""

# S training steps

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, runtime_checkable

from common.config import TrainConfig
from common.data.batches import Batches
from common.errors import UserError
from common.recognizer import AnyBatch, Recognizer, State
from common.training.schedule import learning_rates

FETCH_LAG = 4
"""Steps between an update and the moment when its loss is fetched from the device."""


class StoppedEarly(Exception):
    """Ends the loop of a run after an epoch that an observer has kept, because more epochs would not help."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run."""

    epoch: int
    """Epochs finished."""
    step: int
    """Steps finished."""
    seconds: float
    """Spent in training steps, without validation, checkpoints and recording."""
    epochs: float = 0.0
    """Epochs finished, with the share of the present one."""


@runtime_checkable
class Observer(Protocol):
    """Receives every step and every epoch."""

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        """One update is done; `loss` in nats per example (lines: per character)."""

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """One pass over the training split is done.

        Raises:
            StoppedEarly: it was the last epoch of the run, though not the last one planned.
        """


@runtime_checkable
class Looker(Protocol):
    """Looks at the model in the middle of an epoch."""

    def look(self, progress: Progress, recognizer: Recognizer) -> None:
        """Some steps of the epoch are done."""


@dataclass(kw_only=True)
class Clock:
    """Durations of the steps of this process, and the seconds of the whole run."""

    seconds: float = 0.0
    durations: list[float] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Shape of the images of each step; a framework that compiles does so once per shape."""
    _mark: float | None = None

    def start(self) -> None:
        """Start counting, unless the clock runs already."""
        if self._mark is None:
            self._mark = time.perf_counter()

    def step(self) -> None:
        """End a step that began at the last mark."""
        now = time.perf_counter()
        assert self._mark is not None, "a step ended before the clock was started"
        self.durations.append(now - self._mark)
        self.seconds += self.durations[-1]
        self._mark = now

    def pause(self) -> None:
        """Do not count until the next start."""
        self._mark = None


class Run:
    """One training run; see `common.recognizer.TrainingRun` for what a loop does with it.

    A loss is fetched from the device `FETCH_LAG` steps after its step, so that a loop on a GPU need not wait for it. At
    the end of an epoch all losses are fetched. A loss that is not finite thus ends the run before its epoch is kept.

    Args:
        config: how to train.
        batches: what to train on.
        observers: receive every step and epoch, in this order.
        checkpoint: the state that the same implementation gave to `epoch_done`.
        progress: the progress of the run when it gave that state.
        looker: looks at the model every `look_every` steps, but for the last step of an epoch.
        look_every: see `looker`.

    Raises:
        UserError: the last batch of an epoch has fewer examples than `config.accumulate`.
    """

    def __init__(
        self,
        config: TrainConfig,
        batches: Batches[Any, Any],
        *,
        observers: Sequence[Observer] = (),
        checkpoint: State | None = None,
        progress: Progress | None = None,
        looker: Looker | None = None,
        look_every: int = 50,
    ) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self._batches = batches
        self._observers = observers
        self.steps_per_epoch = len(self._batches)
        smallest = batches.examples % batches.batch_size or batches.batch_size
        if smallest < config.accumulate:
            raise UserError(
                f"train.accumulate is {config.accumulate}, but the last batch of an epoch has {smallest} of "
                f"{batches.examples:,} examples, one for each part at most; choose another --train.batch-size"
            )
        self.learning_rates_S = learning_rates(config, config.epochs * self.steps_per_epoch)
        self.first_epoch = progress.epoch if progress else 0
        self.step = progress.step if progress else 0
        self._looker, self._look_every = looker, look_every
        self.clock = Clock(seconds=progress.seconds if progress else 0.0)
        self._pending: deque[tuple[Progress, SupportsFloat]] = deque()

    def epochs(self) -> range:
        """The epochs that remain, from 0. The first call starts the clock."""
        self.clock.start()
        return range(self.first_epoch, self.config.epochs)

    def batches(self, epoch: int) -> Iterator[AnyBatch]:
        """The batches of an epoch in order, prepared ahead of time."""
        for batch in self._batches.epoch(epoch):
            self.clock.shapes.append(batch.images_BHW1.shape)
            yield batch

    def step_done(self, loss: SupportsFloat) -> None:
        """Report an update.

        Raises:
            UserError: a loss is not finite; what earlier epochs kept stays.
        """
        self.step += 1
        self._pending.append((self._progress(), loss))
        kept = FETCH_LAG if self.step % self.steps_per_epoch else 0  # an epoch ends with all of its losses known
        while len(self._pending) > kept:
            self._fetch()
        self.clock.step()

    @property
    def look_due(self) -> bool:
        """Whether `look` is to be called after this step."""
        in_epoch = self.step % self.steps_per_epoch
        return self._looker is not None and in_epoch > 0 and in_epoch % self._look_every == 0

    def look(self, recognizer: Recognizer) -> None:
        """Show the model after a step. The clock is paused."""
        while self._pending:  # recorders take steps in order
            self._fetch()
        self.clock.pause()
        if self._looker is not None:
            self._looker.look(self._progress(), recognizer)
        self.clock.start()

    def epoch_done(self, recognizer: Recognizer, state: State) -> None:
        """Report a finished epoch with all that is needed to continue from here."""
        while self._pending:  # of an implementation's loop that leaves out a batch
            self._fetch()
        self.clock.pause()
        for observer in self._observers:
            observer.epoch_done(self._progress(), recognizer, state)
        self.clock.start()

    def _fetch(self) -> None:
        """Take the oldest loss from the device and pass it on."""
        progress, fetched = self._pending.popleft()
        loss, learning_rate = float(fetched), float(self.learning_rates_S[progress.step - 1])
        if not math.isfinite(loss):
            epoch = (progress.step - 1) // self.steps_per_epoch + 1
            raise UserError(
                f"the loss became {loss} at step {progress.step} (epoch {epoch}, learning rate {learning_rate:.2g}); "
                "what earlier epochs kept is still there; try a lower learning rate or --train.clip-norm 1"
            )
        for observer in self._observers:
            observer.step_done(progress, loss, learning_rate)

    def _progress(self) -> Progress:
        return Progress(
            epoch=self.step // self.steps_per_epoch,
            step=self.step,
            seconds=self.clock.seconds,
            epochs=round(self.step / self.steps_per_epoch, 4),
        )
