"""fourhands: one handwriting recognizer in NumPy, PyTorch, Keras and JAX.

    import fourhands

    fourhands.train("cnn", data="mnist", out="runs/digits", framework="pytorch")
    reader = fourhands.load("runs/digits")  # NumPy computes, whatever trained
    print(reader.read("photo.jpg").text)
    print(fourhands.load().read("page.jpg").text)  # the reader that ships reads whole pages

`train`, `adapt`, `evaluate` and `verify` do what the commands of the same names do; `load` returns a reader for
images, and `load_pages` one for pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from common.charset import Charset
from common.config import TrainConfig
from common.data.config import DataConfig
from common.errors import UserError, unknown_name
from common.machine import versions
from common.reading.page import PageLine, PageReading, ReadCharacter
from common.reading.result import Reading
from common.recognizer import Device, implementations
from common.spec import RUNGS, CNNSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec, UNetSpec, new_spec
from common.tasks import task_of
from common.training.adapt import HOLD_OUT, LINES, Adaptation
from common.training.page_reader import PageReader
from common.training.reader import Reader
from common.training.session import Session
from common.training.trained import data_config_of, open_recognizer, open_search, open_weights, trained_in
from common.training.verification import Verification
from common.training.verification import verify as _verify
from common.training.verification import verify_shipped as _verify_shipped

__all__ = [
    "CNNSpec",
    "Charset",
    "DataConfig",
    "LSTMCTCSpec",
    "MLPSpec",
    "PageLine",
    "PageReader",
    "PageReading",
    "ReadCharacter",
    "Reader",
    "Reading",
    "Spec",
    "TrainConfig",
    "TransformerSpec",
    "UNetSpec",
    "UserError",
    "Verification",
    "adapt",
    "evaluate",
    "frameworks",
    "load",
    "load_pages",
    "train",
    "verify",
]

Config = TypeVar("Config", TrainConfig, DataConfig)
AnyPath = str | PathLike[str]


def frameworks() -> list[str]:
    """Names of the registered implementations, installed or not."""
    return list(implementations())


@overload
def load(run: None = None, framework: str | None = "numpy", device: Device = "cpu") -> PageReader: ...


@overload
def load(run: AnyPath, framework: str | None = "numpy", device: Device = "cpu") -> Reader: ...


def load(run: AnyPath | None = None, framework: str | None = "numpy", device: Device = "cpu") -> Reader | PageReader:
    """A trained model that reads images; without a run, the reader of pages that ships.

    Args:
        run: a run folder or a weights file of a model that reads characters or lines; None for the reader that ships.
        framework: the framework that computes. None takes the one that trained the model, or NumPy if that is not
            installed.
        device: cpu or gpu.

    Returns:
        A reader. For a run, `reader.read(image)` returns the text, its probability and the probability of each
        character. The reader that ships returns the lines of a page, see `load_pages`.

    Raises:
        UserError: no such run, damaged weights, or a framework or device that is missing.
    """
    if run is None:
        return load_pages(framework=framework, device=device)
    return Reader.open(Path(run), framework, device)


def load_pages(
    run: AnyPath | None = None,
    *,
    finder: AnyPath | None = None,
    framework: str | None = "numpy",
    device: Device = "cpu",
) -> PageReader:
    """A reader of pages.

    Args:
        run: a run folder or a weights file of a model that reads lines; None for the one that ships.
        finder: a run folder or a weights file of `unet`, which finds the lines; None for the one that ships.
        framework: the framework that computes. None takes the one that trained `run`, or NumPy if that is not
            installed, or if `run` is None.
        device: cpu or gpu.

    Returns:
        A reader; `reader.read(picture)` returns the lines of a page with their text, confidences and places. It also
        reads pictures of one line.

    Raises:
        UserError: no such run, damaged weights, or a framework or device that is missing.
    """
    given = [None if path is None else Path(path) for path in (run, finder)]
    return PageReader.open(run=given[0], finder=given[1], framework=framework, device=device)


def train(
    rung: str,
    *,
    out: AnyPath,
    framework: str = "numpy",
    data: str | None = None,
    device: Device = "cpu",
    spec: Spec | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    data_config: DataConfig | Mapping[str, Any] | None = None,
    start_from: AnyPath | None = None,
    record: Sequence[str] = (),
    record_group: str | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a model and keep it in a run folder.

    Args:
        rung: mlp, cnn, lstm_ctc, transformer or unet.
        out: the run folder to make.
        framework: the framework that trains.
        data: NAME or NAME:FOLDER; None draws handwriting: ink for characters, ink_lines for lines,
            ink_pages for pages.
        device: cpu or gpu.
        spec: sizes of the model: a spec, or the fields that differ from the defaults, such as `{"dropout": 0}`. The
            number of classes follows from the data.
        train: how to train: a configuration, or the fields that differ from the rung's defaults.
        data_config: which examples to use: a configuration, or the fields that differ from the defaults.
        start_from: a run folder or a weights file with initial weights: of the same rung and sizes with any charset, or
            of the other rung that reads lines, whose stem is used.
        record: recorders besides metrics.jsonl: tensorboard, wandb, mlflow.
        record_group: group of the run in Weights & Biases and MLflow, such as the name of a sweep.
        resume: continue an interrupted run; the other arguments must be as before.

    Returns:
        The content of result.json.

    Raises:
        UserError: anything that the caller can correct. Files that were written before it stay.
    """
    if rung not in RUNGS:
        raise unknown_name("rung", rung, RUNGS)
    task = task_of(rung)
    session = Session(
        spec=_spec(rung, spec),
        framework=framework,
        data=data or task.default_data,
        out=Path(out),
        device=device,
        train=_filled(task.default_train, train, "train"),
        data_config=_filled(DataConfig(), data_config, "data_config"),
        start_from=None if start_from is None else Path(start_from),
        record=record,
        group=record_group,
        resume=resume,
    )
    return session.run()


