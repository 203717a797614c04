"""Run folders are found, chosen, compared and noted, whatever state they are in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cli import _parse
from common.config import TrainConfig
from common.data.config import DataConfig
from common.errors import UserError
from common.experiments.choice import best
from common.experiments.command import train_command
from common.experiments.difference import comparison
from common.experiments.found import find_runs, open_one
from common.experiments.notes import add_note, read_notes
from common.experiments.query import chosen, ordered, parse_condition
from common.spec import RUNGS, new_spec, spec_to_dict
from common.tasks import task_of
from common.tests.conftest import Command
from common.training.status import kept_status

LENGTH = 10  # characters of each test line
LINES = 40


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float | None = 0.3,
    more: int = 0,
    state: str | None = None,
    truths: str = "x",
) -> Path:
    """A run of lines, as training leaves it. Each line has `more` edits more. Without `test`, it has not ended."""
    folder.mkdir(parents=True)
    config = {
        "framework": "numpy",
        "rung": "lstm_ctc",
        "device": "cpu",
        "data": "ink_lines",
        "data_config": asdict(DataConfig(examples=100)),
        "spec": spec_to_dict(new_spec("lstm_ctc")),
        "start_from": None,
        "train": asdict(TrainConfig(seed=seed, epochs=2)),
    }
    (folder / "config.json").write_text(json.dumps(config))
    rates = [(1, 2 * validation), (2, validation)]
    rows = [{"step": 5 * e, "epoch": e, "seconds": 2.0 * e, "validation/cer": v, "validation/wer": v} for e, v in rates]
    steps = [{"step": s, "train/loss": 3.0 / s, "train/learning_rate": 1e-3, "seconds": 0.4 * s} for s in range(1, 11)]
    ordered_rows = sorted([*steps, *rows], key=lambda row: row["step"])
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ordered_rows))
    if state is not None:
        (folder / "status.json").write_text(json.dumps({"state": state, "started": "2026-11-25T01:02:03+00:00"}))
    if test is not None:
        figures = {"rung": "lstm_ctc", "split": "test", "seed": seed, "cer": test, "cer_interval": [0, 1], "wer": test}
        best_epoch = {"best_validation_cer": validation, "best_validation_wer": validation, "seconds": 4.0, "epochs": 2}
        result = figures | best_epoch | {"most_confused": [{"true": "a", "read": "b", "times": 2}], "examples": LINES}
        (folder / "result.json").write_text(json.dumps(result | {"wer_interval": [0, 1]}))
        edits_N = np.arange(LINES) % 3 + more
        arrays = {"truths": np.array([truths * LENGTH] * LINES), "texts": np.array(["y"] * LINES), "edits": edits_N}
        arrays |= {"characters": np.full(LINES, LENGTH), "confidence": np.full(LINES, 0.5)}
        np.savez(folder / "predictions.npz", **arrays)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs in every state, at several depths, beside folders that are none."""
    root = tmp_path / "runs"
    write_run(root / "a" / "low test", seed=1, validation=0.20, test=0.01)
    write_run(root / "a" / "b" / "low validation", seed=2, validation=0.10, test=0.50)
    write_run(root / "stopped", seed=3, validation=0.05, test=None, state="interrupted")
    write_run(root / "failed", seed=4, validation=0.05, test=None, state="failed")
    write_run(root / "killed", seed=5, test=None)
    os.utime(root / "killed" / "metrics.jsonl", (0, 0))
    (write_run(root / "broken", seed=6) / "config.json").write_text("{")
    write_run(root / "broken result", seed=7).joinpath("result.json").write_text('{"cer": 0.1')
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text('{"architectures": ["other"]}')
    write_run(root / "killed" / "wandb" / "copy")
    return root


def names(found: list[Any]) -> list[str]:
    return [run.name for run in found]


# --- finding
def test_runs_of_every_state_are_found_and_other_folders_are_not(runs: Path) -> None:
    assert {run.name: run.state for run in find_runs(runs)} == {
        "a/low test": "complete",
        "a/b/low validation": "complete",
        "stopped": "interrupted",
        "failed": "failed",
        "killed": "interrupted",
        "broken": "broken",
        "broken result": "broken",
    }


