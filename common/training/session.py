"""One training run from start to end: data, model, training, test, and the files of the run folder."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.data.config import DataConfig
from common.data.dataset import AnyDataset
from common.errors import UserError
from common.evaluation.profile import identity_of
from common.machine import peak_memory_mb, versions
from common.reading.ngram import save_prior
from common.recognizer import Device, Recognizer, load_implementation
from common.spec import Spec, parameter_count, spec_to_dict
from common.tasks import Task, task_of
from common.training.architecture import layers_of
from common.training.bar import training_bar
from common.training.checkpoint import Checkpoint
from common.training.environment import read_environment, write_environment
from common.training.folder import Config, RunFolder
from common.training.keeper import Keeper, sample_size
from common.training.overfit import overfit, verdict
from common.training.run import Clock, Run, StoppedEarly
from common.training.status import kept_status
from common.training.trained import open_weights
from common.training.warm_start import carry_over
from common.weights import load_weights

EXAMPLES = 64
"""Test examples that recorders show: a sample, and as many of the most confident mistakes."""
PROVENANCE = ("framework", "data", "data_config", "device", "start_from", "train")


@dataclass(frozen=True, kw_only=True)
class Session:
    """What to train, on what, and where to keep it."""

    spec: Spec
    """The model; fields that the data decides are overwritten."""
    framework: str
    data: str
    """NAME or NAME:FOLDER."""
    out: Path
    """The run folder."""
    device: Device = "cpu"
    train: TrainConfig
    data_config: DataConfig = field(default_factory=DataConfig)
    start_from: Path | None = None
    """A run folder or a weights file with initial weights."""
    record: Sequence[str] = ()
    """Recorders besides metrics.jsonl."""
    group: str | None = None
    """Group of the run in Weights & Biases and MLflow, such as the name of a sweep."""
    resume: bool = False
    """Whether to continue an interrupted run."""

    def run(self) -> dict[str, Any]:
        """Train, evaluate on the test split, and draw.

        Returns:
            The content of result.json.

        Raises:
            UserError: anything that the user can correct; files that were written before it stay.
        """
        task, folder = task_of(self.spec), RunFolder(self.out)
        folder.check_free(resume=self.resume)
        task.check(self.spec, self.train, self.data_config)
        build = load_implementation(self.framework)
        before = None if self.start_from is None else open_weights(self.start_from)
        dataset = task.load(self.data, self.spec, self.data_config)
        spec, train = task.decide(self.spec, dataset), self.train
        if train.overfit:
            few = overfit(spec, train, dataset)
            spec, train, dataset = few.spec, few.train, few.dataset
        start = None if before is None else carry_over(before, spec, dataset.charset, self.train.seed)
        recognizer = build(spec, seed=self.train.seed, device=self.device)
        if self.train.precision not in recognizer.precisions:
            raise UserError(
                f"{self.framework} trains in {' or '.join(recognizer.precisions)} and not in {self.train.precision}; "
                "leave --train.precision out, or train with pytorch"
            )
        if start is not None:
            recognizer.load_weights(start.weights)
        config: Config = {
            "framework": self.framework,
            "rung": spec.rung,
            "device": self.device,
            "data": self.data,
            "data_config": asdict(self.data_config),
            "spec": spec_to_dict(spec),
            "start_from": None if self.start_from is None else str(self.start_from),
            "train": asdict(train),
        }
        started: dict[str, Any] = {} if start is None else {"started_with": start.carried}
        checkpoint = folder.open(config)
        with kept_status(folder.status):
            write_environment(folder, task, dataset, recognizer.packages, self.device)
            return self._train(task, recognizer, folder, dataset, train, config, started, checkpoint)

    def _train(
        self,
        task: Task,
        recognizer: Recognizer,
        folder: RunFolder,
        dataset: AnyDataset,
        train: TrainConfig,
        config: Config,
        started: Mapping[str, Any],
        checkpoint: Checkpoint | None,
    ) -> dict[str, Any]:
        from common.training.recorders import About, open_recorders

        progress = checkpoint.progress if checkpoint else None
        done = progress.step if progress else 0
        about = About(
            layers=layers_of(recognizer.spec), environment=read_environment(folder.environment), group=self.group
        )
        recorders = open_recorders(self.record, folder.path, config, first_step=done + 1, about=about)
        summary: Mapping[str, Any] = {}
        try:
            software = versions(recognizer.packages)
            keeper = Keeper(
                folder,
                task,
                dataset,
                recorders=recorders,
                histograms=bool(self.record),
                provenance={key: config[key] for key in PROVENANCE} | {"versions": software},
                best=checkpoint.best if checkpoint else None,
                sample=task.sample(dataset, sample_size(task, len(dataset.train))),
                patience=train.patience,
            )
            batches = task.batches(dataset, recognizer.spec, train)
            # the run reports a loss that overflows, in words; NumPy need not warn of it as well
            with (
                training_bar(train.epochs * len(batches), done) as bars,
                np.errstate(over="ignore", invalid="ignore"),
            ):
                run = Run(
                    train,
                    batches,
                    observers=[keeper, *bars],
                    checkpoint=checkpoint.state if checkpoint else None,
                    progress=progress,
                    looker=keeper if self.record else None,
                )
                # a run that was cut off between its last epoch and its result has nothing left to train
                if not keeper.waited_enough(run.first_epoch):
                    with contextlib.suppress(StoppedEarly):
                        recognizer.fit(run)
            epochs = run.step // run.steps_per_epoch
            assert keeper.best is not None, "a run has at least one epoch"
            memory = peak_memory_mb()
            recognizer.load_weights(load_weights(folder.weights).weights)
            evaluation = task.evaluate(recognizer, dataset.charset, dataset.test, dataset.charset)
            figures = evaluation.figures()
            if train.overfit:
                learnt, sentence = verdict(task.measure, figures[task.measure.metric], train.overfit)
                started = {**started, "overfit": {"examples": train.overfit, "learnt": learnt, "verdict": sentence}}
            prior = None if train.overfit else task.choose_prior(recognizer, dataset.charset, dataset)
            if prior is not None:
                save_prior(folder.prior, prior, dataset.charset)
            profile = task.profile(recognizer, dataset.charset, dataset, identity_of(folder.weights))
            if profile is not None:
                profile.save(folder.profile)
            result = {
                "rung": config["rung"],
                "framework": config["framework"],
                "device": config["device"],
                "data": config["data"],
                "split": "train" if train.overfit else "test",
                "seed": train.seed,
                **started,
                **figures,
                "parameters": parameter_count(recognizer.spec),
                "epochs": train.epochs,
                "epochs_trained": epochs,
                "stopped_early": epochs < train.epochs,
                "best_epoch": keeper.best.epoch,
                **{f"best_validation_{name}": rate for name, rate in keeper.best.rates.items()},
                "steps": run.step,
                "seconds": run.clock.seconds,
                **speed(run.clock),
                **task.facts(dataset, batches),
                "peak_memory_mb": memory,
                "versions": software,
            }
            from common.report.figures import draw_run  # matplotlib is slow to import

            folder.write_predictions(evaluation.predictions())
            draw_run(folder.path, folder.metrics, task, evaluation, dataset.name)
            if self.record:
                shown = [evaluation.reading(i) for i in evaluation.sample(EXAMPLES, EXAMPLES // 2)]
                for recorder in recorders:
                    recorder.examples(run.step, shown)
            summary = result  # only now: a run that fails before has not ended
        finally:
            for recorder in recorders:
                recorder.close(summary)
        folder.complete(result)
        return result


def speed(clock: Clock) -> dict[str, float | None]:
    """The speed of the steps of this process: the median step, examples per second, and the cost of compilation.

    Steps of one shape take about their median. The excess of the first one is the time of compilation, and of whatever
    else a framework does once.
    """
    if not clock.durations:  # resumed after its last epoch
        return {"step_seconds": None, "examples_per_second": None, "compile_seconds": None}
    by_shape: dict[tuple[int, ...], list[float]] = {}
    for shape, duration in zip(clock.shapes, clock.durations, strict=False):  # a loop may ask for batches ahead
        by_shape.setdefault(shape, []).append(duration)
    median = {shape: statistics.median(durations) for shape, durations in by_shape.items()}
    examples = sum(shape[0] * len(durations) for shape, durations in by_shape.items())
    return {
        "step_seconds": statistics.median(clock.durations),
        "examples_per_second": examples / sum(median[shape] * len(by_shape[shape]) for shape in by_shape),
        "compile_seconds": sum(max(0.0, by_shape[shape][0] - median[shape]) for shape in by_shape),
    }
