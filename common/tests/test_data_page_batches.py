"""Training batches of pages depend on seed, epoch and index alone; image, targets and counts stay together."""

# H height, W width

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import UInt8

from common.batch import PageBatch
from common.data.page_augment import random_change
from common.data.page_batches import PageBatches, page_batch, reading_batches, rounded_up, true_maps
from common.data.page_dataset import LazyImages, PageSplit, page_split
from common.data.page_image import page_image, page_scale
from common.data.page_targets import CORE
from common.data.pages import page_darkness
from common.data.xml_pages import TextLine
from common.spec import UNetSpec

SPEC = UNetSpec(side=200, channels=(4, 4, 4))
UNKNOWN = np.array([(20.0, 300.0), (200.0, 300.0), (200.0, 340.0), (20.0, 340.0)])
Levels = UInt8[np.ndarray, "H W"]


def line(number: int, y: float, wide: int) -> TextLine:
    outline = np.array([(40, y - 24), (wide - 40, y - 24), (wide - 40, y + 6), (40, y + 6)], dtype=np.float64)
    baseline = np.array([(40, y), (wide - 40, y)], dtype=np.float64)
    return TextLine(number=number, text="text", outline=outline, baseline=baseline)


def picture(tall: int, wide: int, rows: range) -> Levels:
    """Paper with a bar of ink on each baseline."""
    picture_HW = np.full((tall, wide), 230, np.uint8)
    for y in rows:
        picture_HW[y - 12 : y, 40 : wide - 40 : 2] = 40
    return picture_HW


@pytest.fixture
def split() -> PageSplit:
    """Seven pages of different sizes, each with lines 40 pixels apart; the truth of a part of page 0 is not known."""
    sizes = [(400 + 10 * i, 300 - 7 * i) for i in range(7)]
    rows = range(60, 280, 40)

    def maker(tall: int, wide: int) -> Callable[[], Levels]:
        return lambda: picture(tall, wide, rows)

    return page_split(
        pictures=LazyImages([maker(*size) for size in sizes], keep=False),
        side=SPEC.side,
        scales=[page_scale(size[::-1], SPEC.side) for size in sizes],
        lines=[tuple(line(i + 1, y, wide) for i, y in enumerate(rows)) for _, wide in sizes],
        names=[f"page {i}" for i in range(7)],
        unknown=[(UNKNOWN,), *[()] * 6],
    )


def batches(split: PageSplit, workers: int = 0, *, seed: int = 0, augment: bool = True) -> PageBatches:
    return PageBatches(split, batch_size=3, seed=seed, spec=SPEC, workers=workers, augment=augment)


def content(batch: PageBatch) -> list[bytes]:
    return [array.tobytes() for array in batch.arrays]


def test_any_number_of_workers_makes_the_same_batches_and_each_epoch_others(split: PageSplit) -> None:
    first = [content(batch) for batch in batches(split).epoch(1)]
    assert len(first) == 3
    for workers in (1, 3):
        assert [content(batch) for batch in batches(split, workers).epoch(1)] == first
    assert [content(batch) for batch in batches(split).epoch(2)] != first
    assert [content(batch) for batch in batches(split, seed=1).epoch(1)] != first
    assert content(batches(split).batch(1, 2)) == first[2]  # whatever was asked for before


def test_every_page_is_in_an_epoch_once_and_all_batches_have_one_shape(split: PageSplit) -> None:
    made = batches(split)
    shapes = {batch.images_BHW1.shape[1:] for batch in made.epoch(0)}
    assert shapes == {(192, 152, 1)}  # 0.95 and 0.76 of 200, rounded up to multiples of 8
    assert made.shape == (192, 152)
    assert sorted(int(i) for part in made.order_of(0) for i in part) == list(range(7))


