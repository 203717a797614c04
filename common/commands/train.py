"""The command `fourhands train`."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from common.commands.model import open_weights
from common.data.dataset import Batches, Dataset
from common.data.lines import LineBatches, LineDataset
from common.errors import UserError, unknown_name
from common.evaluation.characters import Evaluation
from common.evaluation.evaluation import Judgement, judge
from common.evaluation.lines import LineEvaluation
from common.machine import peak_memory_mb, versions
from common.recognizer import Device, Recognizer, load_implementation
from common.formatting import reached
from common.spec import RUNGS, LineSpec, Spec, parameter_count, reads_lines, spec_from_dict, spec_to_dict
from common.config import CHARACTERS, LINES, TrainConfig
from common.training.folder import Config, RunFolder
from common.training.keeper import Keeper
from common.training.bar import progress_bar
from common.training.run import Clock, Run
from common.training.warm_start import carry_over
from common.weights import load_weights

READINGS, MISTAKES = 32, 16  # on the sheet; of lines half as many
PROVENANCE = ("framework", "data", "device", "start_from", "train")
Name = Annotated[str, tyro.conf.arg(metavar="NAME")]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model and keep it, with its figures, in a run folder."""

    rung: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(RUNGS) + "}")]
    """What to train; it decides which --spec flags there are."""
    out: Path
    """The run folder to make."""
    framework: Name = "numpy"
    """numpy, pytorch, keras, jax, or another that is installed."""
    data: Name = "ink"
    """NAME or NAME:FOLDER; see `fourhands data list`."""
    device: Device = "cpu"
    """Where to train."""
    record: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Recorders besides metrics.jsonl: tensorboard, wandb."""
    resume: bool = False
    """Go on with a run that was cut off; give the same flags as before."""
    start_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """A run folder or weights file to start from: of the same rung and sizes, whatever its charset; for its stem
    alone, of the other rung that reads lines."""
    train: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> int:
        """Train, evaluate on the test split, draw, and say what came out."""
        folder = RunFolder(self.out)
        folder.check_free(resume=self.resume)
        build = load_implementation(self.framework)
        before = None if self.start_from is None else open_weights(self.start_from)
        dataset, spec = self._load()
        start = None if before is None else carry_over(before, spec, dataset.charset, self.train.seed)
        recognizer = build(spec, seed=self.train.seed, device=self.device)
        if start is not None:
            recognizer.load_weights(start.weights)
            print(f"started from {self.start_from}: {start.carried} carried over")
        config = {
            "framework": self.framework,
            "rung": self.rung,
            "device": self.device,
            "data": self.data,
            "spec": spec_to_dict(spec),
            "start_from": None if self.start_from is None else str(self.start_from),
            "train": asdict(self.train),
        }
        result = _train(recognizer, folder, dataset, config, self.train, self.record)
        took = f"after {result['seconds']:.0f} s of training"
        print(f"{self.rung} in {self.framework} on {self.data}: {reached(result)} {took}")
        print(f"kept in {self.out}: weights.safetensors, result.json, curves.png, readings.png, confusion.png")
        return 0

    def _load(self) -> tuple[Dataset | LineDataset, Spec]:
        """The data, and the spec with what the data decides."""
        from common.data import sources  # after the cheap checks: it imports Pillow

        flags: Spec = self.spec  # type: ignore[attr-defined]  # `with_spec` adds it
        train = self.train
        if isinstance(flags, LineSpec):
            if train.balance:
                raise UserError("train.balance is for characters; leave it out for lines")
            lines = sources.load_lines(
                self.data,
                height=flags.height,
                frames=flags.frames,
                examples=train.examples,
                max_characters=train.max_characters,
                writer_pattern=train.writer_pattern,
            )
            return lines, spec_from_dict(spec_to_dict(flags) | {"num_classes": len(lines.charset) + 1})
        if train.augment or train.writer_pattern:
            raise UserError("train.augment and train.writer_pattern are for lines; leave them out for characters")
        dataset = sources.load(self.data, examples=train.examples, balance=train.balance)
        height, width = dataset.train.images_NHW.shape[1:]
        decided = {"num_classes": len(dataset.charset), "height": height, "width": width}
        return dataset, spec_from_dict(spec_to_dict(flags) | decided)


def with_spec(argv: Sequence[str]) -> type[Train]:
    """The `Train` whose `spec` field is that of the rung named in `argv`; of the first rung if none is.

    Raises:
        UserError: an unknown rung.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--rung", nargs="?")
    rung = parser.parse_known_args(argv)[0].rung or next(iter(RUNGS))
    if rung not in RUNGS:
        raise unknown_name("rung", rung, RUNGS)
    hidden = tyro.conf.Suppress[tyro.conf.Fixed[int]]
    lines = reads_lines(rung)
    # what the data decides is no flag, and has a stand-in until the data is there
    shape = {"num_classes": 1} if lines else {"num_classes": 1, "height": 28, "width": 28}
    flags = type(
        RUNGS[rung].__name__,
        (RUNGS[rung],),
        {"__annotations__": dict.fromkeys(shape, hidden), "__doc__": RUNGS[rung].__doc__, **shape},
    )
    flags = dataclass(frozen=True, kw_only=True)(flags)
    defaults = [
        ("spec", flags, field(default_factory=flags)),
        ("data", Name, field(default="ink_lines" if lines else "ink")),
        ("train", TrainConfig, field(default=LINES if lines else CHARACTERS)),
    ]
    command = make_dataclass("Train", defaults, bases=(Train,), frozen=True, kw_only=True)
    command.__doc__ = Train.__doc__
    return command


