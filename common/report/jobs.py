"""The jobs of a comparison. Each runs in its own process."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.report.budgets import SUITE_TIERS

Settings = Mapping[str, Any]
"""The settings of a report: tier, data, rungs, frameworks, budgets with the data of each rung, code."""


def run_suite(report: Path, mark: str, settings: Settings) -> str:
    """Run a part of the suite in its own process.

    Args:
        report: the JSON file to write.
        mark: the part, parity or faults.
        settings: of the comparison; its tier decides on the tier of the suite.

    Returns:
        The reason if the suite did not finish, else an empty text.
    """
    part = report.with_suffix(".part")
    chosen = f"({' or '.join(settings['rungs'])}) and ({' or '.join(settings['frameworks'])})"
    # the folder instead of the package: pytest reads the options in a conftest only if its path is given
    suite = importlib.util.find_spec("conformance")
    assert suite is not None
    assert suite.origin is not None
    command = [sys.executable, "-m", "pytest", str(Path(suite.origin).parent), "-m", mark, "-k", chosen]
    command += ["--tier", SUITE_TIERS[settings["tier"]]]
    # on all cores, with each rung of a framework in one process, which reuses what it compiled
    command += ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadgroup"]  # a process takes a gigabyte
    done = _run([*command, "-q", "-p", "no:cacheprovider", "--report", str(part)], report.with_suffix(".log"))
    # 0: all passed. 1: some failed, and the report says which. 5: no test was chosen, for example because no fault fits
    if done.returncode in (0, 1, 5) and part.exists():
        part.replace(report)
        return ""
    return _last_line(done)


def run_folder(out: Path, rung: str, framework: str) -> Path:
    """The run folder of a rung and a framework in the report folder."""
    return out / "runs" / f"{rung}-{framework}"


def run_training(out: Path, settings: Settings, rung: str, framework: str) -> str:
    """Train, or continue an interrupted training.

    Returns:
        The reason if training did not finish, else an empty text.
    """
    folder = run_folder(out, rung, framework)
    if (folder / "result.json").exists():
        return ""
    if folder.exists() and not (folder / "config.json").exists():
        shutil.rmtree(folder)  # interrupted before training began
    folder.parent.mkdir(exist_ok=True)
    command = train_command(settings, rung, framework, folder)
    done = _run([sys.executable, "-m", "common.cli", *command, "--resume"], folder.with_suffix(".log"))
    return _last_line(done) if done.returncode else ""


def train_command(settings: Settings, rung: str, framework: str, folder: Path) -> list[str]:
    """The arguments of `fourhands` that train a rung in a framework."""
    budget = settings["budgets"][rung]
    command = ["train", "--rung", rung, "--framework", framework, "--data", budget["data"], "--out", str(folder)]
    command += ["--data.examples", str(budget["examples"]), "--train.epochs", str(budget["epochs"])]
    command += ["--train.learning-rate", str(budget["learning_rate"])]
    if budget["dropout"] is not None:
        command += ["--spec.dropout", str(budget["dropout"])]
    if side := budget.get("side"):
        command += ["--spec.side", str(side)]
    if budget["max_characters"]:
        command += ["--data.max-characters", str(budget["max_characters"])]
    if budget["start"]:
        command += ["--start-from", str(folder.with_name(folder.name.replace(rung, budget["start"], 1)))]
    return command


def _run(command: Sequence[str], log: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and write its output to `log`."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = lines[-1].removeprefix("fourhands: error: ") if lines else "no message"
    return f"ended by signal {-done.returncode}: {said}" if done.returncode < 0 else said
