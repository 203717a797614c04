"""Recorders keep the figures of a run: JSON lines always; TensorBoard, Weights & Biases and MLflow on request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.errors import UserError, unknown_name
from common.training.json_lines import METRICS, JsonLines
from common.training.mlflow_recorder import MLflow
from common.training.recorder import About, Recorder
from common.training.tensorboard_recorder import TensorBoard
from common.training.wandb_recorder import WandB

__all__ = ["METRICS", "RECORDERS", "About", "JsonLines", "Recorder", "open_recorders"]

RECORDERS: dict[str, type[TensorBoard] | type[WandB] | type[MLflow]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


def open_recorders(
    names: Iterable[str], folder: Path, config: dict[str, Any], *, first_step: int, about: About | None = None
) -> list[Recorder]:
    """JSON lines, and the recorders that `--record` names.

    Args:
        names: of `tensorboard`, `wandb` and `mlflow`.
        folder: the run folder, which exists.
        config: the resolved configuration, JSON-ready.
        first_step: the first step that will be recorded: 1, or the first step of a resumed run. Records of that step
            and later ones are dropped from the folder, because they will be recorded again.
        about: the model, the environment and the group of the run.

    Raises:
        UserError: an unknown name, a recorder that is not installed, or a folder that cannot be written.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in RECORDERS:
            raise unknown_name("recorder", name, RECORDERS)
    opened: list[Recorder] = [JsonLines(folder / METRICS, first_step=first_step)]
    try:
        for name in wanted:
            opened.append(RECORDERS[name](folder, config, first_step=first_step, about=about or About()))
    except (UserError, ModuleNotFoundError) as error:
        for recorder in opened:
            recorder.close({})
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"recorder {name!r} is not installed ({error.name} is missing); "
            f'install it with: pip install "fourhands[{name}]"'
        ) from None
    return opened
