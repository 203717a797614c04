"""The modules go through torch.export and torch.compile, and a training step never waits for a GPU.

Each measurement runs in a process of its own, so that PyTorch shares none with another framework.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.spec import RUNGS

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="framework 'pytorch' is not installed"),
    # one process under pytest-xdist: the first to compile compiles PyTorch's headers for all
    pytest.mark.xdist_group("impl_pytorch"),
]
CXX = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
CASES = {f"{batch} of width {width}" for batch in (3, 5) for width in (23, 40)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for what torch.compile compiles."""
    return tmp_path_factory.mktemp("inductor")


def measured(function: str, rung: str = "", cache: Path | None = None) -> Any:
    environment = dict(os.environ)
    if cache is not None:  # one thread: a pool of compiling processes takes longer to start than to compile
        environment |= {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    command = [sys.executable, Path(__file__).with_name("measures.py"), function, rung]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("rung", RUNGS)
def test_exported_model_returns_the_eager_logits(rung: str) -> None:
    differences = measured("exported", rung)
    assert differences.keys() == CASES
    assert max(differences.values()) < 1e-6, differences


def test_export_of_an_lstm_fixes_the_width() -> None:
    """PyTorch runs an LSTM frame by frame while it traces it. Once this test fails, export any width for all rungs."""
    assert "Guard failed" in measured("refused", "lstm_ctc")
    assert measured("refused", "transformer") == ""


@pytest.mark.skipif(shutil.which(CXX) is None, reason=f"torch.compile needs a C++ compiler; {CXX} was not found")
@pytest.mark.parametrize("rung", RUNGS)
def test_compiled_model_returns_the_eager_logits(rung: str, cache: Path) -> None:
    differences = measured("compiled", rung, cache)
    assert differences.keys() == CASES
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize("rung", RUNGS)
def test_training_step_never_waits_for_a_gpu(rung: str) -> None:
    assert measured("waits", rung) == []


def test_derivative_of_the_masked_batch_norm_matches_finite_differences() -> None:
    assert measured("gradcheck") is True


def test_batch_norm_of_a_few_pixels_at_a_time_is_that_of_all() -> None:
    assert measured("in_slices") < 1e-5


@pytest.mark.parametrize("rung", ["cnn", "lstm_ctc", "transformer", "unet"])
def test_training_in_bfloat16_keeps_weights_and_loss_in_float32(rung: str) -> None:
    found = measured("lower_precision", rung)
    assert found["dtypes"] == ["torch.float32"]
    # 0 would be float32 again. Few pixels: batch norm magnifies the rounding; measured 0.007 to 0.21
    assert 1e-5 < found["difference"] < 0.5


def test_positions_grow_while_reading_and_serve_training() -> None:
    grown = measured("grown_positions")
    assert grown["difference"] < 1e-7
    assert grown["gradient"] < 1e-7
    assert grown["saved"] == []
