"""Whether weights still give the logits of their golden example, in every framework."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.reading.shipped import FINDER, READER, check_shipped
from common.recognizer import Device, Recognizer, implementations
from common.training.trained import open_recognizer, open_weights
from common.weights import WeightsFile

# Largest difference of a logit, relative to the largest golden logit (to 1 where that is smaller). Measured on a
# trained cnn: 3e-7 between the four frameworks, 4e-7 between batches of 8 and of 1. Dividing pixels by 256 instead of
# 255 gives 4e-3; moving one weight by 1% of its tensor's largest gives up to 9e-4, or nothing where no golden image
# has ink.
TOLERANCE = 3e-6
USER_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of verifying weights in one framework."""

    framework: str
    model: str | None = None
    """finder or reader, of the reader that ships; None for a run."""
    worst: float | None = None
    """Largest absolute difference of a logit; None if the framework could not be tried."""
    relative: float | None = None
    """The same, relative to the largest golden logit, or to 1 if that is smaller."""
    same: bool | None = None
    """Whether it is the same model; None if the framework could not be tried."""
    reason: str | None = None
    """Why the framework could not be tried."""


def verify(run: Path, framework: str | None, device: Device) -> list[Verification]:
    """Verify a run folder or a weights file in one framework, or in every installed one; see `fourhands.verify`."""
    content = open_weights(run)
    if framework is not None:
        recognizer, name, _ = open_recognizer(content, framework, device)
        return [compare(name, recognizer, content)]
    with ThreadPoolExecutor() as pool:  # the threads only wait
        return list(pool.map(lambda name: _in_own_process(run, name, device), implementations()))


def verify_shipped(framework: str | None, device: Device) -> list[Verification]:
    """Verify the models of the reader that ships; see `fourhands.verify`."""
    return [
        replace(result, model=path.stem)
        for path in (FINDER, READER)
        for result in verify(check_shipped(path), framework, device)
    ]


def _in_own_process(run: Path, framework: str, device: Device) -> Verification:
    # two frameworks in one process disturb each other; -P: a folder `common` in the working directory is not ours
    command = [sys.executable, "-P", "-m", "common.training.verification", str(run), framework, device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # our own command
    if done.returncode == USER_ERROR:
        return Verification(framework=framework, reason=done.stderr.strip().splitlines()[-1])
    if done.returncode or not done.stdout:
        raise RuntimeError(f"verifying in {framework} ended with {done.returncode}:\n{done.stderr}")
    return Verification(**json.loads(done.stdout.splitlines()[-1]))


def compare(framework: str, recognizer: Recognizer, content: WeightsFile) -> Verification:
    """Whether a recognizer gives the logits of the golden example of its weights."""
    golden = content.golden
    logits = recognizer.logits(*golden.inputs).astype(np.float64)
    worst = float(np.abs(logits - golden.logits).max())
    relative = worst / max(1.0, float(np.abs(golden.logits).max()))
    return Verification(framework=framework, worst=worst, relative=relative, same=relative <= TOLERANCE)


def main() -> int:
    """Verify in one framework and print JSON; arguments are the run, the framework and the device."""
    run, framework, device = sys.argv[1:]
    try:
        (verification,) = verify(Path(run), framework, "gpu" if device == "gpu" else "cpu")
    except UserError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return USER_ERROR
    sys.stdout.write(json.dumps(asdict(verification)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