def _train(
    recognizer: Recognizer,
    folder: RunFolder,
    dataset: Dataset | LineDataset,
    config: Config,
    train: TrainConfig,
    record: Sequence[str],
) -> dict[str, Any]:
    """Train in the run folder, and return what went into result.json."""
    from common.training.recorders import open_recorders

    checkpoint = folder.open(config)
    progress = checkpoint.progress if checkpoint else None
    done = progress.step if progress else 0
    recorders = open_recorders(record, folder.path, config, first_step=done + 1)
    summary: Mapping[str, Any] = {}
    try:
        software = versions(recognizer.packages)
        keeper = Keeper(
            folder,
            dataset.validation,
            dataset.charset,
            recorders=recorders,
            histograms=bool(record),
            provenance={key: config[key] for key in PROVENANCE} | {"versions": software},
            best=checkpoint.best if checkpoint else None,
        )
        batches = _batches(dataset, recognizer.spec, train)
        # a loss that overflows is found by the run, in words; NumPy need not warn of it as well
        with progress_bar(train.epochs * len(batches), done) as bars, np.errstate(over="ignore", invalid="ignore"):
            run = Run(
                train,
                batches,
                observers=[keeper, *bars],
                checkpoint=checkpoint.state if checkpoint else None,
                progress=progress,
            )
            recognizer.fit(run)
        assert keeper.best is not None, "a run has at least one epoch"
        memory = peak_memory_mb()
        recognizer.load_weights(load_weights(folder.weights).weights)
        seen = judge(recognizer, dataset.charset, dataset.test, dataset.charset)
        result = {
            "rung": config["rung"],
            "framework": config["framework"],
            "device": config["device"],
            "data": config["data"],
            "split": "test",
            "seed": train.seed,
            **seen.figures(),
            "parameters": parameter_count(recognizer.spec),
            "epochs": train.epochs,
            "best_epoch": keeper.best.epoch,
            **{f"best_validation_{name}": rate for name, rate in keeper.best.rates.items()},
            "steps": run.step,
            "seconds": run.clock.seconds,
            **_speed(run.clock),
            **_of_lines(dataset, batches),
            "peak_memory_mb": memory,
            "versions": software,
        }
        summary = result
        _draw(folder, seen, dataset)
    finally:
        for recorder in recorders:
            recorder.close(summary)
    folder.complete(result)
    return result


def _speed(clock: Clock) -> dict[str, float | None]:
    """Of the steps made in this process: the median, examples per second, and what compilation cost.

    Steps of one shape take about as long as their median. What the first of them took beyond it went into compilation,
    and whatever else a framework does once.
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


def _draw(folder: RunFolder, seen: Judgement, dataset: Dataset | LineDataset) -> None:
    """Predictions, curves, readings and the mistakes."""
    from common.report import figures  # matplotlib is slow to import

    of_lines = isinstance(seen, LineEvaluation)
    folder.write_predictions(seen.predictions())
    figures.curves(folder.metrics, folder.path / "curves.png")
    shown = [seen.reading(i) for i in seen.sample(READINGS // (1 + of_lines), MISTAKES // (1 + of_lines))]
    what = "lines" if of_lines else "images"
    figures.readings_sheet(shown, folder.path / "readings.png", f"{dataset.name}: test {what} and the surest mistakes")
    if isinstance(seen, LineEvaluation):
        figures.mistakes(seen.edits, folder.path / "confusion.png")
    if isinstance(seen, Evaluation):
        figures.confusion_matrix(seen.confusion_KK, seen.charset, folder.path / "confusion.png")


def _batches(dataset: Dataset | LineDataset, spec: Spec, train: TrainConfig) -> Batches | LineBatches:
    size, seed, workers = train.batch_size, train.seed, train.workers
    if isinstance(dataset, Dataset):
        return Batches(dataset.train, batch_size=size, seed=seed, workers=workers)
    augment = None
    if train.augment:
        from common.data.augment import augment_line  # imports Pillow

        augment = augment_line
    return LineBatches(
        dataset.train,
        dataset.charset,
        batch_size=size,
        seed=seed,
        workers=workers,
        augment=augment,
        frames=spec.frames if isinstance(spec, LineSpec) else None,
    )


def _of_lines(dataset: Dataset | LineDataset, batches: Batches | LineBatches) -> dict[str, Any]:
    """The shapes that a framework compiled for, and how many lines were refused; nothing of characters."""
    if isinstance(dataset, Dataset) or isinstance(batches, Batches):
        return {}
    return {"buckets": [list(shape) for shape in batches.shapes], "refused": len(dataset.refused)}
