"""A run fetches each loss a few steps after its step, and keeps nothing of an epoch whose loss is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.config import TrainConfig
from common.data.characters import CharacterBatches, CharacterSplit
from common.errors import UserError
from common.training.run import FETCH_LAG, Progress, Run

STEPS = 10  # per epoch
EPOCHS = 3


class Loss:
    """A loss on a device: converting it to a number fetches it."""

    def __init__(self, log: list[tuple[str, int]], step: int, value: float) -> None:
        self._log, self._step, self._value = log, step, value

    def __float__(self) -> float:
        self._log.append(("fetched", self._step))
        return self._value


class Log:
    """An observer that logs its calls; `events` also holds the steps and the fetches."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.told: list[tuple[Progress, float, float]] = []

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        self.told.append((progress, loss, learning_rate))

    def epoch_done(self, progress: Progress, recognizer: Any, state: Any) -> None:
        self.events.append(("kept", progress.epoch))


def train(log: Log, bad: dict[int, float], progress: Progress | None = None) -> Run:
    """The loop of an implementation, with the loss 1/step, or the one in `bad`."""
    images_NHW = np.zeros((2 * STEPS, 4, 4), np.uint8)
    split = CharacterSplit(images_NHW=images_NHW, labels_N=np.zeros(2 * STEPS, np.int64))
    batches = CharacterBatches(split, batch_size=2, seed=0)
    run = Run(TrainConfig(epochs=EPOCHS), batches, observers=[log], progress=progress)
    recognizer: Any = None
    for epoch in run.epochs():
        for _ in run.batches(epoch):
            step = run.step + 1
            log.events.append(("step", step))
            run.step_done(Loss(log.events, step, bad.get(step, 1 / step)))
        run.epoch_done(recognizer, {})
    return run


def test_losses_are_fetched_later_and_all_of_them_before_the_epoch_is_kept() -> None:
    log = Log()
    train(log, {})
    expected: list[tuple[str, int]] = []
    for epoch in range(EPOCHS):
        first = epoch * STEPS + 1
        for step in range(first, first + STEPS):
            expected.append(("step", step))
            if step - FETCH_LAG >= first and step < first + STEPS - 1:
                expected.append(("fetched", step - FETCH_LAG))
        expected += [("fetched", step) for step in range(first + STEPS - 1 - FETCH_LAG, first + STEPS)]
        expected.append(("kept", epoch + 1))
    assert log.events == expected


def test_observers_receive_every_step_once_with_its_own_loss_learning_rate_and_progress() -> None:
    log = Log()
    run = train(log, {})
    steps = range(1, EPOCHS * STEPS + 1)
    assert [(progress.step, loss) for progress, loss, _ in log.told] == [(step, 1 / step) for step in steps]
    assert [rate for *_, rate in log.told] == [float(rate) for rate in run.learning_rates_S]
    assert [progress.epoch for progress, *_ in log.told] == [step // STEPS for step in steps]
    seconds = [progress.seconds for progress, *_ in log.told]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("epoch", [1, 2, EPOCHS])
@pytest.mark.parametrize("place", [1, 2, STEPS - FETCH_LAG, STEPS - 1, STEPS], ids=lambda n: f"step {n} of {STEPS}")
def test_loss_that_is_not_finite_names_its_own_step_and_nothing_of_the_epoch_is_kept(
    place: int, epoch: int, value: float
) -> None:
    log, step = Log(), (epoch - 1) * STEPS + place
    with pytest.raises(UserError, match=rf"the loss became {value} at step {step} \(epoch {epoch}, learning rate"):
        train(log, {step: value})
    assert [n for what, n in log.events if what == "kept"] == list(range(1, epoch))
    assert [progress.step for progress, *_ in log.told] == list(range(1, step))
    last = max(n for what, n in log.events if what == "step")
    assert last <= step + FETCH_LAG, "the loop stops soon"


def test_first_of_several_bad_losses_is_named() -> None:
    with pytest.raises(UserError, match="the loss became nan at step 13 "):
        train(Log(), {13: float("nan"), 14: float("inf"), 20: float("nan")})


def test_resumed_run_fetches_from_its_own_first_step() -> None:
    log = Log()
    run = train(log, {}, progress=Progress(epoch=1, step=STEPS, seconds=5.0))
    assert [progress.step for progress, *_ in log.told] == list(range(STEPS + 1, EPOCHS * STEPS + 1))
    assert [n for what, n in log.events if what == "kept"] == [2, 3]
    assert run.clock.seconds > 5


def test_epoch_shorter_than_the_lag_is_fetched_whole() -> None:
    split = CharacterSplit(images_NHW=np.zeros((4, 4, 4), np.uint8), labels_N=np.zeros(4, np.int64))
    log, recognizer = Log(), None
    run = Run(TrainConfig(epochs=2), CharacterBatches(split, batch_size=2, seed=0), observers=[log])
    for epoch in run.epochs():
        for _ in run.batches(epoch):
            run.step_done(Loss(log.events, run.step + 1, 1.0))
        run.epoch_done(recognizer, {})  # type: ignore[arg-type]  # the log does not look at it
    assert log.events == [("fetched", 1), ("fetched", 2), ("kept", 1), ("fetched", 3), ("fetched", 4), ("kept", 2)]


class Look:
    """A looker that logs its calls."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def look(self, progress: Progress, recognizer: Any) -> None:
        self._log.events.append(("look", progress.step))


def test_model_is_shown_within_each_epoch_after_all_losses_so_far_and_not_at_its_end() -> None:
    log = Log()
    split = CharacterSplit(images_NHW=np.zeros((2 * STEPS, 4, 4), np.uint8), labels_N=np.zeros(2 * STEPS, np.int64))
    batches = CharacterBatches(split, batch_size=2, seed=0)
    run = Run(TrainConfig(epochs=2), batches, observers=[log], looker=Look(log), look_every=5)
    recognizer: Any = None
    for epoch in run.epochs():
        for _ in run.batches(epoch):
            run.step_done(Loss(log.events, run.step + 1, 1.0))
            if run.look_due:
                run.look(recognizer)
        run.epoch_done(recognizer, {})
    looks = [(what, step) for what, step in log.events if what == "look"]
    assert looks == [("look", 5), ("look", 15)]  # 10 and 20 end an epoch, which has figures of its own
    at = log.events.index(("look", 5))
    assert [step for what, step in log.events[:at] if what == "fetched"] == [1, 2, 3, 4, 5]
    assert [progress.step for progress, *_ in log.told] == list(range(1, 2 * STEPS + 1))
