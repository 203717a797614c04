"""Adapt a reader of lines to own pages, and measure how many lines it takes.

For each number of own lines, the reader starts anew from its initial weights, learns from these lines, and is evaluated
on held-out pages. The run keeps the reader that learnt from all lines.
"""

# K classes of the initial reader

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from common.atomic import write_atomically
from common.charset import Charset
from common.config import TrainConfig
from common.data.config import DataConfig
from common.data.dataset import AnyDataset
from common.data.splits import VALIDATION_EVERY
from common.errors import UserError
from common.evaluation.evaluation import Evaluation
from common.machine import peak_memory_mb, versions
from common.reading.ngram import Prior, save_prior
from common.reading.search import Search
from common.reading.shipped import BEAM, READER, check_shipped
from common.recognizer import Build, Device, Recognizer, load_implementation
from common.spec import LineSpec, Spec, parameter_count, spec_to_dict
from common.tasks import Task, task_of
from common.training.environment import write_environment
from common.training.folder import Config, RunFolder
from common.training.recorders import Recorder, open_recorders
from common.training.status import kept_status
from common.training.trained import open_prior, open_weights
from common.training.tuning import Chosen, tune
from common.training.warm_start import carry_over
from common.weights import WeightsFile, save_weights

LINES = (0, 5, 16, 64, 256, 1024, 4096)
"""Numbers of own lines that the curve has, besides all of them."""
HOLD_OUT = 5
"""Every fifth page is for the test."""
LEAST = 5
"""Own lines that are needed at least: four to learn from and one to choose by."""
# With 16 own lines of a validation writer: 64 errors in 546 characters if own texts count 0 times, 67 with 4 times
PRIOR_TIMES = 1
"""How often an own text counts in the character language model, where a text that the reader was trained on counts
once."""
CURVE = "adaptation"
"""Name of the files with the curve, without suffix."""
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 20
_STEPS = 600  # at most, between the two
_BATCH, _PATIENCE = 8, 8


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What to adapt, to what, and where to keep it."""

    folder: Path
    """Pages with ALTO or PAGE XML beside them."""
    out: Path
    """The run folder to make."""
    framework: str
    device: Device = "cpu"
    start_from: Path | None = None
    """A run folder or a weights file of a model that reads lines; None for the reader that ships."""
    lines: Sequence[int] = LINES
    """Numbers of own lines to measure; numbers above what there is are left out, and all lines are always measured."""
    hold_out: int = HOLD_OUT
    """One of this number of pages is for the test."""
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"

    def run(self) -> dict[str, Any]:
        """Fine-tune for each number of lines, evaluate each on the held-out pages, and keep the last.

        Returns:
            The content of result.json; its `curve` has a row for each number of lines.

        Raises:
            UserError: anything that the user can correct.
        """
        RunFolder(self.out).check_free(resume=False)
        if any(count < 0 for count in self.lines):
            raise UserError(f"--lines has {min(self.lines)}; give numbers of lines, such as 5 16 64")
        build = load_implementation(self.framework)
        start = _Start.open(self.start_from)
        config = DataConfig(hold_out=self.hold_out)
        data = f"pages:{self.folder}"
        task = task_of(start.content.spec)
        dataset = start.widened(_load(task, data, start.content.spec, config))
        own = len(dataset.train) + len(dataset.validation)
        if own < LEAST:
            raise UserError(
                f"{self.folder} has {own} lines to learn from, besides {len(dataset.test)} held out for the test; "
                f"give at least {LEAST}, so correct another page"
            )
        job = _Job(adaptation=self, task=task, start=start, build=build, dataset=dataset, data=data, config=config)
        return job.run(counts_of(self.lines, own))


def counts_of(wanted: Sequence[int], own: int) -> list[int]:
    """The numbers of own lines to measure, ascending: from `LEAST` on, with none at all first and all of them last."""
    return [0, *sorted({count for count in wanted if LEAST <= count < own}), own]


def recipe(lines: int, seed: int, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
    """How to train on this number of own lines.

    Few lines are seen more often. Beyond a few hundred lines, ten epochs are enough.
    """
    epochs = int(np.clip(_STEPS * _BATCH // max(lines, 1), _LEAST_EPOCHS, _MOST_EPOCHS))
    return TrainConfig(
        epochs=epochs,
        batch_size=_BATCH,
        learning_rate=5e-4,
        augment=True,
        augment_shear=0.35,
        augment_elastic=0.03,
        seed=seed,
        precision=precision,
    )


def first_lines(dataset: AnyDataset, count: int) -> AnyDataset:
    """The data set with the first `count` own lines only, of which every fifth is for validation."""
    held = count // VALIDATION_EVERY
    held = min(held, len(dataset.validation))
    learnt = min(count - held, len(dataset.train))
    return replace(
        dataset, train=dataset.train.take(np.arange(learnt)), validation=dataset.validation.take(np.arange(held))
    )


def _load(task: Task, data: str, spec: Spec, config: DataConfig) -> AnyDataset:
    try:
        return task.load(data, spec, config)
    except UserError as error:
        if "split of" not in str(error):
            raise
        raise UserError(f"{data.partition(':')[2]} has too few lines with text to learn from: {error}") from None


# --- where it starts
@dataclass(frozen=True, kw_only=True)
class _Start:
    """The reader before."""

    content: WeightsFile
    prior: Prior | None
    """Its character language model, if it has one."""
    shipped: bool

    @classmethod
    def open(cls, run: Path | None) -> _Start:
        path = check_shipped(READER) if run is None else run
        content = open_weights(path)
        if content.spec.task != "lines":
            raise UserError(
                f"{path} is a {content.spec.rung}, which reads no lines; start from a run of lstm_ctc or transformer"
            )
        prior = None
        if not cast(LineSpec, content.spec).decodes:
            try:
                prior = open_prior(path, content)
            except UserError:
                if run is None:
                    raise
        return cls(content=content, prior=prior, shipped=run is None)

    def widened(self, dataset: AnyDataset) -> AnyDataset:
        """The data set with the reader's characters, and those of the own lines that the reader does not know."""
        known = self.content.charset.characters
        new = set().union(*dataset.train.texts, *dataset.validation.texts) - set(known)
        return replace(dataset, charset=Charset(tuple(sorted({*known, *new})) if new else known))


