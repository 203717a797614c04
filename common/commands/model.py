"""A trained model, as the commands that use one take it: a run folder or a weights file."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from common.recognizer import Device, Recognizer, load_implementation
from common.weights import WeightsFile, load_weights


def open_weights(run: Path) -> WeightsFile:
    """The weights of a run folder, or of a weights file.

    Raises:
        UserError: there is none, or it is not one that can be used.
    """
    if not run.exists():
        raise UserError(f"{run} does not exist; give a run folder or a weights file")
    if not run.is_dir():
        return load_weights(run)
    weights = run / "weights.safetensors"
    if not weights.is_file():
        raise UserError(f"{run} holds no weights.safetensors; give the folder of a run that finished an epoch")
    return load_weights(weights)


def open_model(content: WeightsFile, framework: str | None, device: Device) -> Recognizer:
    """The model in a framework: in the one named, else in the one that trained it."""
    build = load_implementation(framework or framework_of(content))
    recognizer = build(content.spec, device=device)
    recognizer.load_weights(content.weights)
    return recognizer


def framework_of(content: WeightsFile) -> str:
    """The framework that trained the weights; NumPy if the file does not say."""
    return str(content.provenance.get("framework", "numpy"))
