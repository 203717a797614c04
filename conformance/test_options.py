"""The options do what the documentation says: what is required and missing fails, and what is left out is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.spec import RUNGS
from conformance.plugin import tier
from conformance.progress import line_of, time_left

SUITE = Path(__file__).parent
ONE_TEST = [str(SUITE / "test_gpu.py"), "-k", "mlp and numpy and float64 and logits"]
IN_BOTH_DTYPES = [str(SUITE / "test_parity.py"), "-k", "mlp and numpy and same_weights"]

WITHOUT_TORCH = """
import pytest

def test_with_torch():
    pytest.skip("could not import 'torch': No module named 'torch'")

def test_of_lectures():
    pytest.skip('the lectures need PyTorch: pip install "fourhands[lectures]"')

def test_on_a_gpu():
    pytest.skip("PyTorch finds no GPU")
"""


def start(*arguments: str, folder: Path = SUITE.parent) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own."""
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    # hide the GPU that this machine may have
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, env=hidden, capture_output=True, text=True, check=False, timeout=300, cwd=folder)


def test_a_missing_accelerator_skips_by_name(tmp_path: Path) -> None:
    done = start(*ONE_TEST, "--report", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stdout
    assert "SKIPPED" in done.stdout
    assert "needs CuPy" in done.stdout or "finds no GPU" in done.stdout
    checks = json.loads((tmp_path / "report.json").read_text())["checks"]
    assert [check["outcome"] for check in checks] == ["skipped"], "a skip never counts as passed"


def test_a_required_accelerator_that_is_missing_fails() -> None:
    done = start(*ONE_TEST, "--require", "gpu")
    assert done.returncode == 1, done.stdout


def test_a_required_framework_that_is_missing_fails(tmp_path: Path) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(WITHOUT_TORCH)
    plain = start(str(path), "-p", "conformance.plugin", folder=tmp_path)
    assert (plain.returncode, "3 skipped" in plain.stdout) == (0, True), plain.stdout
    for names, code in (("jax,browser,data", 0), ("pytorch", 1)):
        done = start(str(path), "-p", "conformance.plugin", "--require", names, folder=tmp_path)
        assert done.returncode == code, done.stdout
    assert "2 failed, 1 skipped" in done.stdout, "a missing GPU is not a missing framework"
    assert "No module named 'torch' (and --require pytorch was given)" in done.stdout


def test_an_unknown_name_to_require_is_refused() -> None:
    done = start(*ONE_TEST, "--require", "jaxx")
    assert done.returncode == 4
    assert "--require jaxx: known are" in done.stderr


def test_a_rung_of_an_implementation_runs_in_one_process() -> None:
    # so that its checks share what was compiled and trained
    done = start(str(SUITE / "test_parity.py"), "-k", "numpy and same_weights", "-v", "--numprocesses", "2")
    ran = re.findall(r"\[(gw\d+)\].*\[(\w+)-numpy-float\d+\]", done.stdout)
    assert len(ran) == 2 * len(RUNGS), done.stdout
    assert len(set(ran)) == len(RUNGS), "both dtypes of a rung in the same process"


# --- tiers
def test_what_the_quick_tier_leaves_out_is_counted_and_named() -> None:
    # in two processes, each of which collects all tests, and in one
    faults = {"seed ignored", "kernel transposed", "image transposed", "bias doubled"}
    words = f"mlp and numpy and ({' or '.join(['same_weights', *faults]).replace(' ', '_').replace('_or_', ' or ')})"
    done = start(str(SUITE), "-k", words, "--tier", "quick", "--numprocesses", "2")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "1 checks in float32, each of which ran in float64" in said
    ((count, names),) = re.findall(r"(\d) faults planted in more than one implementation; .*?: ([a-z ,]+) Run", said)
    assert len(names.split(", ")) == int(count)
    assert set(names.split(", ")) < faults
    assert f"planted faults caught in numpy: {4 - int(count)} of {4 - int(count)}" in said
    assert "pytest --tier full, or make check" in said
    done = start(*IN_BOTH_DTYPES, "--tier", "quick", "--numprocesses", "0")
    assert "1 checks in float32, each of which ran in float64" in done.stdout
    assert "1 passed" in done.stdout


def test_chosen_tests_all_run() -> None:
    done = start(*IN_BOTH_DTYPES, "--numprocesses", "0")
    assert "2 passed" in done.stdout, done.stdout
    assert "left out of this run" not in done.stdout


@pytest.mark.parametrize(
    ("options", "arguments", "expected"),
    [
        ({}, ["conformance"], "quick"),
        ({"keyword": "jax"}, ["conformance"], "full"),
        ({"markexpr": "parity"}, ["conformance"], "full"),
        ({"lf": True}, ["conformance"], "full"),
        ({}, ["conformance/test_parity.py::test_loss_agrees[mlp-jax-float32]"], "full"),
        ({"keyword": "jax", "tier": "quick"}, [], "quick"),
        ({"tier": "full"}, [], "full"),
    ],
    ids=["nothing", "word", "mark", "last failed", "id", "word and tier", "tier"],
)
def test_tier_follows_from_what_is_chosen(options: dict[str, object], arguments: list[str], expected: str) -> None:
    option = {"keyword": "", "markexpr": "", "lf": False, "tier": None} | options
    config = SimpleNamespace(option=SimpleNamespace(**option), args=arguments)
    config.getoption = lambda name, _=None: option[name.removeprefix("--")]
    assert tier(config) == expected  # type: ignore[arg-type]


def test_a_plain_run_makes_every_check_of_every_rung_in_every_implementation() -> None:
    listed = {
        tier: re.findall(
            r"::(test_\w+)\[(\w+)-(\w+)-(float\d+)\]",
            start(str(SUITE), "--collect-only", "-q", "--numprocesses", "0", "--tier", tier).stdout,
        )
        for tier in ("quick", "full")
    }
    assert len(listed["full"]) > 1.4 * len(listed["quick"]) > 0, "checks of both dtypes are left out"
    without_dtype = {tier: {case[:3] for case in cases} for tier, cases in listed.items()}
    assert without_dtype["quick"] == without_dtype["full"]
    in_float64 = {case[:3] for case in listed["full"] if case[3] == "float64"}
    assert {case[:3] for case in listed["quick"] if case[3] == "float64"} == in_float64


# --- where the suite is installed
def test_from_another_folder_the_suite_runs_without_its_slow_tests(tmp_path: Path) -> None:
    done = start("--pyargs", "conformance", "-k", "numpy and mlp and (same_weights or mnist)", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    with_options = ["-p", "conformance.plugin", "--pyargs", "conformance", "--require", "numpy", "--tier", "quick"]
    done = start(*with_options, "-k", "numpy and mlp and same_weights", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


# --- progress
def test_progress_shows_on_a_terminal_and_not_in_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(
        "import pytest, time\n\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    time.sleep(0.3)\n"
    )
    arguments = [str(path), "-p", "conformance.plugin", "--numprocesses", "2"]
    said = _on_a_terminal(*arguments)
    assert re.search(r"\d of 4 tests, about \d+ s left", said), said
    assert "4 passed" in said
    assert "...." not in said, "no dots beside the line"
    piped = start(*arguments, folder=tmp_path).stdout
    assert "of 4 tests" not in piped
    assert "...." in piped


def test_a_failure_shows_at_once_and_in_the_summary(tmp_path: Path) -> None:
    path = tmp_path / "test_it.py"
    path.write_text("def test_first():\n    assert 1 == 2\n\n\ndef test_second():\n    pass\n")
    said = _on_a_terminal(str(path), "-p", "conformance.plugin", "--numprocesses", "0")
    assert said.index("FAILED") < said.index("short test summary info")
    assert re.search(r"FAILED \S*test_it\.py::test_first - assert 1 == 2", said), said
    assert "1 failed, 1 passed" in said


@pytest.mark.parametrize(
    ("elapsed", "done", "remaining", "shown"),
    [
        (0.0, 0.0, 10.0, "1 of 4 tests, 2 failed"),
        (30.0, 10.0, 20.0, "1 of 4 tests, 2 failed, about 60 s left"),
        (60.0, 10.0, 100.0, "1 of 4 tests, 2 failed, about 10 min left"),
        (1.0, 10.0, 0.1, "1 of 4 tests, 2 failed, about 5 s left"),
    ],
)
def test_time_left_follows_from_the_speed_so_far(elapsed: float, done: float, remaining: float, shown: str) -> None:
    assert line_of(1, 4, 2, time_left(elapsed, done, remaining)) == shown


def _on_a_terminal(*arguments: str) -> str:
    """What pytest writes to a terminal."""
    mine, theirs = os.openpty()
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    environment = os.environ | {
        "TERM": "xterm",
        "COLUMNS": "120",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    said = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=SUITE.parent, env=environment):
        os.close(theirs)
        try:
            while part := os.read(mine, 4096):
                said += part
        except OSError:  # Linux says so at the end
            pass
    os.close(mine)
    return re.sub(r"\x1b\[[\d;]*m", "", said.decode())