@dataclass(frozen=True, kw_only=True)
class _Adapted:
    """The reader that learnt from a number of own lines."""

    lines: int
    chosen: Chosen
    prior: Prior | None
    seconds: float
    plain: Evaluation
    """Of the test split, best path."""
    searched: Evaluation
    """Of the test split, with the beam and the language model; the same as `plain` if there is none."""

    def row(self) -> dict[str, Any]:
        """The row of the curve."""
        plain, searched = (evaluation.figures() for evaluation in (self.plain, self.searched))
        return {
            "lines": self.lines,
            "epoch": self.chosen.epoch,
            "validation_cer": self.chosen.rates.get("cer"),
            "cer": searched["cer"],
            "cer_interval": searched["cer_interval"],
            "wer": searched["wer"],
            "cer_best_path": plain["cer"],
            "wer_best_path": plain["wer"],
            "seconds": round(self.seconds, 2),
        }


@dataclass(kw_only=True)
class _Job:
    """The work of one adaptation."""

    adaptation: Adaptation
    task: Task
    start: _Start
    build: Build
    dataset: AnyDataset
    data: str
    config: DataConfig

    def run(self, counts: Sequence[int]) -> dict[str, Any]:
        folder, given = RunFolder(self.adaptation.out), self.adaptation
        spec = self.task.decide(self.start.content.spec, self.dataset)
        recognizer = self.build(spec, seed=given.seed, device=given.device)
        if given.precision not in recognizer.precisions:
            raise UserError(
                f"{given.framework} trains in {' or '.join(recognizer.precisions)} and not in {given.precision}; leave "
                "--precision out, or adapt with pytorch"
            )
        config: Config = {
            "framework": given.framework,
            "rung": spec.rung,
            "device": given.device,
            "data": self.data,
            "data_config": asdict(self.config),
            "spec": spec_to_dict(spec),
            "start_from": None if given.start_from is None else str(given.start_from),
            "train": asdict(recipe(counts[-1], given.seed, given.precision)),
        }
        folder.open(config)
        with kept_status(folder.status):
            write_environment(folder, self.task, self.dataset, recognizer.packages, given.device)
            return self._run(folder, recognizer, config, counts)

    def _run(self, folder: RunFolder, recognizer: Recognizer, config: Config, counts: Sequence[int]) -> dict[str, Any]:
        recorders = open_recorders((), folder.path, config, first_step=0)
        summary: Mapping[str, Any] = {}
        try:
            rows = []
            for count in counts:
                adapted = self._adapt(recognizer, count, recorders if count == counts[-1] else ())
                rows.append(adapted.row())
            result = self._result(recognizer, adapted, rows, config)
            self._keep(folder, recognizer, adapted, config, result)
            summary = result
        finally:
            for recorder in recorders:
                recorder.close(summary)
        folder.complete(result)
        return result

    def _adapt(self, recognizer: Recognizer, count: int, recorders: Sequence[Recorder]) -> _Adapted:
        """The reader that learnt from the first `count` own lines; `recognizer` has its weights afterwards."""
        before, seed = self.start.content, self.adaptation.seed
        recognizer.load_weights(carry_over(before, recognizer.spec, self.dataset.charset, seed, quiet=True).weights)
        began = time.perf_counter()
        if count:
            dataset = first_lines(self.dataset, count)
            chosen = tune(
                recognizer,
                self.task,
                dataset,
                recipe(count, seed, self.adaptation.precision),
                patience=_PATIENCE,
                recorders=recorders,
            )
            texts = [*dataset.train.texts, *dataset.validation.texts]
        else:
            chosen, texts = Chosen(epoch=0, rates={}, weights=recognizer.export_weights()), []
        seconds = time.perf_counter() - began
        prior = self._prior(texts)
        charset, test = self.dataset.charset, self.dataset.test
        plain = self.task.evaluate(recognizer, charset, test, charset)
        search = None if prior is None else Search(beam=BEAM, prior=prior)
        searched = plain if search is None else self.task.evaluate(recognizer, charset, test, charset, search)
        return _Adapted(lines=count, chosen=chosen, prior=prior, seconds=seconds, plain=plain, searched=searched)

    def _prior(self, texts: Sequence[str]) -> Prior | None:
        """The language model of the reader before, with the own texts counted as well."""
        before = self.start.prior
        if before is None:
            return None
        charset, old = self.dataset.charset, self.start.content.charset
        class_of_K = np.append(0, charset.translation(old) + 1)
        encoded = [charset.encode(text) for text in texts]
        counts = before.counts.extended(encoded, len(charset) + 1, class_of_K, times=PRIOR_TIMES)
        return replace(before, counts=counts)

    def _result(
        self, recognizer: Recognizer, adapted: _Adapted, rows: Sequence[Mapping[str, Any]], config: Config
    ) -> dict[str, Any]:
        known = set(self.start.content.charset.characters)
        new = "".join(each for each in self.dataset.charset.characters if each not in known)
        pages = len(np.unique(self.dataset.test.writers_N))
        return {
            "rung": config["rung"],
            "framework": config["framework"],
            "device": config["device"],
            "data": self.data,
            "split": "test",
            "seed": self.adaptation.seed,
            "started_with": "the reader that ships" if self.start.shipped else str(self.adaptation.start_from),
            **adapted.plain.figures(),
            "cer_search": rows[-1]["cer"],
            "search": None if adapted.prior is None else {"beam": BEAM, "ngram": True},
            "own_lines": adapted.lines,
            "test_pages": pages,
            "test_by": "pages"
            if not set(self._pages("train")) & set(self._pages("test"))
            else "lines of the same page",
            "new_characters": new,
            "learnt": adapted.chosen.epoch > 0,
            "parameters": parameter_count(recognizer.spec),
            "epochs": config["train"]["epochs"],
            "best_epoch": adapted.chosen.epoch,
            **{f"best_validation_{name}": rate for name, rate in adapted.chosen.rates.items()},
            "seconds": sum(row["seconds"] for row in rows),
            "refused": len(self.dataset.refused),
            "peak_memory_mb": peak_memory_mb(),
            "versions": versions(recognizer.packages),
            "curve": list(rows),
        }

    def _pages(self, split: str) -> list[int]:
        return np.unique(self.dataset.split(split).writers_N).tolist()

    def _keep(
        self, folder: RunFolder, recognizer: Recognizer, adapted: _Adapted, config: Config, result: Mapping[str, Any]
    ) -> None:
        from common.report.adaptation import sheet_of_adaptation  # matplotlib is slow to import
        from common.report.drawing import png
        from common.report.figures import draw_run

        provenance = {name: config[name] for name in ("framework", "data", "data_config", "device", "train")}
        provenance |= {"start_from": result["started_with"], "own_lines": adapted.lines, "search": result["search"]}
        provenance |= {"versions": result["versions"], "epoch": adapted.chosen.epoch}
        content = WeightsFile(
            spec=recognizer.spec,
            charset=self.dataset.charset,
            weights=recognizer.export_weights(),
            golden=adapted.plain.golden(recognizer),
            provenance=provenance,
        )
        save_weights(folder.weights, content)
        if adapted.prior is not None:
            save_prior(folder.prior, adapted.prior, self.dataset.charset)
        folder.write_predictions(adapted.plain.predictions())
        draw_run(folder.path, folder.metrics, self.task, adapted.plain, self.dataset.name)
        curve = json.dumps(result["curve"], indent=2) + "\n"
        write_atomically(folder.path / f"{CURVE}.json", curve.encode())
        write_atomically(folder.path / f"{CURVE}.png", png(sheet_of_adaptation(result["curve"])))