def test_nothing_counts_past_a_pages_own_size(split: PageSplit) -> None:
    smaller = 0
    for epoch in range(4):
        for batch in batches(split).epoch(epoch):
            for i, (rows, columns) in enumerate(batch.sizes_B2.tolist()):
                smaller += rows < 192
                h, w = -(-rows // 2), -(-columns // 2)
                assert batch.counts_Bhw[i, :h, :w].any()
                for array in (batch.counts_Bhw[i], batch.targets_BhwM[i]):
                    assert not array[h:].any()
                    assert not array[:, w:].any()
                assert not batch.images_BHW1[i, rows:].any()
                assert not batch.images_BHW1[i, :, columns:].any()
    assert smaller > 3, "some pages are smaller than the crop"


def test_the_targets_lie_on_the_ink_whatever_the_change(split: PageSplit) -> None:
    compared = 0
    for epoch in range(4):
        for batch in batches(split).epoch(epoch):
            core_BHW = batch.targets_BhwM[..., CORE].repeat(2, axis=1).repeat(2, axis=2) > 0
            for core_HW, image_HW1 in zip(core_BHW, batch.images_BHW1, strict=True):
                if core_HW.sum() > 200:
                    compared += 1
                    assert image_HW1[core_HW].mean() > 2.5 * image_HW1[~core_HW].mean()
    assert compared > 20


def test_a_dot_moves_to_where_its_point_moves() -> None:
    compared = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at = rng.uniform((20, 20), (180, 280))
        y_HW, x_HW = np.mgrid[:300, :200] + 0.5
        dot_HW = (255 * np.exp(-((x_HW - at[0]) ** 2 + (y_HW - at[1]) ** 2) / 18)).astype(np.uint8)
        change = random_change((300, 200), (256, 192), rng)
        assert change.size[0] <= 256
        assert change.size[1] <= 192
        moved = change.points(at[None])[0]
        if not (15 < moved[0] < change.size[1] - 15 and 15 < moved[1] < change.size[0] - 15):
            continue
        shown_HW = change.image(dot_HW).astype(np.float64)
        y_HW, x_HW = np.mgrid[: change.size[0], : change.size[1]] + 0.5
        centre = np.array([(shown_HW * x_HW).sum(), (shown_HW * y_HW).sum()]) / shown_HW.sum()
        np.testing.assert_allclose(centre, moved, atol=0.3)
        compared += 1
    assert compared > 8


def test_changes_reach_the_smallest_and_the_largest_scale() -> None:
    scales = []
    for seed in range(200):
        matrix_22 = random_change((800, 560), (640, 512), np.random.default_rng(seed)).matrix_22
        scales.append(np.sqrt(np.linalg.det(matrix_22)))
    assert 0.55 < min(scales) < 0.65
    assert 1.4 < max(scales) < 1.6


def test_without_augmentation_a_page_is_a_part_of_its_image(split: PageSplit) -> None:
    batch = batches(split, augment=False).example(0, 0)
    whole_HW = split.images[0]
    rows, columns = batch.sizes_B2[0].tolist()
    assert (rows, columns) == (192, min(152, whole_HW.shape[1]))
    part_HW = np.rint(255 * batch.images_BHW1[0, :rows, :columns, 0]).astype(np.uint8)
    places = [
        (top, left)
        for top in range(whole_HW.shape[0] - rows + 1)
        for left in range(whole_HW.shape[1] - columns + 1)
        if np.array_equal(whole_HW[top : top + rows, left : left + columns], part_HW)
    ]
    assert places


def test_the_truth_does_not_count_where_it_is_not_known(split: PageSplit) -> None:
    _, known_hw = true_maps(split, 0)
    assert 1 - known_hw.mean() == pytest.approx(180 * 40 / (400 * 300), rel=0.15)
    middle = UNKNOWN.mean(axis=0) * float(split.scales_N[0]) / 2
    assert not known_hw[int(middle[1]), int(middle[0])]
    assert true_maps(split, 1)[1].all()


def test_reading_batches_hold_each_page_unchanged_in_few_shapes(split: PageSplit) -> None:
    seen = list(reading_batches(split, step=64))
    assert [index for index, _ in seen] == list(range(7))
    for index, batch in seen:
        rows, columns = batch.sizes_B2[0].tolist()
        assert (rows, columns) == split.images[index].shape
        assert batch.images_BHW1.shape == (1, *rounded_up((rows, columns), 64), 1)
        np.testing.assert_array_equal(np.rint(255 * batch.images_BHW1[0, :rows, :columns, 0]), split.images[index])
    assert len({batch.images_BHW1.shape for _, batch in seen}) < 4


def test_a_batch_without_targets_counts_nothing() -> None:
    batch = page_batch([np.full((30, 21), 255, np.uint8)], size=(32, 32))
    assert batch.sizes_B2.tolist() == [[30, 21]]
    assert batch.images_BHW1.sum() == 30 * 21
    assert not batch.counts_Bhw.any()


# --- page images
def test_a_page_image_has_the_asked_for_size_and_the_pictures_proportions() -> None:
    image_HW, scale = page_image(picture(1200, 800, range(60, 1100, 40)), 300)
    assert image_HW.size == pytest.approx(300**2, rel=0.01)
    assert image_HW.shape == (round(1200 * scale), round(800 * scale))
    assert scale == pytest.approx(300 / np.sqrt(1200 * 800))


def test_a_shadow_and_a_negative_leave_the_page_image_as_it_is() -> None:
    plain_HW = picture(1200, 800, range(60, 1100, 40))
    shadow_HW = (plain_HW * np.linspace(1, 0.5, 800)).astype(np.uint8)
    expected = page_image(plain_HW, 300)[0].astype(float)
    for other_HW in (shadow_HW, 255 - plain_HW):
        found = page_image(other_HW, 300)[0].astype(float)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("table", [0, 60, 200], ids=["black", "dark", "light"])
def test_a_table_around_the_page_is_not_taken_for_paper(table: int) -> None:
    whole_HW = np.full((1500, 1500), table, np.uint8)
    whole_HW[200:1000, 300:900] = picture(800, 600, range(60, 700, 40))
    inside = (slice(250, 950), slice(360, 840))
    letters_HW = whole_HW[inside] == 40
    dark_HW = page_darkness(whole_HW)[inside]
    assert dark_HW[letters_HW].mean() > 120
    assert dark_HW[~letters_HW].mean() < 20