def test_state_of_a_run_follows_its_process(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", test=None)
    os.utime(folder / "metrics.jsonl", (0, 0))
    with kept_status(folder / "status.json"):
        assert open_one(folder).state == "running"
        status = json.loads((folder / "status.json").read_text())
    assert json.loads((folder / "status.json").read_text())["state"] == "complete"
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for other in ({"pid": int(gone.stdout)}, {"process_started": "another boot:1"}):  # the id was used again
        (folder / "status.json").write_text(json.dumps(status | other))
        assert (open_one(folder).state, open_one(folder).reason) == ("interrupted", "its process was killed")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "stopped"),
        (UserError("the loss became nan at step 3"), "failed", "the loss became nan at step 3"),
        (RuntimeError("no\nmemory"), "failed", "RuntimeError: no memory"),
    ],
)
def test_run_that_ends_early_keeps_the_reason(error: BaseException, state: str, reason: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", test=None)
    with pytest.raises(type(error)), kept_status(folder / "status.json"):
        raise error
    found = open_one(folder)
    assert found.state == state
    assert reason in found.reason


def test_hundreds_of_runs_are_listed_in_seconds(tmp_path: Path) -> None:
    original = write_run(tmp_path / "0")
    content = {path.name: path.read_bytes() for path in original.iterdir()}
    content["metrics.jsonl"] = content["metrics.jsonl"] * 100  # a thousand steps
    for number in range(1, 300):
        (tmp_path / str(number)).mkdir()
        for name, data in content.items():
            (tmp_path / str(number) / name).write_bytes(data)
    start = time.process_time()
    found = ordered(chosen(find_runs(tmp_path), ["cer<0.5"]), "validation.cer")
    assert time.process_time() - start < 3
    assert len(found) == 300


# --- choosing
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("rung=lstm_ctc", "abcd"),
        ("rung!=lstm_ctc", ""),
        ("train.seed>=3", "cd"),
        ("train.seed<2", "a"),
        ("seed=1", "a"),  # train.seed: its last part, and the result's own field
        ("train.batch-size=128", "abcd"),  # as the flag is spelled
        ("data.examples=100", "abcd"),  # config.json calls it data_config
        ("cer<0.1", "a"),
        ("cer<10%", "a"),
        ("validation.cer<=0.1", "bcd"),
        ("state=failed", "d"),
        ("state~COMP", "ab"),
        ("train.augment=false", "abcd"),
        ("start_from=null", "abcd"),
        ("cer=null", "cd"),
        ("spec.stem_strides=[2, 1, 2, 1]", "abcd"),
        ("name<b", "ab"),
    ],
)
def test_conditions_choose_runs(condition: str, expected: str, runs: Path) -> None:
    letters = {"a/low test": "a", "a/b/low validation": "b", "stopped": "c", "failed": "d"}
    found = [run for run in find_runs(runs) if run.name in letters]
    assert "".join(sorted(letters[run.name] for run in chosen(found, [condition]))) == expected


