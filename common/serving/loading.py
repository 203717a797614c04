"""Loading the models of a process that reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from common.reading.shipped import FINDER, MODELS, PRIOR, READER
from common.serving.reply import ModelInfo
from common.serving.settings import EngineConfig
from common.serving.work import Work
from common.training.folder import PRIOR as PRIOR_NAME
from common.training.folder import WEIGHTS
from common.training.page_reader import PageReader

CARD = "MODEL_CARD.md"


@dataclass(frozen=True)
class Loaded:
    """Models that are ready to read."""

    info: ModelInfo
    work: Work


def load(config: EngineConfig) -> Loaded:
    """Load the finder, the reader and the character prior.

    Raises:
        UserError: one of them is missing or damaged, or the framework or the device is missing.
    """
    files = model_files(config)
    identity = hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()[:12]
    reader = PageReader.open(run=config.run, finder=config.finder, framework=config.framework, device=config.device)
    content = reader.reader.content
    parameters = sum(array.size for array in content.weights.values())
    if content.spec.task == "lines":
        parameters += sum(array.size for array in reader.finder.export_weights().values())
    card = (MODELS if config.run is None else config.run if config.run.is_dir() else config.run.parent) / CARD
    info = ModelInfo(
        identity=identity,
        rung=content.spec.rung,
        framework=reader.framework,
        charset=reader.charset,
        parameters=parameters,
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
        provenance=content.provenance,
    )
    return Loaded(info, Work(reader, reader.search(), config.limits))


def model_files(config: EngineConfig) -> list[Path]:
    """The files of the finder, the reader and the character prior."""
    finder = FINDER if config.finder is None else _weights(config.finder)
    if config.run is None:
        return [finder, READER, PRIOR]
    reader = _weights(config.run)
    return [finder, reader, reader.with_name(PRIOR_NAME)]


def _weights(run: Path) -> Path:
    return run / WEIGHTS if run.is_dir() else run
