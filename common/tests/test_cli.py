"""The command line with valid input, through `main` in this process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from common.charset import ALPHANUMERIC
from common.config import TrainConfig
from common.data import sources
from common.data.character_image import to_character
from common.data.idx import write_idx
from common.data.images import load_image
from common.evaluation.characters import predict_logits
from common.recognizer import load_implementation
from common.spec import RUNGS
from common.tests.conftest import Command
from common.training import verification
from common.training.run import Clock
from common.training.session import speed
from common.weights import load_weights


def bytes_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)], ids=["nothing", "--help", "-h"])
def test_help_lists_every_command(argv: tuple[str, ...], command: Command) -> None:
    outcome = command(*argv)
    assert outcome.code == 0
    for name in ("data list", "data prepare", "data show", "train", "evaluate", "read", "verify", "compare"):
        assert f"\n  {name} " in outcome.out


@pytest.mark.parametrize("rung", ["mlp", "cnn"])
def test_every_field_is_a_flag_with_its_docstring_as_help(rung: str, command: Command) -> None:
    shown = command("train", "--rung", rung, "--help").out
    for prefix, fields in (("train", dataclasses.fields(TrainConfig)), ("spec", dataclasses.fields(RUNGS[rung]))):
        for field in fields:
            flag = f"--{prefix}.{field.name.replace('_', '-')}"
            assert (flag in shown) is (field.name not in ("num_classes", "height", "width")), flag
    words = " ".join(shown.replace("│", " ").split())
    assert "Passes over the training split. (default: 10)" in words


def test_help_of_train_needs_no_rung(command: Command) -> None:
    assert command("train", "--help").code == 0


def test_run_folder_holds_all_files_of_a_run(finished: Path) -> None:
    # uncommitted.diff is there if the checkout of the code has changes
    assert {path.name for path in finished.iterdir()} - {"uncommitted.diff"} == {
        "config.json",
        "environment.json",
        "status.json",
        "weights.safetensors",
        "metrics.jsonl",
        "result.json",
        "predictions.npz",
        "curves.png",
        "readings.png",
        "confusion.png",
    }
    for name in ("curves", "readings", "confusion"):
        with Image.open(finished / f"{name}.png") as image:
            assert image.format == "PNG"


def test_result_holds_figures_and_settings(finished: Path, digits: str) -> None:
    result = json.loads((finished / "result.json").read_text())
    expected = {
        "rung": "mlp",
        "framework": "numpy",
        "device": "cpu",
        "data": digits,
        "split": "test",
        "seed": 0,
        "examples": 60,
        "parameters": 784 * 16 + 16 + 16 * 10 + 10,
        "epochs": 2,
        "steps": 2 * 9,  # 270 examples in batches of 32
        "accuracy_case_folded": None,
    }
    assert {name: result[name] for name in expected} == expected
    low, high = result["accuracy_interval"]
    assert low <= result["accuracy"] <= high
    assert result["examples_per_second"] > 0
    assert result["seconds"] >= result["steps"] * 0.5 * result["step_seconds"]
    assert 10 < result["peak_memory_mb"] < 10_000
    assert result["compile_seconds"] >= 0
    assert result["versions"].keys() == {"python", "fourhands", "numpy"}


def test_predictions_agree_with_the_result(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    with np.load(finished / "predictions.npz", allow_pickle=False) as arrays:
        assert (arrays["labels"] == arrays["predicted"]).mean() == result["accuracy"]
        assert arrays["confidence"].shape == (60,)


def test_metrics_hold_every_step_and_every_epoch(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 19))
    epochs = [row for row in rows if "validation/accuracy" in row]
    assert [(row["epoch"], row["step"]) for row in epochs] == [(1, 9), (2, 18)]
    result = json.loads((finished / "result.json").read_text())
    best = max(epochs, key=lambda row: row["validation/accuracy"])
    assert (best["epoch"], best["validation/accuracy"]) == (result["best_epoch"], result["best_validation_accuracy"])


def test_golden_example_belongs_to_the_weights_in_the_file(finished: Path) -> None:
    content = load_weights(finished / "weights.safetensors")
    recognizer = load_implementation("numpy")(content.spec)
    recognizer.load_weights(content.weights)
    assert len(content.golden.images_GHW) == 8
    again = predict_logits(recognizer, content.golden.images_GHW)
    np.testing.assert_allclose(again, content.golden.logits, rtol=0, atol=1e-5)


def test_flags_reach_the_run(tiny: list[str], tmp_path: Path, command: Command) -> None:
    flags = ["--rung", "cnn", "--spec.channels", "2", "3", "--train.learning-rate", "3e-3", "--train.epochs", "1"]
    data = tiny[tiny.index("--data") :]
    assert command("train", *flags, *data, "--data.examples", "64", "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["rung"], config["spec"]["channels"], config["spec"]["num_classes"]) == ("cnn", [2, 3], 10)
    assert (config["train"]["learning_rate"], config["data_config"]["examples"]) == (3e-3, 64)


def test_train_ends_with_two_lines_and_is_silent_on_stderr_in_a_pipe(
    tiny: list[str], tmp_path: Path, command: Command
) -> None:
    outcome = command(*tiny, "--out", tmp_path / "run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("\n") == 2
    assert "mlp in numpy on mnist" in outcome.out


def test_evaluate_repeats_the_result_and_leaves_the_folder_alone(finished: Path, command: Command) -> None:
    before = bytes_of(finished)
    again = json.loads(command("evaluate", finished, "--json").out)
    kept = json.loads((finished / "result.json").read_text())
    assert {k: again[k] for k in ("accuracy", "loss", "data")} == {k: kept[k] for k in ("accuracy", "loss", "data")}
    assert bytes_of(finished) == before


def test_evaluate_takes_a_weights_file_and_another_split(finished: Path, command: Command) -> None:
    result = json.loads(command("evaluate", finished / "weights.safetensors", "--split", "validation", "--json").out)
    kept = json.loads((finished / "result.json").read_text())
    assert (result["examples"], result["accuracy"]) == (30, kept["best_validation_accuracy"])


def test_evaluate_counts_characters_that_the_model_does_not_know(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        write_idx(tmp_path / f"emnist-byclass-{part}-images-idx3-ubyte", rng.integers(0, 9, (62, 28, 28), np.uint8))
        write_idx(tmp_path / f"emnist-byclass-{part}-labels-idx1-ubyte", np.arange(62, dtype=np.uint8))
    mapping = "".join(f"{k} {ord(c)}\n" for k, c in enumerate(ALPHANUMERIC.characters))
    (tmp_path / "emnist-byclass-mapping.txt").write_text(mapping)
    outcome = command("evaluate", finished, "--data", f"emnist:{tmp_path}")
    assert outcome.code == 0
    assert "52 images hold characters that the model does not know" in outcome.out


def test_read_gives_the_model_s_own_reading_of_each_image(finished: Path, tmp_path: Path, command: Command) -> None:
    paths = []
    for k in range(3):
        picture = np.full((60, 50), 255, np.uint8)
        picture[10:50, 10 + 8 * k : 16 + 8 * k] = 0  # a dark stroke on light paper
        picture[45:50, 10:40] = 0
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(picture).save(paths[-1])
    rows = json.loads(command("read", finished, *paths, "--json").out)
    content = load_weights(finished / "weights.safetensors")
    recognizer = load_implementation("numpy")(content.spec)
    recognizer.load_weights(content.weights)
    images = np.stack([to_character(load_image(path), 28, 28) for path in paths])
    logits_NK = recognizer.logits(images[..., None].astype(np.float32) / 255).astype(np.float64)
    shares_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    assert [row["text"] for row in rows] == [str(k) for k in logits_NK.argmax(axis=1)]
    assert [row["confidence"] for row in rows] == pytest.approx(shares_NK.max(axis=1), rel=1e-5)
    assert len(command("read", finished, *paths).out.splitlines()) == 3


def test_verify_passes_the_weights_as_they_were_saved(finished: Path, command: Command) -> None:
    outcome = command("verify", finished, "--framework", "numpy", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)[0]["worst"] < 1e-5


@pytest.mark.parametrize("what", ["dense.1.bias", "golden.logits"])
def test_verify_fails_when_a_tensor_moved_by_a_hundred_thousandth(
    what: str, finished: Path, tmp_path: Path, command: Command
) -> None:
    with safe_open(finished / "weights.safetensors", "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tensors[what] = tensors[what] + np.float32(1e-5 * np.abs(tensors["golden.logits"]).max())
    save_file(tensors, tmp_path / "moved.safetensors", metadata)
    outcome = command("verify", tmp_path / "moved.safetensors", "--framework", "numpy")
    assert outcome.code == 1
    assert "DIFFERS" in outcome.out


def test_verify_tries_every_framework_in_its_own_process(
    finished: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "implementations", lambda: {"numpy": None, "absent": None})
    outcome = command("verify", finished)
    assert outcome.code == 0
    same, absent = outcome.out.splitlines()
    assert same.startswith("numpy      the same model")
    assert absent.startswith("absent     not verified: unknown framework 'absent'")


def test_data_commands_list_prepare_and_draw(digits: str, tmp_path: Path, command: Command) -> None:
    assert all(f"{name}: " in command("data", "list").out for name in sources.SOURCES)
    assert "is ready" in command("data", "prepare", digits).out
    assert command("data", "show", digits, "--out", tmp_path / "sheet.png").code == 0
    with Image.open(tmp_path / "sheet.png") as image:
        assert min(image.size) > 100


def test_interrupted_training_says_how_to_continue(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.training.run.Run.epoch_done", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell makes its background jobs ignore it
    try:
        outcome = command(*tiny, "--out", tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.code == 130
    assert outcome.err == "fourhands: stopped; continue with the same flags and --resume\n"


def test_bug_shows_its_traceback(finished: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("fourhands.evaluate", broken)
    with pytest.raises(KeyError, match="a bug"):
        command("evaluate", finished)


def test_run_folder_can_be_moved(finished: Path, tmp_path: Path, command: Command) -> None:
    shutil.copytree(finished, tmp_path / "moved")
    assert command("evaluate", tmp_path / "moved").out == command("evaluate", finished).out


def test_speed_is_measured_per_shape_and_the_excess_of_each_first_step_is_compilation() -> None:
    wide, narrow, last = (32, 28, 80, 1), (32, 28, 48, 1), (7, 28, 80, 1)
    clock = Clock(
        durations=[5.0, 0.4, 3.0, 0.4, 0.2, 0.4, 0.2, 0.3],
        shapes=[wide, wide, narrow, wide, narrow, wide, narrow, last],
    )
    figures = speed(clock)
    assert figures["step_seconds"] == pytest.approx(0.4)
    assert figures["compile_seconds"] == pytest.approx((5.0 - 0.4) + (3.0 - 0.2))
    assert figures["examples_per_second"] == pytest.approx((4 * 32 + 3 * 32 + 7) / (4 * 0.4 + 3 * 0.2 + 0.3))