@pytest.mark.parametrize(
    ("condition", "words"),
    [("cer", "is no condition"), ("<3", "is no condition"), ("cer<true", "has no order"), ("cer<", "is no condition")],
)
def test_condition_that_cannot_be_read_is_refused(condition: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_condition(condition)


def test_unknown_field_names_the_nearest(runs: Path) -> None:
    with pytest.raises(UserError, match=r"no run has a field 'train.epoch': did you mean 'train.epochs'"):
        chosen(find_runs(runs), ["train.epoch=2"])


def test_runs_are_ordered_by_a_field_and_those_without_it_come_last(runs: Path) -> None:
    found = find_runs(runs)
    by_cer = ["a/low test", "broken", "a/b/low validation"]  # a damaged config.json beside a result of 0.3
    assert names(ordered(found, "cer"))[:3] == by_cer
    assert names(ordered(found, "cer", reverse=True))[:3] == by_cer[::-1]
    assert len(ordered(found, "cer")) == len(found)


def test_best_run_is_the_one_with_the_best_validation_figure_and_not_the_best_test_figure(runs: Path) -> None:
    choice = best(find_runs(runs), "cer")
    assert (choice.run.name, choice.value) == ("a/b/low validation", 0.10)
    assert (choice.compared, choice.left_out) == (2, 5)
    assert best(find_runs(runs)).by == "cer"


def test_best_accuracy_is_the_highest(tmp_path: Path) -> None:
    for name, accuracy in (("a", 0.7), ("b", 0.9), ("c", 0.8)):
        folder = write_run(tmp_path / name)
        config = json.loads((folder / "config.json").read_text()) | {"rung": "mlp"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "result.json").write_text(
            json.dumps({"best_validation_accuracy": accuracy, "accuracy": 1 - accuracy})
        )
    assert best(find_runs(tmp_path)).run.name == "b"


@pytest.mark.parametrize(
    ("by", "words"), [("test.cer", "chosen by its validation figure"), ("f1", "unknown validation figure 'f1'")]
)
def test_best_by_another_figure_is_refused(by: str, words: str, runs: Path) -> None:
    with pytest.raises(UserError, match=words):
        best(find_runs(runs), by)


# --- comparing
def test_comparison_shows_only_what_differs(tmp_path: Path) -> None:
    found = comparison([open_one(write_run(tmp_path / str(seed), seed=seed, test=0.1 * seed)) for seed in (1, 2)])
    assert found["differing"] == {"train.seed": [1, 2]}
    assert found["figures"]["cer"] == [0.1, 0.2]
    assert found["figures"]["validation.cer"] == [0.2, 0.2]


@pytest.mark.parametrize("more", [0, 1, 2])
def test_difference_is_paired(more: int, tmp_path: Path) -> None:
    """Each line has `more` edits more: the difference is the same on every sample, though the edits vary."""
    one, other = write_run(tmp_path / "one", more=more), write_run(tmp_path / "other")
    (pair,) = comparison([open_one(one), open_one(other)])["pairs"]
    assert pair["difference"] == pytest.approx(more / LENGTH)
    assert pair["interval"] == pytest.approx([more / LENGTH] * 2)
    assert (pair["measurable"], pair["better"]) == ((True, "other") if more else (False, None))


def test_runs_without_common_examples_say_what_is_needed(tmp_path: Path) -> None:
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other", truths="z")
    unfinished = write_run(tmp_path / "unfinished", test=None)
    bare = write_run(tmp_path / "bare")
    (bare / "predictions.npz").unlink()
    damaged = write_run(tmp_path / "damaged")
    (damaged / "predictions.npz").write_bytes(b"PK")
    found = comparison([open_one(path) for path in (one, other, unfinished, bare, damaged)])
    assert found["pairs"] == []
    said = " | ".join(found["not_compared"])
    assert "one and other were tested on different examples" in said
    assert "so it has no test figures" in said
    assert "bare keeps no result per example" in said
    assert "fourhands evaluate" in said
    assert "damaged has a file that cannot be read" in said


# --- the command
@pytest.mark.parametrize("rung", RUNGS)
def test_command_of_a_run_sets_every_field_again(rung: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "mlp": {"hidden_dims": (5, 4)},
        "cnn": {"dropout": 0.25},
        "lstm_ctc": {"stem_column_strides": (2, 2, 1, 1), "stem_pooling": "max", "head_dropout": 0.5},
        "transformer": {"dropout": 0.0},
        "unet": {"side": 512},
    }
    spec = new_spec(rung, **changes[rung])
    train = TrainConfig(epochs=3, learning_rate=3.5e-4, optimizer="sgd", augment=True, clip_norm=0.0)
    data = DataConfig(examples=7, writer_pattern="^(.*)-[0-9]+$", balance=True, text="it's $HOME.txt")
    config = {
        "framework": "jax",
        "rung": rung,
        "device": "gpu",
        "data": "pages:my scans",
        "data_config": asdict(data),
        "spec": spec_to_dict(spec),
        "start_from": "runs/before",
        "train": asdict(train),
    }
    words = shlex.split(train_command(json.loads(json.dumps(config)), "an out"))
    assert words[:2] == ["fourhands", "train"]
    parsed: Any = _parse("train", words[2:])
    assert (parsed.spec, parsed.train, parsed.data_config) == (spec, train, data)
    assert (parsed.rung, parsed.framework, parsed.device, parsed.data) == (rung, "jax", "gpu", "pages:my scans")
    assert (str(parsed.out), str(parsed.start_from)) == ("an out", "runs/before")


def test_command_leaves_the_defaults_out() -> None:
    task = task_of("unet")
    config = {
        "framework": "numpy",
        "rung": "unet",
        "data": "ink_pages",
        "data_config": asdict(DataConfig()),
        "spec": spec_to_dict(new_spec("unet")),
        "train": asdict(task.default_train),
    }
    command = train_command(json.loads(json.dumps(config)))
    assert command == "fourhands train --rung unet --framework numpy --data ink_pages --out RUN"
    # the default of pages is to augment
    config["train"]["augment"] = False
    parsed: Any = _parse("train", shlex.split(train_command(config))[2:])
    assert parsed.train.augment is False


# --- notes
def test_notes_are_appended_with_their_dates(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for text in ("first", " wider stem\nand 中 "):
        add_note(run, text)
    with (run / "notes.jsonl").open("a") as file:
        file.write('{"time": "2026-')  # cut off while writing
    add_note(run, "third")
    notes = read_notes(run)
    assert [note.text for note in notes] == ["first", "wider stem\nand 中", "third"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", note.time) for note in notes)
    assert open_one(run).fields["note"] == "third"


# --- the commands
def test_list_prints_a_row_per_run_and_all_fields_as_json(runs: Path, command: Command) -> None:
    add_note(runs / "stopped", "[bold]as it is")
    listed = command("runs", "list", runs, "--sort", "cer", "--columns", "train.seed")
    assert listed.code == 0
    for words in ("a/low test", "20.00%", "1.00%", "broken is broken: config.json is damaged", "[bold]", "train.seed"):
        assert words in listed.out, words
    rows = json.loads(command("runs", "list", runs, "--json", "--where", "state=complete").out)
    assert {(row["name"], row["cer"], row["train.seed"]) for row in rows} == {
        ("a/low test", 0.01, 1),
        ("a/b/low validation", 0.5, 2),
    }


def test_show_prints_the_note_the_command_and_each_epoch(runs: Path, command: Command) -> None:
    assert command("runs", "note", runs / "a" / "low test", "wider stem").code == 0
    shown = command("runs", "show", runs / "a" / "low test").out
    for words in (
        "wider stem",
        "fourhands train --rung lstm_ctc",
        "--train.seed 1",
        "validation/cer",
        "40.00%",
        "2.00 s",
    ):
        assert words in shown, words
    row = json.loads(command("runs", "show", runs / "a" / "low test", "--json").out)
    assert [epoch["validation/cer"] for epoch in row["each_epoch"]] == [0.4, 0.2]
    for state in ("broken", "broken result", "failed", "killed"):
        assert command("runs", "show", runs / state).code == 0, state


def test_best_prints_a_path_that_a_script_can_use(runs: Path, command: Command) -> None:
    outcome = command("runs", "best", runs, "--by", "cer")
    assert outcome.out == f"{runs / 'a' / 'b' / 'low validation'}\n"
    assert "test figure played no part" in outcome.err
    assert json.loads(command("runs", "best", runs, "--json").out)["value"] == 0.10


def test_pages_are_self_contained_and_escape_names(tmp_path: Path, command: Command) -> None:
    one, other = (write_run(tmp_path / name, seed=i) for i, name in enumerate(("a $x$ <b>", 'c\\1 "d"')))
    add_note(one, "<script>alert(1)</script>")
    pages = tmp_path / "list.html", tmp_path / "compare.html"
    assert command("runs", "list", tmp_path, "--html", pages[0]).code == 0
    assert command("runs", "compare", one, other, "--html", pages[1]).code == 0
    for page in pages:
        text = page.read_text()
        assert text.count("<svg") == 3
        assert "&lt;b&gt;" in text
        assert "<script" not in text
        assert "a $x$ <b>" not in text
        assert not re.search(r"""(src|href)=["'](?!data:|#)|url\((?!#|'#)|@import""", text)
    assert "no measurable difference" in pages[1].read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("list", "{}/nothing"), ("does not exist", "give a folder with run folders")),
        (("list", "{}", "--where", "cer"), ("is no condition",)),
        (("list", "{}", "--sort", "cerr"), ("did you mean 'cer'",)),
        (("list", "{}", "--html", "{}"), ("is a folder",)),
        (("list", "{}", "--html", "{}/no/page.html"), ("does not exist",)),
        (("show", "{}"), ("holds no run",)),
        (("compare", "{}/a/low test"), ("needs two runs",)),
        (("compare", "{}/a/low test", "{}/a/low test"), ("given twice",)),
        (("note", "{}/a/low test", " "), ("the note is empty",)),
        (("note", "{}/a", "text"), ("holds no run",)),
        (("best", "{}", "--by", "bleu"), ("unknown validation figure", "cer")),
        (("best", "{}", "--where", "seed=77"), ("no run in",)),
        (("best", "{}", "--where", "state=failed"), ("none of 1 runs is complete",)),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_error_is_one_sentence(argv: tuple[str, ...], words: tuple[str, ...], runs: Path, command: Command) -> None:
    command("runs", *(word.format(runs) for word in argv)).refuses(*words)
