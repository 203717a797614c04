"""IDX files, MNIST and EMNIST: their content, and one clear error for each kind of damage."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.charset import ALPHANUMERIC, DIGITS, LETTERS
from common.data import mnist
from common.data.idx import read_idx, write_idx
from common.errors import UserError
from common.tests.loading import load

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FOURHANDS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))


def write_mnist(folder: Path, *, suffix: str = ".gz", train: int = 20, test: int = 6) -> None:
    """A folder in MNIST's layout; image i of each part is filled with i + 1, its label is i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images = np.full((count, 28, 28), np.arange(1, count + 1, dtype=np.uint8)[:, None, None])
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", (np.arange(count) % 10).astype(np.uint8))


def write_emnist(folder: Path, split: str, mapping: str, labels: list[int]) -> None:
    """A folder in EMNIST's layout; the only ink of each image is at row 3, column 20."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    stored[:, 20, 3] = 255  # EMNIST stores columns as rows
    for part in ("train", "test"):
        write_idx(folder / f"emnist-{split}-{part}-images-idx3-ubyte.gz", stored)
        write_idx(folder / f"emnist-{split}-{part}-labels-idx1-ubyte.gz", np.array(labels, dtype=np.uint8))
    (folder / f"emnist-{split}-mapping.txt").write_text(mapping)


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
def test_an_idx_file_reads_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    array = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    write_idx(tmp_path / name, array)
    np.testing.assert_array_equal(read_idx(tmp_path / name, dims=3), array)


def test_the_header_is_big_endian_as_lecun_describes(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(bytes.fromhex("00000801 00000003 070809"))
    np.testing.assert_array_equal(read_idx(tmp_path / "labels", dims=1), [7, 8, 9])


HEADER = struct.pack(">4I", 0x803, 2, 28, 28)
DAMAGED = {
    "empty": (b"", "starts with nothing"),
    "labels instead of images": (struct.pack(">2I", 0x801, 4) + bytes(4), "starts with 00000801.*starts with 00000803"),
    "a web page": (b"<!DOCTYPE html><html></html>", "starts with 3c21444f"),
    "floats": (struct.pack(">4I", 0xD03, 1, 2, 2) + bytes(16), "starts with 00000d03"),
    "ends in the header": (HEADER[:9], "after 9 of 16 bytes"),
    "too few bytes": (HEADER + bytes(1567), "holds 1,567 bytes.*2×28×28 = 1,568"),
    "too many bytes": (HEADER + bytes(1569), r"more than the 1,568 bytes \(2×28×28\)"),
    "a huge header": (struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(9), "header must be corrupt"),
    "a large header": (struct.pack(">4I", 0x803, 2_000_000, 28, 28) + bytes(9), "holds 9 bytes"),
    "cut gzip": (gzip.compress(HEADER + os.urandom(1568))[:-700], "breaks off in the middle of its gzip"),
    "corrupt gzip": (gzip.compress(HEADER + bytes(1568))[:10] + b"\xff" * 30, "corrupt gzip"),
    "a gzip bomb": (gzip.compress(HEADER + bytes(50_000_000)), "more than the 1,568 bytes"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_idx_file_is_named_with_its_damage(tmp_path: Path, damage: str) -> None:
    content, message = DAMAGED[damage]
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_idx(path, dims=3)
    assert str(path) in str(raised.value)


def test_a_missing_idx_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is missing"):
        read_idx(tmp_path / "nowhere", dims=1)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_idx(tmp_path, dims=1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
def test_mnist_is_read_in_every_usual_spelling(tmp_path: Path, suffix: str, spelling: str) -> None:
    write_mnist(tmp_path, suffix=suffix)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", spelling)))
    dataset = load(f"mnist:{tmp_path}")
    assert (dataset.name, dataset.charset) == ("mnist", DIGITS)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (18, 2, 6)
    # image i is filled with i + 1 and labelled i % 10: images and labels stay together
    np.testing.assert_array_equal((dataset.train.images_NHW[:, 0, 0] - 1) % 10, dataset.train.labels_N)
    together = np.concatenate([dataset.train.images_NHW, dataset.validation.images_NHW])[:, 0, 0]
    np.testing.assert_array_equal(np.sort(together), np.arange(1, 21))
    np.testing.assert_array_equal(dataset.test.images_NHW[:, 5, 5], np.arange(1, 7))


def test_the_data_root_is_used_where_it_holds_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("FOURHANDS_DATA", str(tmp_path))
    assert mnist.locate(None) == tmp_path / "mnist"
    assert len(load("mnist").test) == 6


def test_a_file_missing_beside_the_others_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{LABELS}.gz").unlink()
    monkeypatch.setenv("FOURHANDS_DATA", str(tmp_path))
    for data in ("mnist", f"mnist:{tmp_path / 'mnist'}"):
        with pytest.raises(UserError, match=f"{LABELS} is missing"):
            load(data)


def test_error_names_both_counts_that_disagree(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_idx(tmp_path / f"{LABELS}.gz", np.zeros(19, dtype=np.uint8))
    with pytest.raises(UserError, match=r"holds 20 images but train-labels-idx1-ubyte.gz 19 labels"):
        load(f"mnist:{tmp_path}")


def test_a_label_out_of_range_is_named_with_its_index(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    labels = np.arange(20, dtype=np.uint8) % 10
    labels[13] = 10
    write_idx(tmp_path / f"{LABELS}.gz", labels)
    with pytest.raises(UserError, match=rf"{LABELS}.gz: label 13 is 10; expected 0 to 9"):
        load(f"mnist:{tmp_path}")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_idx(tmp_path / f"{IMAGES}.gz", np.zeros((20, 32, 30), dtype=np.uint8))
    with pytest.raises(UserError, match="32×30 pixels; expected 28×28"):
        load(f"mnist:{tmp_path}")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent is not a folder"):
        load(f"mnist:{tmp_path / 'absent'}")


def test_emnist_images_are_turned_upright(tmp_path: Path) -> None:
    write_emnist(tmp_path, "digits", "\n".join(f"{k} {48 + k}" for k in range(10)), list(range(10)))
    dataset = load(f"emnist_digits:{tmp_path}")
    expected = np.zeros((28, 28), dtype=np.uint8)
    expected[3, 20] = 255
    for image_HW in dataset.test.images_NHW:
        np.testing.assert_array_equal(image_HW, expected)
    assert dataset.charset == DIGITS
    assert dataset.train.images_NHW.flags.c_contiguous


def test_emnist_letters_start_at_label_one_and_are_lower_case(tmp_path: Path) -> None:
    mapping = "\n".join(f"{k} {64 + k} {96 + k}" for k in range(1, 27))
    write_emnist(tmp_path, "letters", mapping, [1, 26, 2])
    dataset = load(f"emnist_letters:{tmp_path}")
    assert dataset.charset == LETTERS
    assert dataset.charset.text(dataset.test.labels_N) == "azb"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (None, "mapping.txt is missing"),
        ("0 48\none 49\n", "line 2: 'one 49' is not a label and its code points"),
        ("0 48\n1\n", "line 2: '1' is not a label"),
        ("", "maps the labels"),
        ("0 48\n1 48\n", "more than once"),
    ],
    ids=["missing", "not a number", "no code point", "empty", "one character twice"],
)
def test_a_bad_emnist_mapping_is_named(tmp_path: Path, mapping: str | None, message: str) -> None:
    write_emnist(tmp_path, "mnist", mapping or "", [0, 1])
    if mapping is None:
        (tmp_path / "emnist-mnist-mapping.txt").unlink()
    with pytest.raises(UserError, match=message):
        load(f"emnist_mnist:{tmp_path}")


def test_real_characters_in_emnists_layout_are_read_whole(real_data: Callable[[str], Path]) -> None:
    dataset = load(f"emnist:{real_data('emnist_format')}")
    assert dataset.charset == ALPHANUMERIC
    assert (len(dataset.train) + len(dataset.validation), len(dataset.test)) == (7641, 1486)
    # upright capitals L have their foot in the lower half, T their bar in the upper
    for character, heavier in (("L", slice(14, 28)), ("T", slice(0, 14))):
        mean_HW = dataset.test.images_NHW[dataset.test.labels_N == ALPHANUMERIC.class_of[character]].mean(axis=0)
        assert mean_HW[heavier].sum() > 0.55 * mean_HW.sum()


def test_the_official_mnist_has_its_official_counts(real_data: Callable[[str], Path]) -> None:
    dataset = load(f"mnist:{real_data('mnist')}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54_000, 6_000, 10_000)
    # digits per class of the official test set, as its authors publish them
    np.testing.assert_array_equal(
        np.bincount(dataset.test.labels_N), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    )
    pixels = [
        {image.tobytes() for image in split.images_NHW} for split in (dataset.train, dataset.validation, dataset.test)
    ]
    assert not pixels[0] & pixels[1]
    assert not pixels[0] & pixels[2]
    assert not pixels[1] & pixels[2]
