"""Traps outside the frameworks (files, tests, float32), and a batch for the CTC losses."""

# B batch, T frames, L label length, K classes

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load, save

from common.spec import positions

Array = np.ndarray


# --- transposed views
def numbers_misplaced() -> float:
    """The share of the numbers of a transposed view that are in another place after save and load."""
    view = np.arange(6.0).reshape(2, 3).T
    read = load(save({"kernel": view}))["kernel"]
    assert read.shape == view.shape
    return float((read != view).mean())


# --- metadata
def files_of_one_model(saves: int) -> int:
    """The number of different files from `saves` saves of the same content."""
    metadata = {"format": "1", "spec": "{}", "charset": "abc", "provenance": ""}
    return len({save({"kernel": np.ones(3)}, metadata) for _ in range(saves)})


# --- tests chosen by a word
TESTS = """
import pytest

@pytest.mark.parametrize("framework", ["numpy", "jax"])
def test_model(framework):
    pass

def test_jaxtyping():
    pass
"""


def tests_chosen(word: str) -> list[str]:
    """The names of the tests above that `pytest -k WORD` selects."""
    _, said = _pytest(TESTS, "--collect-only", "-q", "-k", word)
    return [line.partition("::")[2] for line in said.splitlines() if "::" in line]


def _pytest(tests: str, *options: str) -> tuple[int, str]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "test_these.py")
        path.write_text(tests)
        command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout


# --- nothing but skips
SKIPPED = """
import pytest

def test_on_the_gpu():
    pytest.skip("no GPU")
"""


def exit_status_of_a_skip() -> int:
    """The exit status of pytest when all tests were skipped. Zero means success."""
    return _pytest(SKIPPED, "-q")[0]


# --- positions in float32
def error_of_float32_positions() -> float:
    """The largest error of sinusoidal positions whose angles are computed in float32."""
    length, width = 4096, 128
    place, column = np.arange(length, dtype=np.float32), np.arange(0, width, 2, dtype=np.float32)
    angles = place[:, None] * np.exp(column * np.float32(-np.log(10_000) / width))
    return float(np.abs(np.sin(angles) - positions(length, width)[:, 0::2]).max())


# --- a rate
def rounding_of_a_rate(rate: float) -> float:
    """The relative change of a learning rate that is stored in float32."""
    return abs(float(np.float32(rate)) / rate - 1)


# --- a sample in step
def classes_seen(classes: int, stride: int) -> int:
    """The number of classes in every `stride`-th example, if the classes repeat in order."""
    labels = np.arange(50 * classes) % classes
    return len(np.unique(labels[::stride]))


# --- a batch for CTC
def ctc_batch() -> tuple[Array, Array, Array, Array]:
    """Logits (B, T, K), frames (B,), labels (B, L), label lengths (B,) of four unequal lines."""
    rng = np.random.default_rng(0)
    logits_BTK = rng.normal(size=(4, 40, 12))
    frames_B = np.array([40, 31, 22, 12], np.int32)
    label_lengths_B = np.array([12, 7, 3, 1], np.int32)
    labels_BL = rng.integers(1, 12, size=(4, 12)).astype(np.int32)
    labels_BL *= np.arange(12) < label_lengths_B[:, None]
    return logits_BTK, frames_B, labels_BL, label_lengths_B
