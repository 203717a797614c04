"""Tests of the page on timing: it measures what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch", reason='the lectures need PyTorch: pip install "fourhands[lectures]"')
pytest.importorskip("jax", reason='the lectures need JAX: pip install "fourhands[lectures]"')

import jax
import numpy as np
import timing
import timing_gpu

from common.errors import UserError


def test_seconds_are_those_of_the_fastest_call_without_the_first() -> None:
    waits = iter([0.0, 0.3, 0.02, 0.3])
    taken = timing.seconds(lambda: time.sleep(next(waits)), repeats=3)
    assert 0.02 <= taken < 0.3


def test_speed_of_a_product_is_in_operations_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "seconds", lambda run: len(run()))  # as if each product took a second
    assert timing.operations_per_second(8) == 2 * 8**3


def test_compiled_step_returns_the_same() -> None:
    given = timing.arguments(batch=4, inputs=6, hidden=5, classes=3)
    for plain, compiled in zip(timing.step(*given), jax.jit(timing.step)(*given), strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-5, atol=1e-6)
    assert timing.loss_of(timing.step(*given), *given[1:]) < timing.loss_of(*given)


@pytest.mark.parametrize("loader", [timing.in_turn, timing.ahead])
def test_loader_returns_every_batch_in_order(loader: object) -> None:
    numbers = iter(range(100))
    assert list(loader(lambda: next(numbers), 5)) == [0, 1, 2, 3, 4]
    assert next(numbers) == 5  # it loads no more than it returns


def test_loader_in_turn_never_loads_while_a_step_runs() -> None:
    spans = sorted(timing.timeline(timing.in_turn, batches=3), key=lambda span: span.start)
    assert [span.what for span in spans] == ["load", "step"] * 3
    assert all(one.end <= other.start for one, other in pairwise(spans))


def test_loader_ahead_loads_while_a_step_runs() -> None:
    spans = timing.timeline(timing.ahead, batches=3)
    loads, steps = ([span for span in spans if span.what == what] for what in ("load", "step"))
    assert len(loads) == len(steps) == 3
    assert loads[1].start < steps[0].end
    assert all(load.end <= step.start for load, step in zip(loads, steps, strict=True))  # after its load


def test_mean_of_a_few_calls_includes_compiling() -> None:
    counted, after = timing.with_compilation(calls=3)
    assert counted > 3 * after


def test_compiled_function_returns_before_its_result_is_computed() -> None:
    returned, done = timing.without_waiting()
    assert returned < done / 2


def test_single_precision_is_faster() -> None:
    taken = timing.two_precisions()
    assert taken["NumPy, float32"] < taken["NumPy"]


def test_step_takes_longer_for_a_larger_batch() -> None:
    assert 0 < timing_gpu.step_seconds("numpy", "cpu", 2) < timing_gpu.step_seconds("numpy", "cpu", 32)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which all but NumPy find a GPU. It takes 0.1 ms per example, the CPU 1 ms."""

    def step_seconds(framework: str, device: str, batch_size: int) -> float:
        if (framework, device) == ("numpy", "gpu"):
            raise UserError("no CuPy")
        return batch_size / {"cpu": 1000, "gpu": 10_000}[device]

    monkeypatch.setattr(timing_gpu, "step_seconds", step_seconds)
    monkeypatch.setattr(timing_gpu, "measure_apart", timing_gpu.measure)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Accelerator 9")


@pytest.mark.usefixtures("with_gpu")
def test_frameworks_that_find_the_gpu_are_measured_on_both_devices(tmp_path: Path) -> None:
    found, origin = timing_gpu.measured_or_recorded(tmp_path / "none.json")
    assert list(found["milliseconds"]) == ["pytorch", "jax"]
    assert found["milliseconds"]["jax"]["cpu"] == pytest.approx([8, 64, 512])
    assert found["milliseconds"]["jax"]["gpu"] == pytest.approx([0.8, 6.4, 51.2])
    assert {"torch", "jax"} < found["versions"].keys()
    assert origin.startswith("Measured by the run")
    assert "Accelerator 9" in origin


@pytest.mark.usefixtures("with_gpu")
def test_without_a_gpu_the_record_is_shown_with_its_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "gpu.json"
    record.write_text(json.dumps(timing_gpu.measure() | {"date": "2031-05-04"}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found, origin = timing_gpu.measured_or_recorded(record)
    assert found["milliseconds"]["pytorch"]["gpu"] == pytest.approx([0.8, 6.4, 51.2])
    assert "Not from the run that built this page" in origin
    assert "recorded on 2031-05-04, on one Accelerator 9" in origin


def test_program_without_a_gpu_says_so_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    command = [sys.executable, timing_gpu.__file__, str(file)]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=hidden, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "PyTorch finds no GPU, so there is nothing to measure\n"
    assert not file.exists()


def test_measuring_apart_returns_what_the_program_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, sys\njson.dump({'threads': os.environ.get('OPENBLAS_NUM_THREADS')}, open(sys.argv[1], 'w'))\n"
    )
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as the page sets it
    monkeypatch.setattr(timing_gpu, "__file__", str(program))
    assert timing_gpu.measure_apart() == {"threads": None}


def test_without_a_gpu_and_a_record_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found, origin = timing_gpu.measured_or_recorded(tmp_path / "none.json")
    assert found is None
    assert "no record of one" in origin


TRAINING = Path(timing.__file__).parents[1] / "training.md"
NO_GPU = "No GPU has run this project yet: `docs/results` holds no record of one."


def _prose(path: Path) -> str:
    """The page in one line, without its code cells and its head."""
    text = re.sub(r"^(`{3,})\{code-cell\}.*?^\1$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


@pytest.mark.parametrize("path", [*Path(timing.__file__).parent.glob("*.md"), TRAINING], ids=lambda path: path.stem)
def test_page_that_speaks_of_gpus_says_that_none_has_run_this_until_one_is_recorded(path: Path) -> None:
    text = _prose(path)
    speaks = "GPU" in text.replace(NO_GPU, "")
    assert (NO_GPU in text) == (speaks and not timing_gpu.RECORD.exists())
