"""`emnist_lines`: glyphs of the split's own EMNIST, side by side on a base line, overlaps combined by maximum."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from common.charset import ALPHANUMERIC
from common.data import emnist, emnist_lines, prepared
from common.data.characters import CharacterSplit
from common.data.idx import write_idx
from common.data.line_image import to_height
from common.spec import LSTMCTCSpec
from common.tests.loading import load_lines

FRAMES = LSTMCTCSpec(num_classes=64).frames
SPLITS = ("train", "validation", "test")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """EMNIST's files: full blocks, ink 100 for training and 200 for the test; no capital Q in the test."""
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path / "cache")
    folder = tmp_path / "emnist"
    folder.mkdir()
    lines = (f"{k} {ord(c)}" for k, c in enumerate(ALPHANUMERIC.characters))
    (folder / "emnist-byclass-mapping.txt").write_text("\n".join(lines))
    for part, ink, copies in (("train", 100, 30), ("test", 200, 2)):
        labels = np.tile(np.arange(62), copies)
        if part == "test":
            labels = labels[labels != ALPHANUMERIC.class_of["Q"]]
        images = np.zeros((len(labels), 28, 28), np.uint8)
        images[:, 4:24, 8:20] = ink
        write_idx(folder / f"emnist-byclass-{part}-images-idx3-ubyte", images)
        write_idx(folder / f"emnist-byclass-{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    return f"emnist_lines:{folder}"


@pytest.fixture
def as_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines keep the form in which they were composed, at twice their final height."""
    monkeypatch.setattr(emnist_lines, "to_height", lambda canvas, _: canvas)


@pytest.mark.usefixtures("as_composed")
def test_glyphs_come_from_the_same_split_and_overlaps_never_add_up(data: str) -> None:
    dataset = load_lines(data, height=28, examples=40)
    assert [len(dataset.split(name)) for name in SPLITS] == [40, 500, 1000]
    for name, ink in (("train", 100), ("validation", 100), ("test", 200)):
        # blocks that overlap would give 200 by adding, and 144 by wrapping 400 around
        assert {int(image.max()) for image in dataset.split(name).images} == {ink}
        assert max(np.unique(image).max() for image in dataset.split(name).images) == ink


def test_only_characters_that_every_split_has_are_written(data: str) -> None:
    dataset = load_lines(data, height=28, examples=400)
    for name in SPLITS:
        written = set("".join(dataset.split(name).texts))
        assert written <= set(ALPHANUMERIC.characters) - {"Q"} | {" "}
        assert len(written) > 40


def test_a_larger_training_set_holds_the_smaller_and_leaves_the_rest_alone(data: str) -> None:
    small, large = (load_lines(data, height=28, examples=n) for n in (10, 20))
    assert list(large.train.texts)[:10] == list(small.train.texts)
    for i in range(10):
        np.testing.assert_array_equal(large.train.images[i], small.train.images[i])
    for name in ("validation", "test"):
        assert list(large.split(name).texts) == list(small.split(name).texts)


def test_prepared_lines_need_no_characters(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_lines(data, height=28, examples=10)
    monkeypatch.setattr(emnist, "load", lambda *_: pytest.fail("EMNIST was read again"))
    assert list(load_lines(data, height=28, examples=10).train.texts) == list(before.train.texts)


def test_lines_have_the_form_of_scanned_ones(data: str) -> None:
    dataset = load_lines(data, height=28, examples=40)
    for image in dataset.train.images:
        assert image.shape[0] == 28
        assert image.max() == 255  # the blocks' ink is 100
        assert not image[:, [0, -1]].any()
        again = to_height(image, 28)
        assert again is not None
        assert abs(again.shape[1] / image.shape[1] - 1) < 0.05


@pytest.mark.usefixtures("as_composed")
@pytest.mark.parametrize("height", [16, 28, 64])
def test_letters_stand_on_one_base_line_with_the_heights_they_have_in_writing(height: int) -> None:
    block = np.zeros((1, 28, 28), np.uint8)
    block[0, 4:24, 8:20] = 255
    split = CharacterSplit(images_NHW=block, labels_N=np.zeros(1, np.int64))

    def rows(text: str) -> tuple[float, float]:
        glyphs = {c: np.zeros(1, np.int64) for c in text}
        found = []
        for seed in range(40):
            image = emnist_lines.compose_line(text, split, glyphs, height, np.random.default_rng(seed))
            assert len(image) == 2 * height
            inked = np.flatnonzero((image > 128).any(axis=1))
            found.append((inked[0], inked[-1] + 1))
        top, bottom = np.mean(found, axis=0) / height
        return top, bottom

    (high, base), (small, base_2), (deep, below) = rows("H"), rows("x"), rows("p")
    assert abs(base - 1) < 0.04
    assert abs(base_2 - 1) < 0.04
    assert abs(high - (1 - 0.7)) < 0.05
    assert abs(small - (1 - 0.7 * 0.66)) < 0.05
    assert abs(deep - small) < 0.04
    assert abs(below - (1 + 0.7 * 0.3)) < 0.05


def test_narrow_and_equal_letters_can_still_be_aligned() -> None:
    block = np.zeros((1, 28, 28), np.uint8)
    block[0, 4:24, 14] = 255
    split = CharacterSplit(images_NHW=block, labels_N=np.zeros(1, np.int64))
    for text in ("l", "ill", "Illinois 111", "llll"):
        glyphs = {c: np.zeros(1, np.int64) for c in text}
        for seed in range(40):
            width = emnist_lines.compose_line(text, split, glyphs, 28, np.random.default_rng(seed)).shape[1]
            assert FRAMES(width) >= len(text) + sum(a == b for a, b in pairwise(text))
