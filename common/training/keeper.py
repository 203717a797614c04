"""The observer that keeps a run: it validates, keeps the best weights, records, and writes checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common.data.dataset import AnyDataset, AnySplit
from common.errors import UserError
from common.evaluation.evaluation import Evaluation
from common.recognizer import AnyBatch, Recognizer, State
from common.sampling import evenly
from common.tasks import Task
from common.training.checkpoint import Best, Checkpoint, save_checkpoint
from common.training.folder import RunFolder
from common.training.recorders import Recorder
from common.training.run import Progress, StoppedEarly
from common.weights import WeightsFile, save_weights

SAMPLE_READINGS = 16
TRAINING_SAMPLE = 256
"""Most training examples that are evaluated at the end of an epoch."""


def sample_size(task: Task, examples: int) -> int:
    """Number of training examples to evaluate at the end of an epoch: a hundredth, so that it takes little time.

    It is a multiple of `task.sample_step`, at least once and at most `TRAINING_SAMPLE`.
    """
    step = task.sample_step
    return max(step, min(TRAINING_SAMPLE, examples // 100) // step * step)


class Keeper:
    """An `Observer` that keeps a run in its folder.

    The checkpoint is the last file that an epoch writes. After a crash, a resumed run thus writes the other files of
    that epoch again, with the same content.

    Args:
        folder: the run folder.
        task: evaluates the model on the validation split.
        dataset: the data of the run.
        recorders: receive every step and epoch.
        histograms: whether to record arrays, which costs a backward pass each time.
        provenance: goes into the weights file.
        best: the best epoch before this process, if the run is resumed.
        sample: training examples, evaluated without augmentation at the end of each epoch; None for no such figures.
        patience: epochs without a better score after which the run ends; 0 never ends it.
    """

    def __init__(
        self,
        folder: RunFolder,
        task: Task,
        dataset: AnyDataset,
        *,
        recorders: Sequence[Recorder],
        histograms: bool,
        provenance: dict[str, Any],
        best: Best | None,
        sample: AnySplit | None = None,
        patience: int = 0,
    ) -> None:
        self._folder = folder
        self._task = task
        self._dataset = dataset
        self._recorders = recorders
        self._histograms = histograms
        self._provenance = provenance
        self.best = best
        self._sample = sample
        self._batch: AnyBatch | None = None
        self._patience = patience

    def waited_enough(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed since the best one, at the end of `epoch` (from 1)."""
        return bool(self._patience) and self.best is not None and epoch - self.best.epoch >= self._patience

    def step_done(self, progress: Progress, loss: float, learning_rate: float) -> None:
        """Record the step."""
        for recorder in self._recorders:
            values = {"train/loss": loss, "train/learning_rate": learning_rate}
            recorder.scalars(progress.step, values | {"train/epoch": progress.epochs, "seconds": progress.seconds})

    def epoch_done(self, progress: Progress, recognizer: Recognizer, state: State) -> None:
        """Validate, keep the weights if they are the best so far, record, write a checkpoint.

        Raises:
            UserError: the validation loss is not finite, or a file cannot be written; earlier files stay.
            StoppedEarly: the best epoch is `patience` epochs ago.
        """
        charset, validation = self._dataset.charset, self._dataset.validation
        seen = self._task.evaluate(recognizer, charset, validation, charset)
        if not math.isfinite(seen.loss):
            raise UserError(
                f"the validation loss became {seen.loss} after epoch {progress.epoch} (step {progress.step}); "
                "what earlier epochs kept is still there; try a lower learning rate or --train.clip-norm 1"
            )
        rates, score = seen.rates, seen.score
        if self.best is None or score > self.best.score:
            self.best = Best(epoch=progress.epoch, score=score, rates=rates)
            self._save_weights(recognizer, seen)
        values = {"validation/loss": seen.loss} | {f"validation/{name}": rate for name, rate in rates.items()}
        if self._sample is not None:
            fitted = self._task.evaluate_sample(recognizer, charset, self._sample, self._dataset)
            values |= {f"train/{name}": rate for name, rate in fitted.rates.items()}
            values["train/sample_loss"] = fitted.loss
        values["seconds"] = progress.seconds
        readings = [seen.reading(i) for i in evenly(len(validation), SAMPLE_READINGS)]
        for recorder in self._recorders:
            recorder.scalars(progress.step, {"epoch": progress.epoch, **values})
            recorder.readings(progress.step, readings)
        if self._histograms:
            self._record_histograms(progress.step, recognizer)
        save_checkpoint(self._folder.checkpoint, Checkpoint(state=state, progress=progress, best=self.best))
        if self.waited_enough(progress.epoch):
            raise StoppedEarly

    def look(self, progress: Progress, recognizer: Recognizer) -> None:
        """Record weights and gradients in the middle of an epoch."""
        self._record_histograms(progress.step, recognizer)

    def _save_weights(self, recognizer: Recognizer, seen: Evaluation) -> None:
        assert self.best is not None, "weights are saved when they are the best"
        reached = {f"validation_{name}": rate for name, rate in self.best.rates.items()}
        content = WeightsFile(
            spec=recognizer.spec,
            charset=self._dataset.charset,
            weights=recognizer.export_weights(),
            golden=seen.golden(recognizer),
            provenance=self._provenance | {"epoch": self.best.epoch} | reached,
        )
        save_weights(self._folder.weights, content)

    def _record_histograms(self, step: int, recognizer: Recognizer) -> None:
        if self._batch is None:  # always the same training examples, so that only the weights change
            sample = self._dataset.validation if self._sample is None else self._sample
            charset = self._dataset.charset
            self._batch = self._task.evaluate(recognizer, charset, sample, charset).first_batch()
        _, gradients = recognizer.loss_and_gradients(self._batch)
        arrays = {f"weights/{name}": array for name, array in recognizer.export_weights().items()}
        arrays |= {f"gradients/{name}": array for name, array in gradients.items()}
        for recorder in self._recorders:
            recorder.histograms(step, arrays)
