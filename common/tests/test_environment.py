"""What a run keeps about its code, its data and its machine, and its figures on training examples."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.data.characters import CharacterSplit
from common.data.dataset import Dataset
from common.data.fingerprint import fingerprint
from common.data.idx import write_idx
from common.data.lines import LineSplit
from common.evaluation.characters import evaluate_characters
from common.recognizer import load_implementation
from common.sampling import evenly
from common.tasks import CHARACTERS, LINES, PAGES
from common.tests.conftest import TINY, Command
from common.tests.test_line_evaluation import LETTERS, DecodingOracle, Oracle, lines
from common.training import environment
from common.training.environment import code_version
from common.training.keeper import sample_size
from common.weights import load_weights

RNG = np.random.default_rng(0)
EXAMPLES = [(RNG.integers(0, 256, (4, n), np.uint8), text) for n, text in ((3, "a"), (5, "b"), (3, "c"))]


# --- the hash of the data
def test_hash_of_the_data_ignores_the_order() -> None:
    assert fingerprint(EXAMPLES) == fingerprint(EXAMPLES[::-1]) == fingerprint(iter(EXAMPLES[1:] + EXAMPLES[:1]))
    assert len(fingerprint(EXAMPLES)) == 32


def changed(what: str) -> list[tuple[np.ndarray, str]]:
    """The examples with one change."""
    (image, text), *rest = EXAMPLES
    if what == "a pixel":
        return [(image ^ np.eye(4, 3, dtype=np.uint8), text), *rest]
    if what == "the truth":
        return [(image, text + " "), *rest]
    if what == "the shape":
        return [(image.reshape(3, 4), text), *rest]
    if what == "two truths exchanged":
        return [(image, rest[0][1]), (rest[0][0], text), *rest[1:]]
    return [*EXAMPLES, EXAMPLES[0]] if what == "an example twice" else rest


@pytest.mark.parametrize(
    "what", ["a pixel", "the truth", "the shape", "two truths exchanged", "an example twice", "an example less"]
)
def test_hash_of_the_data_changes_with(what: str) -> None:
    assert fingerprint(changed(what)) != fingerprint(EXAMPLES)


def test_hash_of_characters_depends_on_the_characters_and_not_on_the_numbers_of_their_classes() -> None:
    images_NHW = np.stack([image for image, _ in EXAMPLES[::2]])

    def hash_of(characters: tuple[str, ...], labels: list[int]) -> str:
        split = CharacterSplit(images_NHW=images_NHW, labels_N=np.array(labels))
        data: Any = Dataset(name="x", charset=Charset(characters), train=split, validation=split, test=split)
        return fingerprint(CHARACTERS.contents(data, split))

    assert hash_of(("a", "b"), [0, 1]) == hash_of(("b", "a"), [1, 0]) != hash_of(("a", "b"), [1, 0])


def test_run_with_other_data_is_not_resumed(
    tiny: list[str], digits: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.training.keeper import Keeper

    folder = tmp_path / "digits"
    folder.mkdir()
    for path in Path(digits.partition(":")[2]).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    flags = ["train", *TINY, "--data", f"mnist:{folder}", "--out", tmp_path / "run"]

    def stop(self: Keeper, *_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "step_done", stop)
        assert command(*flags).code == 130
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    labels_N = np.random.default_rng(0).integers(0, 10, 300).astype(np.uint8)  # as the fixture draws them
    labels_N[0] = (labels_N[0] + 1) % 10
    before = (folder / "train-labels-idx1-ubyte").read_bytes()
    write_idx(folder / "train-labels-idx1-ubyte", labels_N)
    command(*flags, "--resume").refuses("the data of the run", "has changed")
    (folder / "train-labels-idx1-ubyte").write_bytes(before)
    assert command(*flags, "--resume").code == 0
    kept = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert [each["data"]["hash"] for each in kept["resumed"]] == [kept["data"]["hash"]]


# --- the code
def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit_and_uncommitted_changes_of_a_checkout_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "model.py").write_text("width = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of git
    code, diff = code_version.__wrapped__(tmp_path)
    monkeypatch.delenv("GIT_DIR")
    assert (code.commit, code.uncommitted, diff) == (git(tmp_path, "rev-parse", "HEAD"), False, b"")
    (tmp_path / "model.py").write_text("width = 2\n")
    (tmp_path / "new.py").write_text("depth = 3\n")
    code, diff = code_version.__wrapped__(tmp_path)
    assert code.uncommitted
    assert {b"-width = 1", b"+width = 2", b"+depth = 3"} <= set(diff.splitlines())
    monkeypatch.setattr(environment, "DIFF_BYTES", 100)
    code, diff = code_version.__wrapped__(tmp_path)
    assert len(diff) == 100
    assert "has the first 100 of" in code.code_note


@pytest.mark.parametrize("inside", [False, True], ids=["in no repository", "in another repository"])
def test_installed_code_has_no_commit_and_says_so(inside: bool, tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    if inside:
        git(tmp_path, "init", "--quiet")
    code, diff = code_version.__wrapped__(folder)
    assert (code.commit, diff) == (None, b"")
    assert "see the version" in code.code_note


# --- figures on training examples
@pytest.mark.parametrize(
    ("task", "examples", "expected"),
    [
        (CHARACTERS, 2_000, 128),
        (CHARACTERS, 60_000, 256),
        (LINES, 500, 32),
        (LINES, 8_000, 64),
        (LINES, 10**6, 256),
        (PAGES, 30, 1),
        (PAGES, 200, 2),
    ],
)
def test_sample_is_a_hundredth_in_whole_batches(task: Any, examples: int, expected: int) -> None:
    assert sample_size(task, examples) == expected


def test_training_figures_are_those_of_the_sample(finished: Path, digits: str) -> None:
    """The weights that are kept are those of the best epoch, so its row has their figures."""
    result = json.loads((finished / "result.json").read_text())
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row.get("epoch") == result["best_epoch"]]
    content = load_weights(finished / "weights.safetensors")
    recognizer = load_implementation("numpy")(content.spec)
    recognizer.load_weights(content.weights)
    from common.data.config import DataConfig

    data = CHARACTERS.load(digits, content.spec, DataConfig())
    sample = data.train.take(np.array(evenly(270, 128)))
    seen = evaluate_characters(recognizer, content.charset, sample, data.charset)
    assert row["train/accuracy"] == seen.accuracy
    assert row["train/sample_loss"] == pytest.approx(seen.loss, rel=1e-6)


@pytest.mark.parametrize("oracle", [Oracle, DecodingOracle])
def test_sample_of_lines_has_no_shape_that_validation_has_not(oracle: type[Oracle]) -> None:
    """A framework that compiles for each shape then compiles nothing for the sample."""

    def split(count: int, longest: int, seed: int) -> LineSplit:
        widths = np.random.default_rng(seed).integers(1, longest, count)
        return lines(["a" * int(n) for n in widths], ["a"] * count)

    data: Any = Dataset(
        name="x", charset=LETTERS, train=split(400, 250, 0), validation=split(70, 100, 1), test=split(3, 9, 2)
    )
    recognizer: Any = oracle()
    LINES.evaluate(recognizer, LETTERS, data.validation, LETTERS)
    known = set(recognizer.shapes)
    recognizer.shapes.clear()
    sample = LINES.sample(data, 64)
    seen = LINES.evaluate_sample(recognizer, LETTERS, sample, data)
    assert len(sample) == 64
    assert set(recognizer.shapes) <= known
    assert seen.texts == (["a"] * 64 if oracle is Oracle else ["a" * int(n) for n in sample.widths_N])
