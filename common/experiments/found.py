"""Find run folders and read what they say, also those of runs that failed or were cut off."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.evaluation.measure import Measure
from common.experiments.notes import Note, read_notes
from common.formatting import flattened
from common.spec import RUNGS
from common.tasks import task_of
from common.training.folder import RunFolder
from common.training.status import is_alive

COMPLETE, RUNNING, INTERRUPTED, FAILED, BROKEN = "complete", "running", "interrupted", "failed", "broken"
STATES = (COMPLETE, RUNNING, INTERRUPTED, FAILED, BROKEN)
_FRESH_SECONDS = 120
"""A run on another host counts as running if it wrote a line within this time."""
_SKIPPED = ("wandb", "tensorboard", "mlflow", "node_modules", "__pycache__")
_FILES = ("metrics.jsonl", "result.json", "weights.safetensors", "status.json")


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """The content of a run folder, as far as it can be read."""

    path: Path
    name: str
    """Its path relative to the folder that was searched."""
    state: str
    """One of `STATES`."""
    reason: str = ""
    """Why the run failed, or why its folder cannot be read."""
    config: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    """Empty unless the run is complete."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def measure(self) -> Measure | None:
        """The measure of the run's task; None if its rung is not known."""
        rung = self.config.get("rung")
        return task_of(rung).measure if rung in RUNGS else None

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl that end an epoch."""
        return epoch_rows(self.path / "metrics.jsonl")

    @cached_property
    def validation(self) -> dict[str, float]:
        """The validation figures of the best epoch: accuracy, or cer and wer, or f1. Empty before the first epoch."""
        prefix = "best_validation_"
        kept = {name.removeprefix(prefix): value for name, value in self.result.items() if name.startswith(prefix)}
        measure = self.measure
        if kept or measure is None:
            return kept
        name = f"validation/{measure.metric}"
        rows = [row for row in self.epochs if isinstance(row.get(name), int | float)]
        if not rows:
            return {}
        best = (min if measure.lower_is_better else max)(rows, key=lambda row: float(row[name]))
        rates = {key.removeprefix("validation/"): value for key, value in best.items() if key.startswith("validation/")}
        return {key: value for key, value in rates.items() if key != "loss"}

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Everything by a dotted name, such as `train.epochs`, `validation.cer`, `cer` (test split)."""
        environment = {key: value for key, value in self.environment.items() if key not in ("code", "data", "resumed")}
        code, data = self.environment.get("code") or {}, self.environment.get("data") or {}
        epochs = {} if self.result else {"epochs_done": len(self.epochs)}
        return {
            **_plain(flattened(environment)),
            **_plain(flattened({"status": self.status})),
            **_plain(self.result and flattened(self.result)),
            **epochs,
            **flattened(self.config),
            **{f"validation.{name}": value for name, value in self.validation.items()},
            "commit": code.get("commit"),
            "uncommitted": code.get("uncommitted"),
            "code_note": code.get("code_note"),
            "resumed": len(self.environment.get("resumed", ())),
            "data_hash": data.get("hash"),
            "name": self.name,
            "path": str(self.path),
            "state": self.state,
            "reason": self.reason,
            "note": self.notes[-1].text if self.notes else None,
        }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without tables such as `most_confused`."""
    return {k: v for k, v in values.items() if not (isinstance(v, list) and v and isinstance(v[0], dict | list))}


def find_runs(folder: Path) -> list[FoundRun]:
    """The runs in a folder and its subfolders, in the order of their paths.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}; give a folder with run folders")
    return [read_run(path, root=folder) for path in sorted(_run_folders(folder))]


def open_one(path: Path) -> FoundRun:
    """The run in a folder.

    Raises:
        UserError: there is no run.
    """
    if not path.is_dir() or not _is_run(path, {entry.name for entry in path.iterdir()}):
        what = (
            "holds no run (no config.json)" if path.is_dir() else "is no folder" if path.exists() else "does not exist"
        )
        raise UserError(f"{path} {what}; give a run folder, see `fourhands runs list FOLDER`")
    return read_run(path)


def _run_folders(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        if _is_run(Path(root), set(files)):
            yield Path(root)
            folders.clear()  # a run contains no other runs, and its recorders may have thousands of files
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]


def _is_run(path: Path, names: set[str]) -> bool:
    """Whether a folder is a run. A config.json alone may be another program's."""
    if any(name in names for name in _FILES[:2]):
        return "config.json" in names or "weights.safetensors" in names or "status.json" in names
    if "config.json" not in names:
        return False
    config, problem = _read_json(path / "config.json")
    return bool(problem) or {"rung", "framework"} <= config.keys()


def read_run(path: Path, root: Path | None = None) -> FoundRun:
    """Read a run folder. What cannot be read makes the run `broken` and is named in its reason."""
    folder = RunFolder(path)
    name = path.name if root is None or path == root else path.relative_to(root).as_posix()
    config, problem = _read_json(folder.config)
    if not problem and not {"rung", "framework", "train"} <= config.keys():
        problem = "config.json is not that of a run: it lacks rung, framework or train"
    status, _ = _read_json(folder.status, missing_ok=True)
    environment, _ = _read_json(folder.environment, missing_ok=True)
    result, unreadable = _read_json(folder.result, missing_ok=True)
    problem = problem or unreadable
    state, reason = (BROKEN, problem) if problem else _state(folder, result, status)
    return FoundRun(
        path=path,
        name=name,
        state=state,
        reason=reason,
        config=config,
        result=result,
        environment=environment,
        status=status,
        notes=tuple(read_notes(path)),
    )


def _state(folder: RunFolder, result: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, str]:
    if result:
        return COMPLETE, ""
    said = status.get("state")
    if said in (FAILED, INTERRUPTED):
        return str(said), str(status.get("reason", ""))
    alive = is_alive(status) if said == RUNNING else None
    if alive is None:  # another host, or a run of an earlier version: only its files can tell
        try:
            alive = time.time() - folder.metrics.stat().st_mtime < _FRESH_SECONDS
        except OSError:
            alive = False
    if alive:
        return RUNNING, ""
    return INTERRUPTED, "its process was killed" if said == RUNNING else ""


def _read_json(path: Path, *, missing_ok: bool = False) -> tuple[dict[str, Any], str]:
    """The object in a file, and the reason if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "" if missing_ok else f"{path.name} is missing"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except ValueError as error:
        return {}, f"{path.name} is damaged: {error}"
    if not isinstance(content, dict):
        return {}, f"{path.name} is damaged: not an object"
    return content, ""


def epoch_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that end an epoch; empty if the file cannot be read."""
    rows = []
    try:
        with path.open("rb") as file:
            # most lines are steps: parse the others only
            for line in file:
                if b'"epoch"' in line and line.endswith(b"\n"):
                    rows.append(json.loads(line))
    except (OSError, ValueError):
        return rows
    return [row for row in rows if isinstance(row, dict)]


def known_fields(runs: Iterable[FoundRun]) -> list[str]:
    """The names of the fields that any of the runs has."""
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(run.fields)
    return list(names)
