"""A fifth implementation brings its planted faults from a package of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common.recognizer import GROUP
from conformance import faults

RECOGNIZER = """
from impl_numpy.recognizer import NumpyRecognizer

class ToyRecognizer(NumpyRecognizer):
    def logits(self, *inputs):
        return 1.0 * super().logits(*inputs)

def build(spec, *, seed=0, device="cpu", dtype="float32"):
    return ToyRecognizer(spec, seed=seed, device=device, dtype=dtype)
"""
FAULTS = """
from conformance.planting import Edit, Fault

FAULTS = [
    Fault(
        name=name,
        meaning="logits are multiplied by a number",
        check="logits_agree",
        rung="mlp",
        edits={"KEY": Edit("__init__.py", "1.0 *", f"{factor} *")},
    )
    for name, factor in (("logits doubled", 2.0), ("nothing changed", 1.00))
]
"""


def run_faults(folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Plant the faults of a package that is on the path, as an installer would have put it there."""
    package, metadata = folder / "impl_toy", folder / "impl_toy-0.1.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").write_text(RECOGNIZER)
    (package / "faults.py").write_text(FAULTS.replace("KEY", key))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: impl-toy\nVersion: 0.1\n")
    points = f"[{GROUP}]\ntoy = impl_toy:build\n\n[{faults.GROUP}]\ntoy = impl_toy.faults:FAULTS\n"
    (metadata / "entry_points.txt").write_text(points)
    command = [sys.executable, "-m", "pytest", str(Path(__file__).with_name("test_faults.py")), "-k", "toy"]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run(
        [*command, "--numprocesses", "0", "-p", "no:cacheprovider"],
        env=os.environ | {"PYTHONPATH": path},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_its_faults_are_planted_and_one_that_is_not_caught_fails(tmp_path: Path) -> None:
    done = run_faults(tmp_path, "toy")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "planted faults caught in toy: 1 of 2" in done.stdout
    assert "FAILED conformance/test_faults.py::test_fault_is_caught[nothing_changed-mlp-toy]" in done.stdout
    assert "1 failed, 2 passed" in done.stdout, "the untouched copy passes too"


def test_a_fault_in_another_implementation_is_refused(tmp_path: Path) -> None:
    done = run_faults(tmp_path, "numpy")
    assert done.returncode != 0
    assert (
        "fault 'logits doubled', registered in fourhands.faults for 'toy', edits ['numpy']" in done.stdout + done.stderr
    )
