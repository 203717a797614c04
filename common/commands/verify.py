"""The command `fourhands verify`."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from common.commands.model import open_model, open_weights
from common.data.dataset import to_float
from common.recognizer import Device, Recognizer, implementations
from common.weights import WeightsFile

# Largest difference of a logit, relative to the largest golden logit (to 1 where that is smaller). Measured on a
# trained cnn: 3e-7 between the four frameworks, 4e-7 between batches of 8 and of 1. Dividing pixels by 256 instead of
# 255 gives 4e-3; moving one weight by 1% of its tensor's largest gives up to 9e-4, or nothing where no golden image
# has ink.
TOLERANCE = 3e-6
USER_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Verify:
    """See whether weights still give the logits they gave when they were saved, in every installed framework."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder or a weights file."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """One framework; every one that is installed unless given."""
    device: Device = "cpu"
    """Where to compute."""
    json: bool = False
    """Print the result as JSON."""

    def __call__(self) -> int:
        """Print a row per framework; exit code 1 if any differs."""
        content = open_weights(self.run)
        if self.framework is not None:
            recognizer = open_model(content, self.framework, self.device)
            rows = [{"framework": self.framework, **_compare(recognizer, content)}]
        else:
            with ThreadPoolExecutor() as pool:  # the threads only wait
                rows = list(pool.map(self._in_own_process, implementations()))
        if self.json:
            print(json.dumps(rows))
        else:
            _print_table(rows)
        return 1 if any(row["same"] is False for row in rows) else 0

    def _in_own_process(self, framework: str) -> dict[str, Any]:
        # two frameworks in one process disturb each other; -P: a folder `common` where the user stands is not ours
        command = [sys.executable, "-P", "-m", "common.cli", "verify", str(self.run)]
        command += ["--framework", framework, "--device", self.device, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # our own command
        if done.returncode == USER_ERROR:
            reason = done.stderr.strip().splitlines()[-1].removeprefix("fourhands: error: ")
            return {"framework": framework, "worst": None, "relative": None, "same": None, "reason": reason}
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(f"verify in {framework} ended with {done.returncode}:\n{done.stderr}")
        row: dict[str, Any] = json.loads(done.stdout)[0]
        return row


def _compare(recognizer: Recognizer, content: WeightsFile) -> dict[str, Any]:
    golden = content.golden
    of_lines = [] if golden.widths_G is None else [golden.widths_G, golden.labels_GN]
    logits = recognizer.logits(to_float(golden.images_GHW), *of_lines).astype(np.float64)
    worst = float(np.abs(logits - golden.logits).max())
    relative = worst / max(1.0, float(np.abs(golden.logits).max()))
    return {"worst": worst, "relative": relative, "same": relative <= TOLERANCE}


def _print_table(rows: list[dict[str, Any]]) -> None:
    words = {True: "the same model", False: "DIFFERS"}
    for row in rows:
        if row["same"] is None:
            print(f"{row['framework']:<10} not verified: {row['reason']}")
        else:
            print(f"{row['framework']:<10} {words[row['same']]:<15} logits within {row['worst']:.1e}")
