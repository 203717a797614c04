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

from common.data.dataset import Dataset
from common.errors import unknown_name
from common.evaluation import Evaluation, evaluate
from common.machine import peak_memory_mb, versions
from common.recognizer import Device, Recognizer, load_implementation
from common.spec import RUNGS, Spec, parameter_count, spec_from_dict, spec_to_dict
from common.training.config import TrainConfig
from common.training.folder import Config, RunFolder
from common.training.keeper import Keeper
from common.training.progress import progress_bar
from common.training.run import Run
from common.weights import load_weights

# fields of a spec that the data decides, so that they are no flags
FROM_DATA = ("num_classes", "height", "width")
READINGS, MISTAKES = 32, 16
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
    train: TrainConfig = field(default_factory=TrainConfig)

    def __call__(self) -> int:
        """Train, evaluate on the test split, draw, and say what came out."""
        folder = RunFolder(self.out)
        folder.check_free(resume=self.resume)
        build = load_implementation(self.framework)
        from common.data import sources  # after the cheap checks: it imports Pillow

        dataset = sources.load(self.data, examples=self.train.examples, balance=self.train.balance)
        spec = self._spec_for(dataset)
        recognizer = build(spec, seed=self.train.seed, device=self.device)
        config = {
            "framework": self.framework,
            "rung": self.rung,
            "device": self.device,
            "data": self.data,
            "spec": spec_to_dict(spec),
            "train": asdict(self.train),
        }
        result = _train(recognizer, folder, dataset, config, self.train, self.record)
        low, high = result["accuracy_interval"]
        print(
            f"{self.rung} in {self.framework} on {self.data}: {result['accuracy']:.2%} of {result['examples']:,} test "
            f"images read right (95% interval {low:.2%} to {high:.2%}) after {result['seconds']:.0f} s of training"
        )
        print(f"kept in {self.out}: weights.safetensors, result.json, curves.png, readings.png, confusion.png")
        return 0

    def _spec_for(self, dataset: Dataset) -> Spec:
        height, width = dataset.train.images_NHW.shape[1:]
        flags: Spec = self.spec  # type: ignore[attr-defined]  # `with_spec` adds it
        decided = {"num_classes": len(dataset.charset), "height": height, "width": width}
        return spec_from_dict(spec_to_dict(flags) | decided)


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
    names = [name for name in FROM_DATA if name in RUNGS[rung].__dataclass_fields__]
    shape = {"height": 28, "width": 28, "num_classes": 1}  # stand-ins until the data is there
    flags = type(
        RUNGS[rung].__name__,
        (RUNGS[rung],),
        {"__annotations__": dict.fromkeys(names, hidden), "__doc__": RUNGS[rung].__doc__, **shape},
    )
    flags = dataclass(frozen=True, kw_only=True)(flags)
    command = make_dataclass(
        "Train", [("spec", flags, field(default_factory=flags))], bases=(Train,), frozen=True, kw_only=True
    )
    command.__doc__ = Train.__doc__
    return command


def _train(
    recognizer: Recognizer,
    folder: RunFolder,
    dataset: Dataset,
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
            provenance={key: config[key] for key in ("framework", "data", "device", "train")} | {"versions": software},
            best=checkpoint.best if checkpoint else None,
        )
        steps = train.epochs * -(-len(dataset.train) // train.batch_size)
        # a loss that overflows is found by the run, in words; NumPy need not warn of it as well
        with progress_bar(steps, done) as bars, np.errstate(over="ignore", invalid="ignore"):
            run = Run(
                train,
                dataset.train,
                observers=[keeper, *bars],
                checkpoint=checkpoint.state if checkpoint else None,
                progress=progress,
            )
            recognizer.fit(run)
        assert keeper.best is not None, "a run has at least one epoch"
        memory = peak_memory_mb()
        recognizer.load_weights(load_weights(folder.weights).weights)
        seen = evaluate(recognizer, dataset.charset, dataset.test, dataset.charset)
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
            "best_validation_accuracy": keeper.best.accuracy,
            "steps": run.step,
            "seconds": run.clock.seconds,
            **_speed(run.clock.durations, train.batch_size),
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


def _speed(durations: Sequence[float], batch_size: int) -> dict[str, float | None]:
    """Of the steps made in this process: the median step, what the first cost beyond it, and examples per second."""
    if not durations:  # resumed after its last epoch
        return {"step_seconds": None, "examples_per_second": None, "compile_seconds": None}
    median = statistics.median(durations)
    return {
        "step_seconds": median,
        "examples_per_second": batch_size / median,
        "compile_seconds": max(0.0, durations[0] - median),
    }


def _draw(folder: RunFolder, seen: Evaluation, dataset: Dataset) -> None:
    """Predictions, curves, readings and the confusion matrix."""
    from common.report import figures  # matplotlib is slow to import

    arrays = {"labels": seen.labels_N, "predicted": seen.read_N, "confidence": seen.confidence_N}
    folder.write_predictions(arrays if seen.writers_N is None else arrays | {"writers": seen.writers_N})
    figures.curves(folder.metrics, folder.path / "curves.png")
    shown = [seen.reading(i, dataset.test.images_NHW) for i in seen.sample(READINGS, MISTAKES)]
    figures.readings_sheet(shown, folder.path / "readings.png", f"{dataset.name}: test images and the surest mistakes")
    figures.confusion_matrix(seen.confusion_KK, seen.charset, folder.path / "confusion.png")