def adapt(
    folder: AnyPath,
    *,
    out: AnyPath,
    framework: str = "numpy",
    device: Device = "cpu",
    start_from: AnyPath | None = None,
    lines: Sequence[int] = LINES,
    hold_out: int = HOLD_OUT,
    seed: int = 0,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> dict[str, Any]:
    """Fine-tune a reader of lines on own pages, and measure its errors against the number of own lines.

    Args:
        folder: pictures of pages with ALTO or PAGE XML beside them.
        out: the run folder to make. It can be read with, evaluated and served like any other.
        framework: the framework that trains.
        device: cpu or gpu.
        start_from: a run folder or a weights file of a model that reads lines; None for the reader that ships.
        lines: numbers of own lines to measure. All lines are always measured too, and the run keeps that reader.
        hold_out: every Nth page is held out for the test.
        seed: seed of the order of the lines, dropout and augmentation.
        precision: of the matrix products in training; bfloat16 is for PyTorch only.

    Returns:
        The content of result.json. `curve` has a row for each number of lines: `lines`, `cer` and its interval with the
        beam search and the language model, `cer_best_path`, and the chosen epoch, which is 0 if the reader before was
        better on the validation lines.

    Raises:
        UserError: anything that the caller can correct.
    """
    adaptation = Adaptation(
        folder=Path(folder),
        out=Path(out),
        framework=framework,
        device=device,
        start_from=None if start_from is None else Path(start_from),
        lines=lines,
        hold_out=hold_out,
        seed=seed,
        precision=precision,
    )
    return adaptation.run()


def evaluate(
    run: AnyPath | None = None,
    *,
    framework: str | None = None,
    data: str | None = None,
    split: Literal["train", "validation", "test", "all"] = "test",
    device: Device = "cpu",
    beam: int | None = None,
    ngram: bool | None = None,
    writer_pattern: str | None = None,
) -> dict[str, Any]:
    """Evaluate a trained model on a whole split; the run folder does not change.

    Args:
        run: a run folder or a weights file. None evaluates the page reader that ships. A run of `unet` finds the lines,
            and the recognizer that ships reads them.
        framework: the framework that computes. None takes the one that trained the model, or NumPy if that is not
            installed; then the result has a `note`. For pages, None takes NumPy.
        data: NAME or NAME:FOLDER; None takes the data that the model was trained on, with the same splits.
        split: train, validation or test; for pages also all, which is the three together.
        device: cpu or gpu.
        beam: `lstm_ctc` only: width of the beam search; 0 takes the best path. None is 0 for a run of lines, and the
            default of the shipped reader for pages.
        ngram: `lstm_ctc` only: weigh the texts of the beam with the character language model. None is False for a run
            of lines, and the default of the shipped reader for pages.
        writer_pattern: pages only: regular expression whose group 1 is the writer in a page's name. None takes the
            pattern of the run if `data` is its own.

    Returns:
        rung, framework, device, trained_in, data, split, versions; accuracy or cer and wer with their intervals; and
        the other figures of result.json that say how well the model reads. For pages: precision, recall and f1 of the
        lines, outline_iou, and the rates of `common.evaluation.pages.page_figures`, for all pages, in `collections` for
        each subfolder, and in `each_page` for each page, the worst first.

    Raises:
        UserError: no such run, data that cannot be loaded, or a search that the model cannot use.
    """
    path = None if run is None else Path(run)
    content = None if path is None else open_weights(path)
    if path is None or content is None or task_of(content.spec).name == "pages":
        from common.training.page_evaluation import evaluate_pages  # imports SciPy

        return evaluate_pages(
            path,
            framework=framework,
            data=data,
            split=split,
            device=device,
            beam=beam,
            ngram=ngram,
            writer_pattern=writer_pattern,
        )
    task = task_of(content.spec)
    search = open_search(path, content, beam=beam or 0, ngram=bool(ngram))
    recognizer, name, note = open_recognizer(content, framework, device)
    own = content.provenance.get("data")
    data = data or own
    if not isinstance(data, str):
        raise UserError(f"{run} does not say what it was trained on; give --data")
    # the run's own splits, if it is evaluated on its own data
    config = data_config_of(content) if data == own else DataConfig()
    if writer_pattern is not None:
        config = replace(config, writer_pattern=writer_pattern)
    dataset = task.load(data, content.spec, config)
    evaluation = task.evaluate(recognizer, content.charset, dataset.split(split), dataset.charset, search)
    return {
        "rung": content.spec.rung,
        "framework": name,
        "device": device,
        "trained_in": trained_in(content),
        "data": data,
        "split": split,
        **evaluation.figures(),
        "versions": versions(recognizer.packages),
        **({"note": note} if note else {}),
    }


def verify(run: AnyPath | None = None, framework: str | None = None, device: Device = "cpu") -> list[Verification]:
    """Check whether weights still give the logits of their golden example.

    Args:
        run: a run folder or a weights file; None for the two models of the reader that ships.
        framework: the framework to try; None tries every registered one, each in a process of its own.
        device: cpu or gpu.

    Returns:
        One result per framework, and per model of the reader that ships; `same` is True for the same model, False for
        another, and None where the framework could not be tried, for the `reason` given.

    Raises:
        UserError: no such run, damaged weights, or a named framework that is not installed.
    """
    if run is None:
        return _verify_shipped(framework, device)
    return _verify(Path(run), framework, device)


def _spec(rung: str, spec: Spec | Mapping[str, Any] | None) -> Spec:
    if spec is None or isinstance(spec, Mapping):
        try:
            return new_spec(rung, **dict(spec or {}))
        except TypeError as error:
            raise UserError(f"not a spec of rung {rung}: {error}") from None
    if spec.rung != rung:
        raise UserError(f"the spec is of rung {spec.rung} and not of {rung}; give one of them")
    return spec


def _filled(defaults: Config, given: Config | Mapping[str, Any] | None, name: str) -> Config:
    if given is None:
        return defaults
    if not isinstance(given, Mapping):
        return given
    try:
        return replace(defaults, **given)
    except TypeError as error:
        raise UserError(f"{name} has an unknown field: {error}") from None
