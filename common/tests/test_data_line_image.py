"""An image of one line gets the form of the prepared lines."""

# H height, W width

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from common.data.line_image import darkness, full_contrast, to_height, to_line
from common.errors import UserError

HEIGHT = 32
Levels = UInt8[np.ndarray, "H W"]


def drawn(text: str, *, ink: int = 30, paper: int = 230, size: int = 48, border: int = 40) -> Levels:
    """The text, printed on paper with a border around it."""
    font = ImageFont.load_default(size)
    width = int(font.getlength(text))
    picture = Image.new("L", (width + 2 * border, 2 * size + 2 * border), paper)
    ImageDraw.Draw(picture).text((border, border + size // 2), text, fill=ink, font=font)
    return np.asarray(picture)


def difference(a: Levels, b: Levels) -> float:
    """Mean absolute difference relative to the amount of ink."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b).sum() / a.sum())


def test_a_line_is_ink_255_on_paper_0_from_its_first_stroke_to_its_last() -> None:
    line_HW = to_line(drawn("Hamburg", border=90), HEIGHT)
    assert (line_HW.dtype, len(line_HW)) == (np.dtype(np.uint8), HEIGHT)
    assert line_HW.max() == 255
    assert np.mean(line_HW == 0) > 0.5
    columns = np.flatnonzero((line_HW > 128).any(axis=0))
    assert 2 <= columns[0] <= 5
    assert 2 <= line_HW.shape[1] - 1 - columns[-1] <= 5
    rows = np.flatnonzero((line_HW > 128).any(axis=1))
    assert rows[0] <= 3
    assert rows[-1] >= HEIGHT - 4


def test_the_aspect_is_kept() -> None:
    picture = Image.new("L", (500, 200), 255)
    ImageDraw.Draw(picture).ellipse((200, 50, 299, 149), fill=0)
    line_HW = to_line(np.asarray(picture), HEIGHT)
    rows, columns = (np.flatnonzero((line_HW > 128).any(axis=axis)) for axis in (1, 0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1


def test_light_on_dark_gives_the_same_line_as_dark_on_light() -> None:
    page_HW = drawn("Quick fox")
    assert difference(to_line(page_HW, HEIGHT), to_line(255 - page_HW, HEIGHT)) < 0.02


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (90, 160), (120, 250)])
def test_contrast_and_brightness_do_not_matter(ink: int, paper: int) -> None:
    assert (
        difference(to_line(drawn("Quick fox"), HEIGHT), to_line(drawn("Quick fox", ink=ink, paper=paper), HEIGHT))
        < 0.05
    )


def test_neither_size_nor_border_matters() -> None:
    small_HW, large_HW = (
        to_line(drawn("Quick", size=size, border=border), HEIGHT) for size, border in ((40, 8), (80, 99))
    )
    assert abs(small_HW.shape[1] - large_HW.shape[1]) <= 2
    both = [np.asarray(Image.fromarray(line_HW).resize((90, HEIGHT))) for line_HW in (small_HW, large_HW)]
    assert difference(both[0], both[1]) < 0.15


def test_a_shadow_across_the_paper_is_no_ink() -> None:
    page_HW = drawn("Quick fox")
    shadow_W = np.linspace(1.0, 0.55, page_HW.shape[1])
    shaded_HW = np.rint(page_HW * shadow_W).astype(np.uint8)
    lit_HW, shady_HW = (to_line(image_HW, HEIGHT) > 128 for image_HW in (page_HW, shaded_HW))
    assert abs(lit_HW.shape[1] - shady_HW.shape[1]) <= 2
    assert 0.8 < shady_HW.sum() / lit_HW.sum() < 1.2


def test_grain_is_no_ink() -> None:
    page_HW = drawn("Quick fox")
    grain_HW = np.random.default_rng(0).normal(0, 4, page_HW.shape)
    grainy_HW = np.clip(np.rint(page_HW + grain_HW), 0, 255).astype(np.uint8)
    assert difference(to_line(page_HW, HEIGHT), to_line(grainy_HW, HEIGHT)) < 0.1


@pytest.mark.parametrize("text", ["Quick fox", "l", "noon"])
def test_a_line_in_this_form_stays_as_it_is(text: str) -> None:
    line_HW = to_line(drawn(text), HEIGHT)
    np.testing.assert_array_equal(to_line(line_HW, HEIGHT), line_HW)


def test_a_line_in_this_form_of_another_height_only_changes_its_size() -> None:
    line_HW = to_line(drawn("Quick fox"), HEIGHT)
    twice_HW = to_line(np.asarray(Image.fromarray(line_HW).resize((2 * line_HW.shape[1], 2 * HEIGHT))), HEIGHT)
    assert abs(twice_HW.shape[1] - line_HW.shape[1]) <= 2
    assert difference(line_HW, np.asarray(Image.fromarray(twice_HW).resize(line_HW.shape[::-1]))) < 0.2


def test_letters_keep_their_size_whether_or_not_tall_ones_are_among_them() -> None:
    # widths of the same letters; cropped to its ink, a line without tall ones would come out wider by two thirds
    flat = to_line(drawn("noonmoonnoon"), HEIGHT).shape[1]
    tall = to_line(drawn("noonmoonnool"), HEIGHT).shape[1] * 12 / 11.4  # an l is narrower than an n
    hung = to_line(drawn("noonmoonnoop"), HEIGHT).shape[1]
    for width in (tall, hung):
        assert 0.7 < width / flat < 1.3


@pytest.mark.parametrize("negative", [False, True], ids=["dark-on-light", "light-on-dark"])
def test_a_shadow_along_the_line_leaves_its_ink_as_dark_at_both_ends(negative: bool) -> None:
    page_HW = drawn("abcabcabcabcabcabc")
    shaded_HW = (page_HW * np.linspace(0.35, 1, page_HW.shape[1])).astype(np.uint8)
    plain_HW, line_HW = to_line(page_HW, HEIGHT), to_line(255 - shaded_HW if negative else shaded_HW, HEIGHT)
    assert abs(line_HW.shape[1] - plain_HW.shape[1]) <= 4
    third = plain_HW.shape[1] // 3
    for part in (slice(third), slice(-third, None)):
        assert line_HW[:, part].sum(dtype=int) == pytest.approx(plain_HW[:, part].sum(dtype=int), rel=0.25)


@pytest.mark.parametrize(("dot", "reach"), [(False, 2.4 + 2.4), (True, 3.4 + 2.4)], ids=["a bar", "a dot high above"])
def test_the_height_follows_the_spread_of_the_ink_within_limits(dot: bool, reach: float) -> None:
    ink_HW = np.zeros((140, 320), dtype=np.uint8)
    ink_HW[110:130, 10:310] = 255
    if dot:
        ink_HW[5:7, 100:102] = 255
    line_HW = to_height(ink_HW, HEIGHT)
    assert line_HW is not None
    spread = np.nonzero(ink_HW)[0].std()
    # 3 columns of paper at each end
    assert abs(line_HW.shape[1] - (300 * HEIGHT / (reach * spread) + 6)) <= 1


@pytest.mark.parametrize("height", [HEIGHT, 60])
@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_a_blank_image_is_a_user_error(height: int, level: int) -> None:
    with pytest.raises(UserError, match=rf"^the image \({height}×200 pixels\) is blank; expected one line in ink"):
        to_line(np.full((height, 200), level, dtype=np.uint8), HEIGHT)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (3, 3), (HEIGHT, 9)])
def test_a_speck_makes_a_line_too(shape: tuple[int, int]) -> None:
    image_HW = np.full(shape, 255, dtype=np.uint8)
    image_HW[shape[0] // 2, shape[1] // 2] = 0
    line_HW = to_line(image_HW, HEIGHT)
    assert (len(line_HW), line_HW.max()) == (HEIGHT, 255)


def test_darkness_is_what_the_ink_takes_from_the_paper() -> None:
    page_HW = np.tile(np.linspace(250, 150, 200).astype(np.uint8), (100, 1))
    inked_HW = page_HW.copy()
    inked_HW[40:50, 60:140] //= 2
    dark_HW = darkness(inked_HW, 48)
    np.testing.assert_allclose(dark_HW[42:48, 62:138], 255 / 2, atol=10)
    # the paper is known no finer than over half a window, 24 columns, in which it changes by up to 8%
    assert dark_HW[inked_HW == page_HW].max() <= 0.08 * 255


def test_full_contrast_needs_ink() -> None:
    assert full_contrast(np.zeros((0, 5), dtype=np.uint8)) is None
    assert full_contrast(np.arange(20, dtype=np.uint8).reshape(4, 5)) is None
    faint_HW = np.zeros((10, 10), dtype=np.uint8)
    faint_HW[4:6] = 40
    ink_HW = full_contrast(faint_HW)
    assert ink_HW is not None
    np.testing.assert_array_equal(ink_HW, np.where(faint_HW, 255, 0))
