"""Sources by name, splits, batches and the contact sheet."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.charset import DIGITS
from common.data.characters import CharacterBatches, CharacterDataset, CharacterSplit
from common.data.idx import write_idx
from common.data.images import load_image
from common.data.sources import SOURCES
from common.data.splits import balanced, hold_out, subset
from common.errors import UserError
from common.report.contact_sheet import characters_sheet
from common.tests.loading import load


def numbered(labels: list[int] | np.ndarray) -> CharacterSplit:
    """A split whose image i holds the number i in its first two pixels."""
    images = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    return CharacterSplit(images_NHW=images, labels_N=np.asarray(labels, dtype=np.int64))


def numbers(split: CharacterSplit) -> list[int]:
    first = split.images_NHW[:, 0, :2].astype(int)
    return [int(number) for number in first[:, 0] * 256 + first[:, 1]]


def test_an_unknown_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(UserError, match=r"unknown data 'emnist_leters': did you mean 'emnist_letters'\?"):
        load("emnist_leters")


def test_a_colon_without_a_folder_is_refused() -> None:
    with pytest.raises(UserError, match="names no folder after the colon; write mnist alone, or mnist:FOLDER"):
        load("mnist:")


def test_every_source_says_what_it_is() -> None:
    for source in SOURCES.values():
        assert all((source.description, source.origin, source.terms, source.sizes))


def test_importing_the_sources_is_quick_and_pulls_in_nothing_heavy() -> None:
    heavy = ("torch", "tensorflow", "keras", "jax", "matplotlib", "pooch", "requests", "rich", "HersheyFonts")
    program = f"import common.data.sources, sys; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_holding_out_keeps_every_example_once() -> None:
    train, validation = hold_out(numbered(np.arange(1000) % 10))
    assert (len(train), len(validation)) == (900, 100)
    assert sorted(numbers(train) + numbers(validation)) == list(range(1000))
    for split in (train, validation):
        assert numbers(split) == sorted(numbers(split))
        np.testing.assert_array_equal(split.labels_N, np.array(numbers(split)) % 10)
    assert numbers(hold_out(numbered(np.arange(1000) % 10))[1]) == numbers(validation)


def test_one_example_cannot_be_held_out() -> None:
    with pytest.raises(UserError, match="holds 1 example; expected at least 2"):
        hold_out(numbered([0]))


def test_a_larger_subset_holds_the_smaller_one() -> None:
    split = numbered(np.arange(500) % 10)
    small, large = numbers(subset(split, 50)), numbers(subset(split, 200))
    assert (len(small), len(large)) == (50, 200)
    assert set(small) < set(large)
    assert small != list(range(50))
    assert len(subset(split, 500)) == 500


def test_balancing_caps_each_class_at_the_mean_class_count() -> None:
    # 60 + 20 + 10 in three classes: the mean is 30, so only the first is cut
    split = balanced(numbered([0] * 60 + [1] * 20 + [4] * 10))
    np.testing.assert_array_equal(np.bincount(split.labels_N), [30, 20, 0, 0, 10])
    assert len(set(numbers(split))) == 60
    assert numbers(split)[:30] != list(range(30))  # drawn, not cut off


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, labels in (("train", np.repeat(np.arange(10), np.arange(10, 110, 10))), ("t10k", np.arange(10))):
        write_idx(folder / f"{part}-images-idx3-ubyte", numbered(labels).images_NHW)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    return folder


def test_examples_and_balance_touch_the_training_split_only(mnist_folder: Path) -> None:
    data = f"mnist:{mnist_folder}"
    whole = load(data)
    for changed in (load(data, examples=30), load(data, balance=True), load(data, examples=30, balance=True)):
        assert set(numbers(changed.train)) < set(numbers(whole.train))
        for name in ("validation", "test"):
            assert numbers(changed.split(name)) == numbers(whole.split(name))
    assert len(load(data, examples=30, balance=True).train) == 30
    counts = np.bincount(whole.train.labels_N)
    np.testing.assert_array_equal(
        np.bincount(load(data, balance=True).train.labels_N), np.minimum(counts, int(counts.mean()))
    )


def test_more_examples_than_there_are_is_refused(mnist_folder: Path) -> None:
    with pytest.raises(UserError, match="496 training examples were asked for; there are 495, ask for fewer"):
        load(f"mnist:{mnist_folder}", examples=496)
    with pytest.raises(UserError, match=r"data\.examples is -1; it must be at least 1, or 0 for all"):
        load("ink", examples=-1)


def test_batches_are_the_same_bytes_for_any_number_of_workers() -> None:
    split = numbered(np.arange(500) % 10)
    hashes = set()
    for workers in (0, 1, 4):
        content = hashlib.sha256()
        batches = CharacterBatches(split, batch_size=64, seed=3, workers=workers)
        for epoch in range(2):
            sizes = []
            for batch in batches.epoch(epoch):
                content.update(batch.images_BHW1.tobytes() + batch.labels_B.tobytes())
                sizes.append(len(batch.labels_B))
            assert sizes == [64] * 7 + [52]
        hashes.add(content.hexdigest())
    assert len(hashes) == 1


def test_an_epoch_holds_every_example_once_in_an_order_of_its_own() -> None:
    split = numbered(np.arange(300) % 10)
    batches = CharacterBatches(split, batch_size=32, seed=0, workers=2)
    orders = []
    for epoch in range(2):
        images = np.concatenate([batch.images_BHW1 for batch in batches.epoch(epoch)])
        order = np.rint(images[:, 0, 0, 0] * 255 * 256 + images[:, 0, 1, 0] * 255).astype(int).tolist()
        assert sorted(order) == list(range(300))
        orders.append(order)
    assert orders[0] != orders[1]
    assert orders[0] != list(range(300))


def test_the_contact_sheet_is_a_png_that_shows_every_class(tmp_path: Path) -> None:
    split = numbered(np.arange(30) % 10)
    dataset = CharacterDataset(name="mnist", charset=DIGITS, train=split, validation=split, test=split)
    blank = tmp_path / "blank.png"
    characters_sheet(dataset, blank)
    split.images_NHW[split.labels_N == 6, 4:24, 4:24] = 255
    inked = tmp_path / "inked.png"
    characters_sheet(dataset, inked)
    before, after = (load_image(path).astype(int) for path in (blank, inked))
    rows = np.flatnonzero((before != after).any(axis=1))
    # only the seventh of ten rows changed: a tenth of the picture at most
    assert 0 < rows[-1] - rows[0] < before.shape[0] / 10


def test_a_contact_sheet_of_a_class_without_examples_is_drawn(tmp_path: Path) -> None:
    split = numbered([0, 1, 3])
    characters_sheet(
        CharacterDataset(name="mnist", charset=DIGITS, train=split, validation=split, test=split),
        tmp_path / "sheet.png",
    )
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"


def test_a_contact_sheet_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    split = numbered([0, 1])
    dataset = CharacterDataset(name="mnist", charset=DIGITS, train=split, validation=split, test=split)
    with pytest.raises(UserError, match=r"cannot write the contact sheet to .*No such file or directory"):
        characters_sheet(dataset, tmp_path / "missing" / "sheet.png")
