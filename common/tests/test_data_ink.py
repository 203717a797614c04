"""`ink`: the same pages for the same writer, other writers in each split, characters as MNIST has them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from common.charset import ALPHANUMERIC
from common.data import ink
from common.errors import UserError
from common.tests.loading import load


def test_a_writers_page_depends_on_the_writer_alone() -> None:
    page = ink.draw_page(123)
    program = (
        "import hashlib; from common.data import ink; [ink.draw_page(w) for w in (5, 6)];"
        "print(hashlib.sha256(ink.draw_page(123).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(page.tobytes()).hexdigest()
    assert not np.array_equal(page, ink.draw_page(124))


def test_more_training_data_holds_the_smaller_amount_and_leaves_the_rest_alone() -> None:
    small, large = load("ink", examples=100), load("ink", examples=200)
    assert (len(small.train), len(large.train)) == (100, 200)
    np.testing.assert_array_equal(small.train.images_NHW, large.train.images_NHW[:100])
    for name in ("validation", "test"):
        np.testing.assert_array_equal(small.split(name).images_NHW, large.split(name).images_NHW)


def test_the_default_sizes_are_what_is_promised_and_no_writer_is_in_two_splits() -> None:
    dataset = load("ink")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20_026, 2_480, 4_960)
    writers, pixels = [], []
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        assert split.writers_N is not None
        writers.append(set(split.writers_N.tolist()))
        pixels.append({image.tobytes() for image in split.images_NHW})
        # every writer writes every class once
        pairs = set(zip(split.writers_N.tolist(), split.labels_N.tolist(), strict=True))
        assert len(pairs) == len(split) == 62 * len(writers[-1])
    assert [len(who) for who in writers] == [323, 40, 80]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not writers[a] & writers[b]
        assert not pixels[a] & pixels[b]


def test_characters_fill_the_box_of_mnist_about_its_centre_of_mass() -> None:
    images = np.concatenate([ink.draw_page(writer) for writer in range(30)]).astype(float)
    assert images.max(axis=(1, 2)).min() > 150
    inked = images > 64
    sides = np.stack([inked.any(axis=axis).sum(axis=1) for axis in (1, 2)]).max(axis=0)
    assert 17 <= np.percentile(sides, 1) <= np.median(sides) <= 20 <= np.percentile(sides, 99) <= 22
    assert images[:, [0, -1], :].max() < 64  # the margin is free
    assert images[:, :, [0, -1]].max() < 64
    mass = images / images.sum(axis=(1, 2), keepdims=True)
    for axis in (1, 2):
        centres = mass.sum(axis=axis) @ np.arange(28)
        assert abs(np.median(centres) - 14) < 0.15  # MNIST's own median is 14.0


def test_a_pen_of_two_pixels_draws_a_line_two_pixels_wide() -> None:
    # a long horizontal stroke through the middle of row 14: cover d from the middle is 0.5 + half pen - d
    xy = np.stack([np.linspace(4, 24, ink._POINTS), np.full(ink._POINTS, 14.5)], axis=1)[None]
    image = ink._render(xy, np.zeros((1, ink._POINTS), dtype=np.int64), half_pen=1.0, softness=1.0)[0]
    np.testing.assert_allclose(image[12:17, 14] / 255, [0, 0.5, 1, 0.5, 0], atol=0.02)


def test_each_class_is_drawn_from_its_own_character() -> None:
    points, _ = ink._strokes()
    faces = {name: i for i, name in enumerate(ink._FACES)}
    one = points[faces["rowmans"], ALPHANUMERIC.class_of["I"]]
    np.testing.assert_allclose(one[:, 0], one[0, 0])  # a plain I is one vertical line, a cap height tall
    np.testing.assert_allclose(one[-1, 1] - one[0, 1], (1 - 1 / ink._POINTS), atol=1e-12)


@pytest.mark.parametrize("data", ["ink:somewhere", "ink:"])
def test_ink_takes_no_folder(data: str) -> None:
    with pytest.raises(UserError, match="write ink alone"):
        load(data)
