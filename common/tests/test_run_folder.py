"""A resumed run ends with the same files as an uninterrupted one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from common.config import TrainConfig
from common.errors import UserError
from common.tests.conftest import Command
from common.training.folder import RunFolder
from common.training.keeper import Keeper

LONGER = ["--train.epochs", "4"]


def rows_without_times(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("cut_at", [4, 14, 27, 36], ids=lambda step: f"cut off after step {step}")
def test_resumed_run_equals_one_never_cut_off(
    cut_at: int, tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_done = Keeper.step_done

    def cut(self: Keeper, progress, *rest) -> None:  # noqa: ANN001, ANN002
        step_done(self, progress, *rest)
        if progress.step == cut_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "step_done", cut)
        assert command(*tiny, *LONGER, "--out", tmp_path / "cut").code == 130
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists() is (cut_at >= 9)
    assert command(*tiny, *LONGER, "--out", tmp_path / "cut", "--resume").code == 0
    assert command(*tiny, *LONGER, "--out", tmp_path / "whole").code == 0
    for name in ("weights.safetensors", "predictions.npz", "config.json", "readings.png", "confusion.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert rows_without_times(tmp_path / "cut") == rows_without_times(tmp_path / "whole")
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()
    results = [json.loads((tmp_path / run / "result.json").read_text()) for run in ("cut", "whole")]
    for name in ("accuracy", "loss", "best_epoch", "best_validation_accuracy", "steps"):
        assert results[0][name] == results[1][name], name


def test_run_cut_off_between_its_last_epoch_and_its_result_is_completed(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "complete", cut)
        assert command(*tiny, "--out", tmp_path / "run").code == 130
    assert command(*tiny, "--out", tmp_path / "run", "--resume").code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["steps"], result["step_seconds"]) == (18, None)


def test_a_run_that_stops_early_is_complete_and_says_so(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a learning rate at which no weight moves: no epoch is better than the first
    still = ["--train.learning-rate", "1e-30", "--train.weight-decay", "0", "--train.patience", "2"]
    flags = [*tiny, *still, "--train.epochs", "9"]

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "complete", cut)
        assert command(*flags, "--out", tmp_path / "run").code == 130
    done = command(*flags, "--out", tmp_path / "run", "--resume")
    assert "stopped after epoch 3 of 9: no better validation figure since epoch 1" in done.out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["epochs_trained"], result["stopped_early"], result["steps"]) == (3, True, 27)
    assert len([row for row in rows_without_times(tmp_path / "run") if "epoch" in row]) == 3
    command(*flags, "--out", tmp_path / "run", "--resume").refuses("is complete; there is nothing to resume")


def test_the_best_epoch_s_weights_are_kept_not_the_last(tiny: list[str], tmp_path: Path, command: Command) -> None:
    # a learning rate so high that the model gets worse
    flags = ["--train.learning-rate", "0.5", "--train.schedule", "constant", "--train.epochs", "5"]
    assert command(*tiny, *flags, "--out", tmp_path / "run").code == 0
    epochs = [row for row in rows_without_times(tmp_path / "run") if "epoch" in row]
    shares = [row["validation/accuracy"] for row in epochs]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["best_epoch"] == 1 + shares.index(max(shares))
    assert result["best_epoch"] < 5, "this test needs a run that gets worse"
    again = json.loads(command("evaluate", tmp_path / "run", "--split", "validation", "--json").out)
    assert again["accuracy"] == max(shares)


def test_resume_in_a_new_folder_just_starts(tiny: list[str], tmp_path: Path, command: Command) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        assert command(*tiny, "--out", tmp_path / name, "--resume").code == 0


def test_folder_is_not_touched_by_the_check(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").check_free(resume=False)
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "file").check_free(resume=False)


def test_recorders_get_weights_gradients_and_readings(
    tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, set[str]]] = []

    class Spy:
        def scalars(self, step: int, values: dict[str, float]) -> None:
            told.append(("scalars", step, set(values)))

        def histograms(self, step: int, values: dict[str, object]) -> None:
            told.append(("histograms", step, set(values)))

        def readings(self, step: int, readings: list[object]) -> None:
            told.append(("readings", step, {str(len(readings))}))

        def examples(self, step: int, readings: list[object]) -> None:
            told.append(("examples", step, {str(len(readings))}))

        def close(self, summary: dict[str, object]) -> None:
            told.append(("close", 0, set(summary)))

    from common.training import recorders

    opened = recorders.open_recorders
    monkeypatch.setattr(
        recorders, "open_recorders", lambda names, *rest, **more: [*opened((), *rest, **more), *(Spy() for _ in names)]
    )
    assert command(*tiny, "--record", "tensorboard", "--out", tmp_path / "run").code == 0
    names = {f"dense.{i}.{kind}" for i in (0, 1) for kind in ("kernel", "bias")}
    arrays = {f"{what}/{name}" for what in ("weights", "gradients") for name in names}
    assert [row for row in told if row[0] == "histograms"] == [("histograms", 9, arrays), ("histograms", 18, arrays)]
    assert [row for row in told if row[0] == "readings"] == [("readings", 9, {"16"}), ("readings", 18, {"16"})]
    assert ("scalars", 3, {"train/loss", "train/learning_rate", "train/epoch", "seconds"}) in told
    assert [row for row in told if row[0] == "examples"] == [("examples", 18, {"64"})]
    assert told[-1][0] == "close"
    assert "accuracy" in told[-1][2]


def test_a_run_of_an_earlier_version_is_resumed_and_its_settings_are_still_compared(tmp_path: Path) -> None:
    train = asdict(TrainConfig(epochs=7))
    earlier = {name: value for name, value in train.items() if name not in ("accumulate", "patience", "overfit")}
    folder = RunFolder(tmp_path)
    folder.write_json(folder.config, {"train": earlier})
    for field, value in (("epochs", 8), ("accumulate", 2)):
        with pytest.raises(UserError, match=f"has train.{field} .* and not {value}"):
            folder.open({"train": train | {field: value}})
    assert folder.open({"train": train}) is None
