"""Augmentation of lines: what stays, what changes, and where the pixels move to."""

from __future__ import annotations

import numpy as np
import pytest

from common.data import augment
from common.data.augment import augment_line

HEIGHT = 28


def a_line(width: int = 200) -> np.ndarray:
    """Blots with paper around them."""
    image = np.zeros((HEIGHT, width), np.uint8)
    for x in range(6, width - 10, 12):
        image[8:20, x : x + 3] = 255
        image[12:15, x : x + 8] = 200
    return image


def remapped(image: np.ndarray, drawn: np.ndarray, width: int, shear: float = 0.25, elastic: float = 0.0) -> np.ndarray:
    return augment._remap(image, np.asarray(drawn), width, shear, elastic, np.random.default_rng(0))


def test_the_same_generator_gives_the_same_line_and_others_give_others() -> None:
    image = a_line()
    made = [augment_line(image, np.random.default_rng(seed), 240) for seed in (1, 1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(made[0], made[1])
    assert len({one.tobytes() for one in made}) >= 4


@pytest.mark.parametrize(("old", "most"), [(200, 200), (200, 210), (200, 400), (17, 17), (17, 32), (1, 16), (600, 601)])
def test_height_is_kept_and_the_width_stays_within_its_bounds(old: int, most: int) -> None:
    image = a_line(old)
    widths = []
    for seed in range(200):
        changed = augment_line(image, np.random.default_rng(seed), most)
        assert changed.dtype == np.uint8
        assert len(changed) == HEIGHT
        assert 0.8 * old <= changed.shape[1] <= most
        widths.append(changed.shape[1])
    assert old < 20 or len(set(widths)) > 20


def test_hardly_any_ink_leaves_the_image() -> None:
    image = a_line()
    for seed in range(200):
        changed = augment_line(image, np.random.default_rng(seed), 260).astype(int)
        ends = np.concatenate([changed[[0, -1]].ravel(), changed[:, [0, -1]].ravel()])
        assert ends.sum() < 0.03 * changed.sum(), seed


def test_the_image_that_is_given_is_left_alone() -> None:
    image = a_line()
    image.flags.writeable = False  # like an image from a file
    for seed in range(20):
        augment_line(image, np.random.default_rng(seed), 240)


def test_paper_stays_paper() -> None:
    for seed in range(50):
        assert not augment_line(np.zeros((HEIGHT, 90), np.uint8), np.random.default_rng(seed), 120).any()


def test_without_any_change_resampling_is_the_identity() -> None:
    image = a_line()
    np.testing.assert_array_equal(remapped(image, np.zeros(11), 400), image)


def test_sampling_between_pixels_is_bilinear_with_paper_outside() -> None:
    image = np.array([[100, 200], [0, 40]], np.uint8)
    x = np.array([[0.5, 0.0, 0.25, -0.5], [-3.0, 1.5, 9.0, 1.0]])
    y = np.array([[0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 1.5]])
    # (1.5, 0) and (-0.5, 0) lie halfway between ink and paper, (1, 1.5) halfway below 40
    np.testing.assert_array_equal(augment._sample(image, x, y), [[150, 50, 68, 50], [0, 100, 0, 20]])


def test_shear_leans_the_top_to_the_right_about_the_middle_of_the_ink() -> None:
    image = np.zeros((HEIGHT, 101), np.uint8)
    image[4:24, 50] = 255
    drawn = np.zeros(11)
    drawn[1] = 1.0
    sheared = remapped(image, drawn, 200).astype(float)
    centres = (sheared @ np.arange(sheared.shape[1]) / np.maximum(sheared.sum(axis=1), 1))[5:23]
    np.testing.assert_allclose(np.diff(centres), -0.25, atol=0.1)  # a quarter of a column per row


def test_the_largest_shear_is_a_setting() -> None:
    image = np.zeros((HEIGHT, 101), np.uint8)
    image[4:24, 50] = 255
    drawn = np.zeros(11)
    drawn[1] = 1.0
    sheared = remapped(image, drawn, 200, shear=0.5).astype(float)
    centres = (sheared @ np.arange(sheared.shape[1]) / np.maximum(sheared.sum(axis=1), 1))[5:23]
    np.testing.assert_allclose(np.diff(centres), -0.5, atol=0.1)


def test_elastic_distortion_displaces_by_its_standard_deviation_and_bends_between_the_points() -> None:
    rng = np.random.default_rng(0)
    moved = np.stack([augment._displacement(HEIGHT, 90, 2.0, rng) for _ in range(400)])
    step = round(augment._GRID * HEIGHT)
    # at a point of the grid the deviation is the setting's; halfway between two, of two independent ones, √½ of it
    assert moved[:, 0, 0].std() == pytest.approx(2.0, rel=0.1)
    assert moved[:, 0, round(0.5 * step)].std() == pytest.approx(2.0 * 0.5**0.5, rel=0.15)
    assert abs(np.diff(moved, axis=2)).max() < 2 * 5 * 2.0 / step  # no jumps
    image = a_line()
    assert (remapped(image, np.zeros(11), 240, elastic=0.03) != image).mean() > 0.05
    assert not remapped(np.zeros_like(image), np.zeros(11), 240, elastic=0.03).any()


def test_without_elastic_distortion_the_same_numbers_are_drawn_as_ever() -> None:
    """Golden batches depend on it."""
    image = a_line()
    plain, elastic = (np.random.default_rng(3) for _ in range(2))
    augment_line(image, plain, 240)
    elastic.random(3)
    elastic.uniform(-1, 1, 11)
    elastic.uniform(-1, 1, 3)
    assert plain.random() == elastic.random()


def test_stretching_takes_no_more_columns_than_there_are() -> None:
    drawn = np.zeros(11)
    drawn[0] = 1.0
    assert remapped(a_line(100), drawn, 400).shape[1] == 120
    assert remapped(a_line(100), drawn, 110).shape[1] == 110
    assert remapped(a_line(100), -drawn, 400).shape[1] == 85


def test_a_thicker_pen_leaves_more_ink_and_a_thinner_one_less() -> None:
    image = a_line()
    thin, thick = (augment._change_pen(image, thicker).astype(int).sum() for thicker in (-1.0, 1.0))
    assert thin < 0.9 * image.astype(int).sum() < 1.1 * image.astype(int).sum() < thick
    assert augment._change_pen(image, -1.0).max() > 100  # no stroke is lost
