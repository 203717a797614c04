"""The command that trains a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.data.config import DataConfig
from common.spec import RUNGS, new_spec
from common.tasks import task_of


def train_command(config: Mapping[str, Any], out: str | Path = "RUN") -> str:
    """The command with a flag for each setting that differs from today's default.

    Args:
        config: the content of config.json.
        out: the folder that the command names.

    Returns:
        The command, quoted for a shell; empty if the rung is not known.
    """
    rung = config.get("rung")
    if rung not in RUNGS:
        return ""
    task = task_of(rung)
    words = ["fourhands", "train", "--rung", rung, "--framework", str(config.get("framework"))]
    words += ["--data", str(config.get("data")), "--out", str(out)]
    if config.get("device", "cpu") != "cpu":
        words += ["--device", str(config["device"])]
    if config.get("start_from"):
        words += ["--start-from", str(config["start_from"])]
    decided = {"rung", *RUNGS[rung].decided_by_data}
    for group, key, defaults in (
        ("spec", "spec", asdict(new_spec(rung))),
        ("train", "train", asdict(task.default_train)),
        ("data", "data_config", asdict(DataConfig())),
    ):
        for name, given in (config.get(key) or {}).items():
            default, value = (list(each) if isinstance(each, tuple) else each for each in (defaults.get(name), given))
            if value != default and not (key == "spec" and name in decided):
                words += _flag(f"--{group}.{name.replace('_', '-')}", value)
    return shlex.join(words)


def _flag(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):  # a flag that is on by default is turned off by its opposite
        group, _, name = flag.rpartition(".")
        return [flag] if value else [f"{group}.no-{name}"]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [flag, str(value)]
