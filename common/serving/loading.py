"""Loading the models of a process that reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.recognizer import Device
from common.serving.model_files import ModelFiles, Models
from common.serving.reply import ModelInfo
from common.serving.settings import EngineConfig, Limits
from common.serving.shapes import FixedShapes, fixed
from common.serving.work import Work
from common.training.page_reader import PageReader


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process reads with."""

    files: ModelFiles
    framework: str | None
    device: Device
    limits: Limits
    signs: bool
    """Whether to measure the signs of each picture."""
    wait: float
    """Seconds that a line waits for others."""


@dataclass(frozen=True)
class Loaded:
    """Models that are ready to read."""

    info: ModelInfo
    work: Work
    shapes: Sequence[FixedShapes]
    """The models that compute in a fixed set of shapes."""


def task_of(config: EngineConfig, files: ModelFiles) -> Task:
    """What a process reads with, from the settings."""
    return Task(
        files=files,
        framework=config.framework,
        device=config.device,
        limits=config.limits,
        signs=config.signs,
        wait=config.wait_ms / 1000,
    )


def load(config: EngineConfig) -> Loaded:
    """Load the models for this process. They are not proven, and nothing is run.

    Raises:
        UserError: one of them is missing or damaged, or the framework or the device is missing.
    """
    task = task_of(config, ModelFiles.of(config.run, config.finder))
    return _loaded(task, task.files.open(task.framework, task.device))


def prepare(task: Task) -> Loaded:
    """Load the models, prove them, and run everything once.

    Raises:
        UserError: they cannot be loaded, or they do not give the logits of their golden examples.
    """
    models = task.files.open(task.framework, task.device)
    models.prove()
    loaded = _loaded(task, models)
    for shape in loaded.shapes:
        shape.warm()
    loaded.work.warm()
    return loaded


def _loaded(task: Task, models: Models) -> Loaded:
    shaped = {name: fixed(model, models.reader.framework) for name, (model, _) in models.models.items()}
    reader = PageReader(
        reader=replace(models.reader, recognizer=shaped["reader"][0]),
        open_finder=lambda: shaped["finder"][0],
        device=task.device,
        shipped=task.files.shipped,
    )
    shapes = [shape for _, shapes in shaped.values() for shape in shapes]
    return Loaded(models.info, Work(reader, task.limits, signs=task.signs), shapes)
