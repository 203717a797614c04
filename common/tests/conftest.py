"""A tiny data set on disk, the command line in this process, and a finished run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from common.cli import main
from common.data.idx import write_idx

TINY = ["--rung", "mlp", "--spec.hidden-dims", "16", "--train.batch-size", "32", "--train.epochs", "2"]


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def refuses(self, *words: str) -> None:
        """Check that this is a user error: exit code 2 and one sentence that contains the words."""
        assert self.code == 2, self
        assert self.err.startswith("fourhands: error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.out == "", self.out
        for word in words:
            assert word in self.err, f"{word!r} is not in {self.err!r}"


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `fourhands` with arguments, in this process."""

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`--data` for 300 + 60 noisy images; a bright row of each image shows its digit."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("t10k", 60)):
        labels_N = rng.integers(0, 10, count).astype(np.uint8)
        images_NHW = rng.integers(0, 120, (count, 28, 28)).astype(np.uint8)
        images_NHW[np.arange(count), 2 * labels_N + 3] = 255
        write_idx(folder / f"{part}-images-idx3-ubyte", images_NHW)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels_N)
    return f"mnist:{folder}"


@pytest.fixture(scope="session")
def finished(digits: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that `fourhands train` completed; tests do not write to it."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", *TINY, "--data", digits, "--out", str(out)]) == 0
    return out


@pytest.fixture
def tiny(digits: str) -> list[str]:
    """Arguments of a short training run, without --out."""
    return ["train", *TINY, "--data", digits]
