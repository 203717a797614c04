"""A trained model: a run folder or a weights file, opened in a framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.config import DataConfig
from common.errors import NotInstalled, UserError
from common.reading.ngram import Prior, load_prior
from common.reading.search import Search
from common.recognizer import Device, Recognizer, load_implementation
from common.tasks import task_of
from common.training.folder import PRIOR, WEIGHTS
from common.weights import WeightsFile, load_weights

FALLBACK = "numpy"


def open_weights(run: Path) -> WeightsFile:
    """The weights of a run folder, or of a weights file.

    Raises:
        UserError: there is none, or it cannot be used.
    """
    if not run.exists():
        raise UserError(f"{run} does not exist; give a run folder or a weights file")
    weights = weights_path(run)
    if run.is_dir() and not weights.is_file():
        raise UserError(f"{run} holds no {WEIGHTS}; give the folder of a run that finished an epoch")
    return load_weights(weights)


def open_search(run: Path, content: WeightsFile, *, beam: int, ngram: bool) -> Search:
    """The search for a model, with the character language model that lies beside its weights if `ngram`.

    Raises:
        UserError: a search that the model cannot use, or a language model that is missing or damaged.
    """
    task_of(content.spec).check_search(content.spec, beam=beam, ngram=ngram)
    return Search(beam=beam, prior=open_prior(run, content) if ngram else None)


def open_prior(run: Path, content: WeightsFile) -> Prior:
    """The character language model that lies beside the weights.

    Raises:
        UserError: it is missing or damaged.
    """
    return load_prior(prior_path(run), content.charset)


def prior_path(run: Path) -> Path:
    """Where the character language model of a run folder or a weights file lies, if there is one."""
    return (run if run.is_dir() else run.parent) / PRIOR


def weights_path(run: Path) -> Path:
    """The weights file of a run folder; of a weights file, the file itself."""
    return run / WEIGHTS if run.is_dir() else run


def open_recognizer(content: WeightsFile, framework: str | None, device: Device) -> tuple[Recognizer, str, str]:
    """The model in a framework.

    Args:
        content: the weights.
        framework: its name; None for the framework that trained the weights, or NumPy if that is not installed.
        device: where to compute.

    Returns:
        The model, the name of its framework, and a note for the user, which is empty unless NumPy takes over.

    Raises:
        UserError: an unknown framework, one that was named and is not installed, or a device that is missing.
    """
    name, note = framework or trained_in(content), ""
    try:
        build = load_implementation(name)
    except NotInstalled:
        if framework is not None:
            raise
        note = f"{name}, which trained this model, is not installed; NumPy computes it instead"
        name, build = FALLBACK, load_implementation(FALLBACK)
    recognizer = build(content.spec, device=device)
    recognizer.load_weights(content.weights)
    return recognizer, name, note


def trained_in(content: WeightsFile) -> str:
    """The framework that trained the weights; NumPy if the file does not say."""
    return str(content.provenance.get("framework", FALLBACK))


def data_config_of(content: WeightsFile) -> DataConfig:
    """The configuration of the data that the weights were trained on; the defaults if the file does not say."""
    fields: dict[str, Any] = content.provenance.get("data_config") or {}
    if not fields:  # weights from before the data had a configuration of its own
        train = content.provenance.get("train", {})
        fields = {name: train[name] for name in DataConfig.__dataclass_fields__ if name in train}
    return DataConfig(**fields)
