"""Batches of lines: few shapes, every line once, paper after a line's end, the same bytes for any number of workers."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest

from common.charset import Charset
from common.data.line_batches import LineBatches
from common.data.lines import LineSplit, Selected, bucket_widths, pad, pad_labels

LETTERS = Charset(tuple("abcdefghij"))


def a_split(count: int = 203, low: int = 20, high: int = 400) -> LineSplit:
    """Line i is filled with the value 1 + i % 255; wider lines have longer texts."""
    rng = np.random.default_rng(4)
    widths = rng.integers(low, high, count)
    return LineSplit(
        images=[np.full((8, w), 1 + i % 255, np.uint8) for i, w in enumerate(widths)],
        widths_N=widths,
        texts=["".join(rng.choice(list("abcdefghij"), w // 20)) for w in widths],
        names=[f"line {i}" for i in range(count)],
        writers_N=np.arange(count) // 10,
    )


def test_buckets_have_the_least_padding() -> None:
    widths = np.random.default_rng(5).geometric(0.01, 300)  # with a long tail
    limits = bucket_widths(widths, 3)

    def columns(limits: tuple[int, ...]) -> int:
        return int(np.array(limits)[np.searchsorted(limits, widths)].sum())

    widest = -(-widths.max() // 16) * 16
    others = [(*pair, widest) for pair in combinations(range(16, widest, 16), 2)]
    assert limits.tolist() in [list(other) for other in others]
    assert columns(tuple(limits)) == min(map(columns, others))


@pytest.mark.parametrize(
    ("widths", "limits"),
    [([33] * 7, [48]), ([1, 16, 17, 400], [16, 32, 400]), ([16, 32, 48, 64] * 2 + [80, 96], [16, 32, 48, 64, 96])],
    ids=["of one width", "of three", "of six"],
)
def test_buckets_of_a_few_widths(widths: list[int], limits: list[int]) -> None:
    assert bucket_widths(np.array(widths)).tolist() == limits


def test_padding_is_paper_after_each_lines_end() -> None:
    padded = pad([np.full((2, 3), 255, np.uint8), np.full((2, 1), 51, np.uint8)], 4)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:, 0, :, 0], np.array([[1, 1, 1, 0], [0.2, 0, 0, 0]], np.float32))
    np.testing.assert_array_equal(pad_labels([np.array([3, 1]), np.array([], int)], 3), [[3, 1, 0], [0, 0, 0]])


def test_an_epoch_holds_every_line_once_whole_and_in_the_shape_of_a_bucket() -> None:
    split = a_split()
    batches = LineBatches(split, LETTERS, batch_size=16, seed=1)
    orders = []
    for epoch in range(2):
        order, sizes = [], []
        for batch in batches.epoch(epoch):
            assert (batch.images_BHW1.shape[2], batch.labels_BL.shape[1]) in batches.shapes
            for image, width, label, length in zip(
                batch.images_BHW1, batch.widths_B, batch.labels_BL, batch.label_lengths_B, strict=True
            ):
                text = LETTERS.decode(label[:length])
                (i,) = [i for i in np.flatnonzero(split.widths_N == width) if split.texts[i] == text]
                np.testing.assert_allclose(image[:, :width], (1 + i % 255) / 255, rtol=1e-6)
                assert not image[:, width:].any()
                assert not label[length:].any()
                order.append(int(i))
            sizes.append(len(batch.widths_B))
        assert sorted(order) == list(range(203))
        assert sorted(sizes) == [11] + [16] * 12
        assert len(sizes) == len(batches)
        orders.append(order)
    assert orders[0] != orders[1]


@pytest.mark.parametrize("augmented", [False, True], ids=["as they are", "augmented"])
def test_batches_are_the_same_bytes_for_any_number_of_workers(augmented: bool) -> None:
    def change(image: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
        return image[:, : max(1, image.shape[1] - int(rng.integers(0, 9)))]

    def digest(workers: int, seed: int = 3, epochs: tuple[int, ...] = (0, 1)) -> str:
        content = hashlib.sha256()
        batches = LineBatches(
            a_split(), LETTERS, batch_size=16, seed=seed, workers=workers, augment=change if augmented else None
        )
        for epoch in epochs:
            for batch in batches.epoch(epoch):
                for array in batch.arrays:
                    content.update(array.tobytes())
        return content.hexdigest()

    assert len({digest(workers) for workers in (0, 1, 4)}) == 1
    assert len({digest(0), digest(0, seed=4), digest(0, epochs=(1, 0))}) == 3


def test_augmentation_differs_between_epochs_and_never_leaves_the_bucket() -> None:
    def stretch(image: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
        return np.full((len(image), int(rng.integers(image.shape[1], width + 1))), image[0, 0], np.uint8)

    batches = LineBatches(a_split(), LETTERS, batch_size=16, seed=0, augment=stretch)
    widths = []
    for epoch in range(2):
        seen: dict[tuple[int, bytes], int] = {}
        for batch in batches.epoch(epoch):
            assert batch.widths_B.max() <= batch.images_BHW1.shape[2]
            for image, label, width in zip(batch.images_BHW1, batch.labels_BL, batch.widths_B, strict=True):
                seen[round(float(image[0, 0, 0]) * 255), LETTERS.decode(label[label > 0]).encode()] = int(width)
        widths.append(seen)
    assert widths[0].keys() == widths[1].keys()
    assert sum(widths[0][key] != widths[1][key] for key in widths[0]) > 100


def test_taking_lines_keeps_what_belongs_together() -> None:
    split = a_split()
    chosen = split.take(np.array([7, 3, 11])).take(np.array([2, 0]))
    assert isinstance(chosen.images, Selected)
    assert list(chosen.names) == ["line 11", "line 7"]
    assert chosen.texts == [split.texts[11], split.texts[7]]
    assert chosen.writers_N is not None
    assert chosen.writers_N.tolist() == [1, 0]
    for image, width, i in zip(chosen.images, chosen.widths_N, (11, 7), strict=True):
        np.testing.assert_array_equal(image, split.images[i])
        assert image.shape[1] == width
