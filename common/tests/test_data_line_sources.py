"""Lines by name: refused lines with their reasons, subsets, data for another task, and the commands that show lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.charset import Charset
from common.config import TrainConfig
from common.data import prepared, sources
from common.data.config import DataConfig
from common.data.dataset import SPLITS, Refused
from common.data.lines import LineDataset, LineSplit
from common.errors import UserError
from common.spec import LSTMCTCSpec
from common.tasks import LINES
from common.tests.conftest import Command
from common.tests.loading import load, load_lines


def a_split(name: str, lines: Sequence[tuple[str, int]]) -> LineSplit:
    return LineSplit(
        images=[np.full((8, width), 9, np.uint8) for _, width in lines],
        widths_N=np.array([width for _, width in lines], dtype=np.int64),
        texts=[text for text, _ in lines],
        names=[f"{name} {i}" for i in range(len(lines))],
    )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, int]]]:
    """Texts and widths of the lines in `iam_lines`; a test may change them."""
    texts: dict[str, list[tuple[str, int]]] = {
        "train": [(f"a{i % 10}", 40) for i in range(30)],
        "validation": [("b", 40)],
        "test": [("c", 40)],
    }

    def loader(path: Path | None, height: int, config: DataConfig) -> LineDataset:
        splits = {name: a_split(name, rows) for name, rows in texts.items()}
        before = (Refused(name="page 3", reason="torn"),)
        return LineDataset(name="iam_lines", charset=Charset(()), refused=before, **splits)

    source = replace(sources.SOURCES["iam_lines"], load=loader)
    monkeypatch.setitem(sources.SOURCES, "iam_lines", source)
    return texts


def test_lines_that_cannot_be_learnt_from_are_refused_by_name_in_every_split(
    lines: dict[str, list[tuple[str, int]]],
) -> None:
    # 4 columns give a frame: ab needs 2, aa one more between its equal letters
    lines["train"] = [("ab", 8), ("ab", 4), ("aa", 8), ("aa", 9), ("", 40), ("x", 2049), ("y", 2048)]
    lines["validation"] = [("b", 40), ("", 40)]
    lines["test"] = [("zz", 8), ("c", 40)]
    dataset = load_lines("iam_lines", height=8)
    assert list(dataset.train.names) == ["train 0", "train 3", "train 6"]
    assert list(dataset.validation.names) == ["validation 0"]
    assert list(dataset.test.names) == ["test 1"]
    assert [line.name for line in dataset.refused] == [
        "page 3",
        *("train 1", "train 2", "train 4", "train 5"),
        "validation 1",
        "test 0",
    ]
    reasons = {line.name: line.reason for line in dataset.refused}
    assert "2 frames where its text needs 3" in reasons["train 2"]
    assert reasons["train 4"] == "it has no text"
    assert "2049 columns wide" in reasons["train 5"]
    assert dataset.charset.characters == ("a", "b", "y")  # x was refused; the test's c is not training's


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_an_empty_split_is_refused(lines: dict[str, list[tuple[str, int]]], name: str) -> None:
    lines[name] = [("", 40)]
    with pytest.raises(UserError, match=f"the {name} split of iam_lines is empty"):
        load_lines("iam_lines", height=8)


def test_a_larger_subset_holds_the_smaller_one(lines: dict[str, list[tuple[str, int]]]) -> None:
    few, many = (set(load_lines("iam_lines", height=8, examples=n).train.names) for n in (5, 20))
    assert (len(few), len(many)) == (5, 20)
    assert few < many
    with pytest.raises(UserError, match="31 training lines were asked for; there are 30, ask for fewer"):
        load_lines("iam_lines", height=8, examples=31)
    lines["train"][:5] = [("", 40)] * 5
    with pytest.raises(UserError, match="28 training lines were asked for; there are 25, ask for fewer"):
        load_lines("iam_lines", height=8, examples=28)
    with pytest.raises(UserError, match=r"data\.examples is -1; it must be at least 1, or 0 for all"):
        load_lines("iam_lines", height=8, examples=-1)


def test_augmentation_changes_training_batches_and_no_other_line(lines: dict[str, list[tuple[str, int]]]) -> None:
    lines["validation"], lines["test"] = [("a1", 40), ("a2", 60)] * 3, [("a3", 40), ("a4", 50)] * 3
    dataset = load_lines("iam_lines", height=8)
    spec = LINES.decide(LSTMCTCSpec(num_classes=2, height=8), dataset)

    def plain(images_BHW1: np.ndarray, widths_B: np.ndarray) -> np.ndarray:
        """Whether each image has the value 9 in all of its columns, as the source made it."""
        own_BW = np.arange(images_BHW1.shape[2]) < widths_B[:, None]
        same_BHW = np.rint(images_BHW1[..., 0] * 255) == 9 * own_BW[:, None]
        return same_BHW.all(axis=(1, 2))

    no_limit: Any = SimpleNamespace(frames=None)  # an augmented line may have any number of frames
    for augment in (False, True):
        train = TrainConfig(batch_size=8, augment=augment)
        for epoch in range(2):
            for batch in LINES.batches(dataset, no_limit, train).epoch(epoch):
                assert plain(batch.images_BHW1, batch.widths_B).all() != augment

    read: list[int] = []

    def logits(images_BHW1: np.ndarray, widths_B: np.ndarray) -> np.ndarray:
        assert plain(images_BHW1, widths_B).all(), "evaluation reads the lines as they are"
        read.extend(widths_B)
        return np.zeros((len(widths_B), 99, spec.num_classes), np.float32)

    recognizer: Any = SimpleNamespace(spec=spec, logits=logits)
    for name in SPLITS:
        split = dataset.split(name)
        LINES.evaluate(recognizer, dataset.charset, split, dataset.charset)
        assert set(read) == set(split.widths_N), name
        read.clear()


def test_data_for_another_task_is_refused_and_fitting_data_is_named() -> None:
    with pytest.raises(UserError, match=r"mnist holds characters where lines are needed.*ink_lines"):
        load_lines("mnist", height=28)
    with pytest.raises(UserError, match=r"ink_lines holds lines where characters are needed.*mnist"):
        load("ink_lines")


@pytest.mark.parametrize("name", ["pages", "folder", "iam_lines"])
def test_data_without_a_download_needs_a_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOURHANDS_DATA", raising=False)
    with pytest.raises(UserError, match=f"write {name}:FOLDER"):
        load_lines(name, height=28)


def test_preparing_lines_prints_the_splits_and_names_refused_lines(
    lines: dict[str, list[tuple[str, int]]], command: Command
) -> None:
    lines["train"].append(("", 40))
    outcome = command("data", "prepare", "iam_lines")
    assert outcome.code == 0, outcome
    for words in ("train: 30 lines", "validation: 1 lines", "test: 1 lines", "charset: 11 characters: 0123456789a"):
        assert words in outcome.out
    assert "validation: 1 lines; 1 characters that training never shows: b" in outcome.out
    assert "refused: 2 lines; --refused names them" in outcome.out
    named = command("data", "prepare", "iam_lines", "--refused").out
    assert "train 30: it has no text" in named
    assert "page 3: torn" in named


def test_flags_of_lines_are_refused_for_characters(digits: str, command: Command) -> None:
    command("data", "prepare", digits, "--height", 30).refuses("--height", " holds characters")
    command("data", "prepare", digits, "--refused").refuses("--refused is for lines")
    command("data", "show", "ink_lines", "--out", "x.png", "--height", 0).refuses("--height is 0")
    command("data", "show", "ink_linse", "--out", "x.png").refuses("did you mean 'ink_lines'")


def test_the_sheet_of_lines_shows_their_ink(
    lines: dict[str, list[tuple[str, int]]], command: Command, tmp_path: Path
) -> None:
    lines["train"][0] = ("$a__b$", 60)  # a dollar must not start a formula
    assert command("data", "show", "iam_lines", "--out", tmp_path / "sheet.png").code == 0
    with Image.open(tmp_path / "sheet.png") as image:
        assert min(image.size) > 300
    command("data", "show", "iam_lines", "--out", tmp_path / "missing" / "sheet.png").refuses("cannot write")


def test_drawn_lines_come_at_the_height_and_length_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path)
    dataset = load_lines("ink_lines", height=20, examples=40, max_characters=9)
    assert dataset.train.height == 20
    assert max(map(len, dataset.train.texts)) <= 9
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (40, 500, 1000)


def test_drawn_lines_join_the_training_split_only(
    lines: dict[str, list[tuple[str, int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path)
    plain = load_lines("iam_lines", height=8)
    mixed = load_lines("iam_lines", height=8, drawn_lines=3, max_characters=9)
    assert list(mixed.train.names[:30]) == list(plain.train.names)
    assert [mixed.train.images[i].shape for i in (0, 29)] == [(8, 40), (8, 40)]
    drawn = load_lines("ink_lines", height=8, examples=3, max_characters=9).train
    assert list(mixed.train.texts[30:]) == list(drawn.texts)
    for i in range(len(drawn)):
        np.testing.assert_array_equal(mixed.train.images[30 + i], drawn.images[i])
        assert mixed.train.widths_N[30 + i] == drawn.widths_N[i]
    assert set("".join(drawn.texts)) <= set(mixed.charset.characters)
    assert (list(mixed.validation.names), list(mixed.test.names)) == (
        list(plain.validation.names),
        list(plain.test.names),
    )


def test_flags_that_draw_fit_the_task(command: Command, tmp_path: Path) -> None:
    for rung, flag, why in (
        ("cnn", "--data.drawn-lines", "is for lines, and cnn reads characters"),
        ("unet", "--data.drawn-lines", "is for reading lines, and unet finds lines"),
        ("lstm_ctc", "--data.drawn-pages", "is for pages, and lstm_ctc reads lines"),
    ):
        command("train", "--rung", rung, flag, 3, "--out", tmp_path / "run").refuses(f"{flag} {why}")
    command("train", "--rung", "lstm_ctc", "--data.drawn-lines", -1, "--out", tmp_path / "run").refuses("is -1")


def test_sheet_of_augmentation_shows_each_line_in_several_forms(
    lines: dict[str, list[tuple[str, int]]], command: Command, tmp_path: Path
) -> None:
    plain, augmented, again = (tmp_path / f"{name}.png" for name in ("plain", "augmented", "again"))
    assert command("data", "show", "iam_lines", "--out", plain).code == 0
    assert command("data", "show", "iam_lines", "--augment", "--out", augmented).code == 0
    assert command("data", "show", "iam_lines", "--augment", "--out", again).code == 0
    with Image.open(augmented) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
    assert augmented.read_bytes() == again.read_bytes() != plain.read_bytes()


def test_augmentation_is_refused_for_characters(digits: str, command: Command, tmp_path: Path) -> None:
    command("data", "show", digits, "--augment", "--out", tmp_path / "sheet.png").refuses("--augment is for lines")
    assert not (tmp_path / "sheet.png").exists()
