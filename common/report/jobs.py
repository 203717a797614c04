"""The jobs of a comparison, each in a process of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
"""The settings of a report: tier, data, rungs, frameworks, budgets with the data of each rung, code."""


def run_suite(report: Path, mark: str, settings: Settings) -> str:
    """Run a part of the suite in its own process. Returns the reason if it did not finish, else an empty text."""
    part = report.with_suffix(".part")
    chosen = f"({' or '.join(settings['rungs'])}) and ({' or '.join(settings['frameworks'])})"
    # the folder and not the name: pytest reads the options of a package's conftest only if it is given a path
    suite = importlib.util.find_spec("conformance")
    assert suite is not None
    assert suite.origin is not None
    command = [sys.executable, "-m", "pytest", str(Path(suite.origin).parent), "-m", mark, "-k", chosen]
    # on every core, but one rung of one framework in one process, which keeps what it compiled
    command += ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadgroup"]  # each takes a gigabyte
    done = _run([*command, "-q", "-p", "no:cacheprovider", "--report", str(part)], report.with_suffix(".log"))
    # 0: all passed; 1: some failed, which the report tells; 5: nothing is chosen, such as no fault that applies
    if done.returncode in (0, 1, 5) and part.exists():
        part.replace(report)
        return ""
    return _last_line(done)


def run_folder(out: Path, rung: str, framework: str) -> Path:
    """The folder of a run of the report."""
    return out / "runs" / f"{rung}-{framework}"


def run_training(out: Path, settings: Settings, rung: str, framework: str) -> str:
    """Train, or continue an interrupted training. Returns the reason if it did not finish, else an empty text."""
    folder = run_folder(out, rung, framework)
    if (folder / "result.json").exists():
        return ""
    if folder.exists() and not (folder / "config.json").exists():
        shutil.rmtree(folder)  # interrupted before it began
    folder.parent.mkdir(exist_ok=True)
    command = train_command(settings, rung, framework, folder)
    done = _run([sys.executable, "-m", "common.cli", *command, "--resume"], folder.with_suffix(".log"))
    return _last_line(done) if done.returncode else ""


def train_command(settings: Settings, rung: str, framework: str, folder: Path) -> list[str]:
    """The words after `fourhands`."""
    budget = settings["budgets"][rung]
    command = ["train", "--rung", rung, "--framework", framework, "--data", budget["data"], "--out", str(folder)]
    command += ["--data.examples", str(budget["examples"]), "--train.epochs", str(budget["epochs"])]
    command += ["--train.learning-rate", str(budget["learning_rate"])]
    if budget["dropout"] is not None:
        command += ["--spec.dropout", str(budget["dropout"])]
    if budget["max_characters"]:
        command += ["--data.max-characters", str(budget["max_characters"])]
    if budget["start"]:
        command += ["--start-from", str(folder.with_name(folder.name.replace(rung, budget["start"], 1)))]
    return command


def _run(command: Sequence[str], log: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end; the output is kept beside the result."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = lines[-1].removeprefix("fourhands: error: ") if lines else "it said nothing"
    return f"ended by signal {-done.returncode}: {said}" if done.returncode < 0 else said
