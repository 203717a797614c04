"""A fifth implementation in its own package: the command line and the suite find it without any change here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.recognizer import GROUP

# the whole border; a real implementation would use its own framework instead of NumPy's functions
RECOGNIZER = """
from impl_numpy.recognizer import NumpyRecognizer

class ToyRecognizer(NumpyRecognizer):
    packages = ("numpy",)
    precisions = ("float32",)

def build(spec, *, seed=0, device="cpu", dtype="float32"):
    return ToyRecognizer(spec, seed=seed, device=device, dtype=dtype)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which the toy package is installed."""
    package, metadata = tmp_path / "site" / "impl_toy", tmp_path / "site" / "impl_toy-0.1.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text(RECOGNIZER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: impl-toy\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\ntoy = impl_toy:build\n")
    return os.environ | {"PYTHONPATH": str(tmp_path / "site")}


def start(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], env=environment, capture_output=True, text=True, check=False)


def test_command_line_trains_and_verifies_with_it(environment: dict[str, str], tiny: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained = start(environment, "-m", "common.cli", *tiny, "--framework", "toy", "--out", str(out))
    assert trained.returncode == 0, trained.stderr
    assert json.loads((out / "result.json").read_text())["framework"] == "toy"
    verified = start(environment, "-m", "common.cli", "verify", str(out), "--framework", "toy", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)[0]["same"]


def test_suite_runs_its_parity_checks_on_it(environment: dict[str, str], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    suite = ["-m", "pytest", "--pyargs", "conformance", "-m", "parity", "-k", "toy and mlp", "-p", "no:cacheprovider"]
    done = start(environment, *suite, "--report", str(report))
    assert done.returncode == 0, done.stdout
    checks = json.loads(report.read_text())["checks"]
    assert {check["implementation"] for check in checks} == {"toy"}
    assert {check["outcome"] for check in checks} == {"passed"}
    assert len(checks) >= 5
