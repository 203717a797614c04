"""`ink_lines`: the same lines for the same numbers, other writers in each split, every line inside its image."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from common.data import ink_lines, prepared
from common.data.line_image import to_height
from common.data.lines import LineDataset
from common.data.prose import CHARACTERS
from common.spec import LSTMCTCSpec

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LineDataset:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "cache_folder", lambda: folder)
        return ink_lines.load(1210, height=28, max_characters=32)


def test_a_larger_training_set_holds_the_smaller_and_leaves_the_rest_alone(
    dataset: LineDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path)
    small = ink_lines.load(30, height=28, max_characters=32)
    assert [len(small.split(name)) for name in SPLITS] == [30, 500, 1000]
    for name in SPLITS:
        few, many = small.split(name), dataset.split(name)
        assert list(many.texts)[: len(few)] == list(few.texts)
        for i in range(len(few)):
            np.testing.assert_array_equal(few.images[i], many.images[i])


def test_no_image_is_in_two_splits_and_every_writer_writes_many_lines(dataset: LineDataset) -> None:
    pixels = []
    for name in SPLITS:
        split = dataset.split(name)
        pixels.append({image.tobytes() for image in split.images})
        assert split.writers_N is not None
        assert np.bincount(split.writers_N)[:-1].tolist() == [20] * int(split.writers_N.max())
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not pixels[a] & pixels[b]


def test_every_character_is_written_often_enough_to_be_learnt(dataset: LineDataset) -> None:
    written = "".join(dataset.train.texts)
    assert set(written) == set(CHARACTERS) == set(dataset.charset.characters)
    assert min(written.count(c) for c in CHARACTERS) >= 5  # of 1,210 lines, a seventh of the default
    assert all(1 <= len(text) <= 32 and text == text.strip() for text in dataset.train.texts)
    lengths = np.array([len(text) for text in dataset.train.texts])
    assert (lengths > 26).mean() > 0.08


def test_lines_are_drawn_at_the_size_and_place_that_a_scan_of_them_would_get(dataset: LineDataset) -> None:
    changes = []
    for image in dataset.test.images:
        scanned = to_height(np.pad(image, 9), 28)
        assert scanned is not None
        changes.append(abs(scanned.shape[1] / image.shape[1] - 1))
    assert np.median(changes) < 0.02
    assert np.quantile(changes, 0.99) < 0.08  # strokes that lie on each other count once in a scan, twice in drawing


def test_every_line_has_paper_at_either_end(dataset: LineDataset) -> None:
    for i, image in enumerate(dataset.test.images):
        assert image.max() > 180, dataset.test.names[i]
        assert not image[:, [0, -1]].any(), dataset.test.names[i]


def test_every_line_can_be_aligned(dataset: LineDataset) -> None:
    frames = LSTMCTCSpec(num_classes=2).frames
    for text, width in zip(dataset.train.texts, dataset.train.widths_N.tolist(), strict=True):
        assert frames(width) >= len(text) + sum(a == b for a, b in pairwise(text)), text


@pytest.mark.parametrize("height", [20, 28, 48])
def test_a_pen_two_units_wide_draws_lines_two_units_wide(height: int) -> None:
    along = np.linspace(0, 20, 64)
    two = np.stack([np.stack([along, np.full(64, y)], axis=1) for y in (-7.0, 7.0)])
    image = ink_lines._render(two, np.zeros((2, 64), np.int64), height, half_pen=1.0, softness=1.0)
    unit = height / (2 * 2.4 * np.hypot(7, 1 / 2))  # of pixels: the ink's rows spread by about 7
    assert abs(image.shape[1] - (22 * unit + 6)) <= 1
    thickness = image[:, image.shape[1] // 2].sum() / 255 / 2
    assert abs(thickness - 2 * unit) < 0.15
