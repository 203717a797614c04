"""The suite's options do what the documentation says: what is required and missing fails instead of skipping."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from common.spec import RUNGS

SUITE = Path(__file__).parent
ONE_TEST = [str(SUITE / "test_gpu.py"), "-k", "mlp and numpy and float64 and logits"]


def run_suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    # no GPU is to be seen, whatever this machine has
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, env=hidden, capture_output=True, text=True, check=False, timeout=120, cwd=SUITE.parent
    )


def test_a_missing_accelerator_skips_by_name(tmp_path: Path) -> None:
    done = run_suite(*ONE_TEST, "--report", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stdout
    assert "SKIPPED" in done.stdout
    assert "needs CuPy" in done.stdout or "finds no GPU" in done.stdout
    checks = json.loads((tmp_path / "report.json").read_text())["checks"]
    assert [check["outcome"] for check in checks] == ["skipped"], "a skip never counts as passed"


def test_a_required_accelerator_that_is_missing_fails() -> None:
    done = run_suite(*ONE_TEST, "--require", "gpu")
    assert done.returncode == 1, done.stdout


def test_a_rung_of_an_implementation_stays_in_one_process() -> None:
    # where what it compiled and trained is shared
    done = run_suite(str(SUITE / "test_parity.py"), "-k", "numpy and same_weights", "-v", "--numprocesses", "2")
    ran = re.findall(r"\[(gw\d+)\].*\[(\w+)-numpy-float\d+\]", done.stdout)
    assert len(ran) == 2 * len(RUNGS), done.stdout
    assert len(set(ran)) == len(RUNGS), "both dtypes of a rung in the same process"


def test_an_unknown_name_to_require_is_refused() -> None:
    done = run_suite(*ONE_TEST, "--require", "jaxx")
    assert done.returncode == 4
    assert "--require jaxx: known are" in done.stderr
