"""A run that is killed in the middle of an epoch and resumed ends with the same bytes as an uninterrupted one.

Whole processes of the command line are started here, because a process is what is killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from common.data.idx import write_idx
from common.recognizer import implementations
from common.spec import RUNGS

STEPS_PER_EPOCH = 10
STEM = ["--spec.stem-channels", "4", "4", "--spec.stem-strides", "2", "2", "--data.max-characters", "3"]
SMALL = {
    "mlp": ["--spec.hidden-dims", "24", "16"],
    "cnn": ["--spec.channels", "4", "4", "--spec.hidden-dim", "16"],
    "lstm_ctc": [*STEM, "--spec.frame-dim", "8", "--spec.hidden-dim", "8"],
    "transformer": [*STEM, "--spec.model-dim", "8", "--spec.num-layers", "1", "--spec.feed-forward-dim", "8"],
    "unet": ["--spec.channels", "4", "4", "--spec.side", "96"],
}
# 600 examples in batches of 64, or 38 pages in batches of 4: one batch is smaller
TRAIN = {rung: ["--data.examples", "600", "--train.batch-size", "64", "--train.epochs", "3"] for rung in RUNGS}
TRAIN["unet"] = ["--data.examples", "38", "--train.batch-size", "4", "--train.epochs", "3"]

# a process that kills itself after a step of the second epoch, with the signal that cannot be caught
KILLED = f"""
import os, signal, sys
from common.cli import main
from common.training.keeper import Keeper

step_done = Keeper.step_done

def then_die(self, progress, *rest):
    step_done(self, progress, *rest)
    if progress.step == {STEPS_PER_EPOCH + 4}:
        os.kill(os.getpid(), signal.SIGKILL)

Keeper.step_done = then_die
main(sys.argv[1:])
"""
# resumes the run that was killed, then trains an uninterrupted one
RESUMED = """
import sys
from common.cli import main

cut, whole, *flags = sys.argv[1:]
sys.exit(main(["train", *flags, "--out", cut, "--resume"]) or main(["train", *flags, "--out", whole]))
"""


def start(program: str, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *argv]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for these tests, so that lines drawn here do not stay in the user's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Noise with random labels, in the file format of MNIST: what is learnt does not matter, and scoring is quick."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for part, count in (("train", 680), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, count, np.uint8))
    return f"mnist:{folder}"


def rows_without_times(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def cases() -> Iterator[object]:
    """Every rung in every implementation. Each run of the suite kills those of `mlp`, and each rung once."""
    for place, rung in enumerate(RUNGS):
        for other, implementation in enumerate(implementations()):
            left_out = [
                pytest.mark.full("killed runs; each rung and each implementation had one", f"{rung}-{implementation}")
            ]
            always = rung == "mlp" or other == place % len(implementations())
            yield pytest.param(rung, implementation, marks=() if always else left_out, id=f"{rung}-{implementation}")


@pytest.mark.parametrize(("rung", "implementation"), list(cases()))
def test_killed_run_resumes_exactly(
    rung: str,
    implementation: str,
    noise: str,
    cache: None,
    tmp_path: Path,
    installed: Callable[[str], None],
    device: str,
) -> None:
    installed(implementation)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    flags = ["--rung", rung, "--framework", implementation, "--device", device]
    flags += ["--data", {"lines": "ink_lines", "pages": "ink_pages"}.get(RUNGS[rung].task, noise)]
    flags += [*SMALL[rung], *TRAIN[rung]]

    killed = start(KILLED, "train", *flags, "--out", str(cut))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sorted(path.name for path in cut.iterdir() if path.name != "uncommitted.diff") == [
        "checkpoint.safetensors",
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "status.json",
        "weights.safetensors",
    ]
    assert len(rows_without_times(cut)) == STEPS_PER_EPOCH + 1 + 4, "killed in the second epoch, nothing lost before"

    resumed = start(RESUMED, str(cut), str(whole), *flags)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("weights.safetensors", "predictions.npz", "config.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), f"{name} differs"
    assert rows_without_times(cut) == rows_without_times(whole)
