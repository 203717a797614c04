"""Importing the house pulls in no framework, and is fast."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = ["torch", "tensorflow", "keras", "jax", "flax", "optax", "wandb", "tensorboard", "matplotlib", "cupy"]
# processor time, which other processes do not lengthen, from after Python itself has started
PROGRAM = f"""
import json, sys, time
start = time.process_time()
import common, impl_numpy, common.cli
seconds = time.process_time() - start
print(json.dumps([seconds, [name for name in {SLOW} if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def imports() -> list[tuple[float, list[str]]]:
    """Seconds, and which slow packages came along, in three fresh processes."""
    return [
        json.loads(subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout)
        for _ in range(3)
    ]


def test_import_takes_at_most_half_a_second(imports: list[tuple[float, list[str]]]) -> None:
    assert min(seconds for seconds, _ in imports) <= 0.5


def test_import_pulls_in_no_framework_and_nothing_slow(imports: list[tuple[float, list[str]]]) -> None:
    assert imports[0][1] == []


def test_help_pulls_in_no_framework_and_nothing_slow() -> None:
    program = "from common.cli import main; import sys; main(['train', '--help']); "
    program += f"print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
