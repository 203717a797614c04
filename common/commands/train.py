"""The command `fourhands train`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

import fourhands
from common.commands.flags import Name
from common.config import TrainConfig
from common.data.config import DataConfig
from common.errors import unknown_name
from common.recognizer import Device
from common.spec import RUNGS, Spec, new_spec
from common.spec.presets import PRESETS, preset_fields
from common.tasks import task_of
from common.training.folder import RunFolder

SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True, kw_only=True)
class Train(Generic[SpecT]):
    """Train a model and keep it, with its figures, in a run folder."""

    rung: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(RUNGS) + "}")]
    """The model to train; the --spec flags depend on it."""
    out: Path
    """The run folder to make."""
    preset: Literal["small", "base", "large"] = "base"
    """Sizes of the model: small for a laptop, base the defaults, large for a GPU. --spec flags change single sizes."""
    framework: Name = "numpy"
    """numpy, pytorch, keras, jax, or another that is installed."""
    data: Name
    """NAME or NAME:FOLDER; see `fourhands data list`."""
    device: Device = "cpu"
    """Where to train. No GPU has run this project yet."""
    record: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Recorders besides metrics.jsonl: tensorboard, wandb, mlflow."""
    record_group: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Group of the run in Weights & Biases and MLflow, such as the name of a sweep."""
    resume: bool = False
    """Continue an interrupted run; give the same flags as before."""
    start_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Warm start: a run folder or a weights file of the same rung and sizes, with any charset. Of the other rung that
    reads lines, the stem is used."""
    spec: SpecT
    train: TrainConfig
    data_config: Annotated[DataConfig, tyro.conf.arg(name="data")] = field(default_factory=DataConfig)

    def __call__(self) -> int:
        """Train, evaluate on the test split, draw, and print the main figures."""
        result = fourhands.train(
            self.rung,
            out=self.out,
            framework=self.framework,
            data=self.data,
            device=self.device,
            spec=self.spec,
            train=self.train,
            data_config=self.data_config,
            start_from=self.start_from,
            record=self.record,
            record_group=self.record_group,
            resume=self.resume,
        )
        if started := result.get("started_with"):
            print(f"started from {self.start_from}: {started} carried over")
        if result["stopped_early"]:
            epochs, best = result["epochs_trained"], result["best_epoch"]
            print(f"stopped after epoch {epochs} of {result['epochs']}: no better validation figure since epoch {best}")
        if tried := result.get("overfit"):
            print(tried["verdict"])
        reached = task_of(self.rung).measure.sentence(result)
        took = f"after {result['seconds']:.0f} s of training"
        print(f"{self.rung} in {self.framework} on {self.data}: {reached} {took}")
        prior = ", prior.safetensors" if RunFolder(self.out).prior.exists() else ""
        print(f"kept in {self.out}: weights.safetensors{prior}, result.json, curves.png, readings.png, confusion.png")
        return 0


def defaults_for(arguments: Sequence[str]) -> Train[Any]:
    """The defaults of the command for the rung that `--rung` names, or for the first rung if none is named.

    The sizes are those of `--preset`.

    Raises:
        UserError: an unknown rung or preset.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--rung", nargs="?")
    parser.add_argument("--preset", nargs="?")
    found = parser.parse_known_args(arguments)[0]
    rung, preset = found.rung or next(iter(RUNGS)), found.preset or "base"
    if rung not in RUNGS:
        raise unknown_name("rung", rung, RUNGS)
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    task = task_of(rung)
    return Train(
        rung=tyro.MISSING,
        out=tyro.MISSING,
        data=task.default_data,
        spec=new_spec(rung, **preset_fields(rung, preset)),
        train=task.default_train,
    )
