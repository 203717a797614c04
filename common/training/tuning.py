"""Fine-tuning: train a model on a few lines, and keep the weights that read the validation lines best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from common.config import TrainConfig
from common.data.dataset import AnyDataset
from common.recognizer import Recognizer, State
from common.tasks import Task
from common.training.bar import training_bar
from common.training.recorders import Recorder
from common.training.run import Progress, Run
from common.weights import Weights


class EnoughError(Exception):
    """Training ends early: the validation lines have been read worse for a while."""


@dataclass(kw_only=True)
class Chosen:
    """The weights that read the validation lines best."""

    epoch: int
    """0 if the initial weights read them best."""
    rates: dict[str, float]
    """Validation CER and WER."""
    weights: Weights


@dataclass
class Chooser:
    """An `Observer` that keeps the best weights of a run in memory.

    Better means fewer wrong characters in validation, or as many and a lower loss. Few lines have few characters, so
    epochs often tie.
    """

    task: Task
    dataset: AnyDataset
    patience: int
    """Epochs without a better one, after which training ends."""
    recorders: Sequence[Recorder] = ()
    best: Chosen | None = None
    _key: tuple[float, float] = field(default=(math.inf, math.inf))

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        """Record the step."""
        for recorder in self.recorders:
            recorder.scalars(progress.step, {"train/loss": loss, "train/learning_rate": learning_rate})

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """Validate, and keep the weights if they are the best so far.

        Raises:
            EnoughError: the last `patience` epochs were no better.
        """
        self.look(progress, recognizer)
        assert self.best is not None, "the first look keeps its weights"
        if progress.epoch - self.best.epoch >= self.patience:
            raise EnoughError

    def look(self, progress: Progress, recognizer: Recognizer) -> None:
        """Validate as after an epoch. Before the first one, this makes the initial weights the ones to beat."""
        charset, validation = self.dataset.charset, self.dataset.validation
        seen = self.task.evaluate(recognizer, charset, validation, charset)
        key = (-seen.score, seen.loss if math.isfinite(seen.loss) else math.inf)
        if self.best is None or key < self._key:
            self._key = key
            self.best = Chosen(epoch=progress.epoch, rates=dict(seen.rates), weights=recognizer.export_weights())
        values = {"validation/loss": seen.loss} | {f"validation/{name}": rate for name, rate in seen.rates.items()}
        for recorder in self.recorders:
            recorder.scalars(progress.step, {"epoch": progress.epoch, **values, "seconds": progress.seconds})


def tune(
    recognizer: Recognizer,
    task: Task,
    dataset: AnyDataset,
    config: TrainConfig,
    *,
    patience: int,
    recorders: Sequence[Recorder] = (),
) -> Chosen:
    """Train from the present weights, and load the weights that read the validation lines best.

    Args:
        recognizer: the model; it has the chosen weights afterwards.
        task: evaluates it.
        dataset: the lines to learn from, and those to choose by. The test split is not looked at.
        config: how to train.
        patience: epochs without a better one, after which training ends.
        recorders: receive every step and epoch.

    Returns:
        The choice; its epoch is 0 if no epoch read the validation lines better than the initial weights.
    """
    chooser = Chooser(task, dataset, patience, recorders)
    chooser.look(Progress(epoch=0, step=0, seconds=0.0), recognizer)
    batches = task.batches(dataset, recognizer.spec, config)
    with (
        training_bar(config.epochs * len(batches), 0) as bars,
        np.errstate(over="ignore", invalid="ignore"),
        suppress(EnoughError),
    ):
        recognizer.fit(Run(config, batches, observers=[chooser, *bars]))
    assert chooser.best is not None, "the initial weights were looked at"
    recognizer.load_weights(chooser.best.weights)
    return chooser.best
