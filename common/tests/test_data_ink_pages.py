"""`ink_pages`: the truth is where the ink is, the same pages for the same numbers, each kind of page at its rate."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from common.data import ink_layout, ink_paper, ink_photo, prose
from common.data.config import DataConfig
from common.data.dataset import SPLITS
from common.data.ink_hand import WRITABLE, X_HEIGHT, Hand, Strokes, draw_hand, ink, stroke_along, width_of, write
from common.data.ink_layout import PagePlan, Words, draw_plan, fill
from common.data.ink_pages import _outline, drawn_page
from common.data.ink_photo import PhotoPlan, draw_photo, take
from common.data.page_dataset import PageDataset
from common.data.pages import page_darkness
from common.data.xml_pages import Points
from common.errors import UserError
from common.spec import UNetSpec
from common.tasks import PAGES

WORDS = prose.words("train")
SIZE = (660, 470)


def mask_of(outline: Points, size: tuple[int, int]) -> np.ndarray:
    picture = Image.new("L", size[::-1])
    ImageDraw.Draw(picture).polygon([tuple(p) for p in outline.tolist()], fill=1, outline=1)
    return np.asarray(picture) == 1


def page(seed: int, height: int = SIZE[0]) -> tuple[np.ndarray, list]:
    return drawn_page(np.random.default_rng([1, seed]), draw_hand(np.random.default_rng([2, seed])), WORDS, height)


@cache
def load_pages(examples: int) -> PageDataset:
    return PAGES.load("ink_pages", UNetSpec(side=196), DataConfig(examples=examples))


def plan_of(seed: int, **changes: object) -> PagePlan:
    return replace(draw_plan(SIZE, (8, 16), np.random.default_rng(seed)), **changes)  # type: ignore[arg-type]


# --- the truth is where the ink is
def line_pictures(seed: int) -> list[tuple[np.ndarray, Points, Points, float]]:
    """Ink of each line alone in the picture of a phone, its outline, its baseline, and its cap height."""
    rng = np.random.default_rng([3, seed])
    hand = draw_hand(rng)
    written = fill(plan_of(seed, struck_out=False), hand, Words(WORDS, rng), rng).lines
    outlines = [_outline(line, hand.half_pen * line.cap + hand.softness / 2) for line in written]
    plan = photo(seed, np.concatenate(outlines), shadow=0.0, noise=0.0, quality=None, desk=255.0, blur=0.0)
    found = []
    for line, outline in zip(written, outlines, strict=True):
        flat = ink(line.strokes, SIZE, line.cap, hand.half_pen * line.cap, hand.softness)
        placed = 255.0 - take(plan, (255 * (1 - flat)).astype(np.float32), np.random.default_rng(0))
        placed[placed < 40] = 0  # what lies around the paper
        found.append((placed, plan.distortion.forward(outline), plan.distortion.forward(line.baseline), line.cap))
    return found


def photo(seed: int, keep: Points, **changes: object) -> PhotoPlan:
    """A plan of a phone's picture."""
    for more in range(100):
        plan = draw_photo(SIZE, keep, np.random.default_rng([seed, more]))
        if plan.phone:
            return replace(plan, **changes)  # type: ignore[arg-type]
    raise AssertionError("no picture is a phone's")


@pytest.mark.parametrize("seed", range(3))
def test_all_ink_of_a_line_is_inside_its_outline_and_little_else(seed: int) -> None:
    lines = line_pictures(seed)
    assert lines
    for placed, outline, _, cap in lines:
        inside = mask_of(outline, SIZE)
        assert placed[inside].sum() > 0.998 * placed.sum()
        # the outline is close to the ink: its ends are where the ink ends
        columns = np.flatnonzero((placed * inside).any(axis=0))
        assert abs(columns[0] - outline[:, 0].min()) < 0.25 * cap + 2
        assert abs(columns[-1] - outline[:, 0].max()) < 0.25 * cap + 2


def profile(placed: np.ndarray, baseline: Points, cap: float) -> np.ndarray:
    """Mean ink at 40 heights above and below the baseline, from -1.5 to 0.5 cap heights, downwards."""
    x = np.arange(np.ceil(baseline[0, 0]), np.floor(baseline[-1, 0]))
    y = np.interp(x, baseline[:, 0], baseline[:, 1])
    offsets = np.linspace(-1.5, 0.5, 41) * cap
    rows = np.clip((y + offsets[:, None]).astype(int), 0, len(placed) - 1)
    profile: np.ndarray = placed[rows, x.astype(int)].mean(axis=1)
    return profile


def test_baselines_are_where_the_small_letters_end() -> None:
    steepest = []
    for seed in range(4):
        for placed, _, baseline, cap in line_pictures(seed):
            assert (np.diff(baseline[:, 0]) > 0).all()
            if baseline[-1, 0] - baseline[0, 0] > 12 * cap:
                shares = profile(placed, baseline, cap)
                heights = np.linspace(-1.5, 0.5, 41)
                letters = shares[(heights > -X_HEIGHT + 0.1) & (heights < -0.1)].mean()
                assert shares[(heights > 0.15)].mean() < 0.5 * letters
                drop = np.convolve(np.diff(shares), np.ones(3), "same")
                steepest.append(heights[np.argmin(drop)] + 0.025)
    assert len(steepest) > 10
    assert abs(np.median(steepest)) < 0.1
    assert np.mean(np.abs(steepest) < 0.2) > 0.9


def test_the_picture_of_a_page_has_its_ink_above_its_baselines() -> None:
    """Whole pages with all that is on them, by the function that draws the data set."""
    ratios = []
    for seed in range(8):
        picture, lines = page(seed)
        dark = page_darkness(picture)
        for line in lines:
            assert (line.outline >= 0).all()
            assert (line.outline <= picture.shape[::-1]).all()
            upper = line.outline[: len(line.outline) // 2]
            height = np.median(np.interp(upper[:, 0], *line.baseline.T) - upper[:, 1])
            shares = profile(dark, line.baseline, float(height))
            ratios.append(shares[22:29].mean() / max(shares[32:39].mean(), 1e-9))  # 0.4 to 0.1 above, 0.1 to 0.4 below
    assert len(ratios) > 100
    assert np.median(ratios) > 3
    assert np.mean(np.array(ratios) > 1.3) > 0.93


def test_a_distortion_and_its_inverse_agree() -> None:
    points = np.random.default_rng(0).uniform(0, 400, (50, 2))
    for seed in range(5):
        distortion = photo(seed, points).distortion
        np.testing.assert_allclose(distortion.backward(distortion.forward(points)), points, atol=1e-8)


@pytest.mark.parametrize("curls", [True, False])
def test_a_point_of_the_paper_is_where_the_distortion_says(curls: bool) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        plan = photo(seed, np.array([(100.0, 100.0), (300.0, 500.0)]), shadow=0.0, noise=0.0, blur=0.0, quality=None)
        if not curls:  # drawn by another function of Pillow
            plan = replace(plan, distortion=replace(plan.distortion, height=0.0))
        for x, y in rng.uniform(60, 400, (6, 2)):
            paper = np.full(SIZE, 255, np.float32)
            rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
            paper -= 250 * np.exp(-0.5 * ((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / 3**2)
            u, v = plan.distortion.forward(np.array([(x, y)]))[0]
            if not (12 < u < SIZE[1] - 12 and 12 < v < SIZE[0] - 12):
                continue
            top, left = int(v) - 10, int(u) - 10
            spot = 255.0 - take(plan, paper, np.random.default_rng(0))[top : top + 20, left : left + 20]
            share = spot / spot.sum()
            assert abs(share.sum(axis=0) @ (np.arange(20) + 0.5) + left - u) < 0.15
            assert abs(share.sum(axis=1) @ (np.arange(20) + 0.5) + top - v) < 0.15


# --- the same for the same numbers
def test_a_page_depends_on_its_numbers_alone() -> None:
    first, lines = page(5)
    page(6)
    again, same = page(5)
    np.testing.assert_array_equal(first, again)
    assert [line.text for line in lines] == [line.text for line in same]
    for a, b in zip(lines, same, strict=True):
        np.testing.assert_array_equal(a.baseline, b.baseline)
        np.testing.assert_array_equal(a.outline, b.outline)
    other, _ = page(6)
    assert first.shape != other.shape or (first != other).any()


# --- the data set
def test_the_splits_share_no_writer_and_no_picture() -> None:
    dataset = load_pages(9)
    assert [len(dataset.split(name)) for name in SPLITS] == [9, 40, 80]
    assert dataset.train.writers_N is not None
    assert dataset.train.writers_N.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    names = [set(dataset.split(name).names) for name in SPLITS]
    assert len(set.union(*names)) == 129
    pictures = [dataset.split(name).pictures[0] for name in SPLITS]
    hands = [draw_hand(np.random.default_rng([part, 0])).points_KP2 for part in (1, 2, 3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert pictures[a].shape != pictures[b].shape or (pictures[a] != pictures[b]).any()
        assert (hands[a] != hands[b]).any()
    texts = [{line.text for i in range(9) for line in dataset.split(name).lines[i]} for name in SPLITS]
    long = [{text for text in found if len(text) > 15} for found in texts]
    assert min(map(len, long)) >= 5
    assert not (long[0] & long[1] | long[0] & long[2] | long[1] & long[2])


def test_more_training_pages_hold_the_fewer_and_leave_the_rest_alone() -> None:
    few, many = load_pages(3), load_pages(9)
    for name in SPLITS:
        short, long = few.split(name), many.split(name)
        assert list(long.names[: len(short)]) == list(short.names)
        for i in (0, len(short) - 1):
            np.testing.assert_array_equal(short.pictures[i], long.pictures[i])
            for a, b in zip(short.lines[i], long.lines[i], strict=True):
                assert a.text == b.text
                np.testing.assert_array_equal(a.baseline, b.baseline)


def test_a_page_of_a_split_has_the_lines_that_its_picture_shows() -> None:
    split = load_pages(9).test
    ratios = []
    for i in range(10):
        picture, lines = split.pictures[i], split.lines[i]
        height, width = picture.shape
        assert split.scales_N[i] == pytest.approx(196 / np.sqrt(height * width))
        assert abs(split.images[i].shape[0] - height * split.scales_N[i]) <= 1
        inside = np.zeros(picture.shape, bool)
        for line in lines:
            inside |= mask_of(line.outline, picture.shape)
        dark = page_darkness(picture)
        ratios.append(dark[inside].mean() / dark[~inside].mean())
    assert min(ratios) > 1.5  # a page may have noise and squares
    assert np.median(ratios) > 4


# --- reading order
def test_the_left_column_is_read_first_and_notes_after_the_column_they_stand_beside() -> None:
    checked = 0
    for seed in range(200):
        plan = plan_of(seed)
        if len(plan.columns) < 2 or None in plan.notes:
            continue
        rng = np.random.default_rng(seed)
        lines = fill(plan, draw_hand(rng), Words(WORDS, rng), rng).lines
        middles = [float(line.baseline[:, 0].mean()) for line in lines]
        areas = [area for pair in zip(plan.columns, plan.notes, strict=True) for area in pair]
        at = [next(i for i, a in enumerate(areas) if a is not None and a.left <= x <= a.right) for x in middles]
        assert at == sorted(at)
        assert {0, 1, 2, 3} == set(at)
        for i in range(4):
            heights = [line.baseline[0, 1] for line, where in zip(lines, at, strict=True) if where == i]
            assert heights == sorted(heights)
        checked += 1
    assert checked >= 3


def test_lines_have_numbers_in_order_and_text_that_the_hand_can_write() -> None:
    for seed in range(8):
        _, lines = page(seed)
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        for line in lines:
            assert set(line.text) <= WRITABLE
            assert line.text == line.text.strip() != ""


# --- every kind of page at its rate
def near(count: int, total: int, share: float) -> bool:
    """Whether a count is within four standard deviations of its mean."""
    return bool(abs(count - total * share) <= 4 * np.sqrt(total * share * (1 - share)))


def test_layouts_are_drawn_at_their_rates() -> None:
    plans = [plan_of(seed) for seed in range(500)]
    rates = {
        "two columns": (ink_layout.TWO_COLUMNS, sum(len(plan.columns) == 2 for plan in plans)),
        "notes": (ink_layout.NOTES, sum(plan.notes[0] is not None for plan in plans)),
        "few lines": (ink_layout.FEW_LINES, sum(plan.lines <= 5 for plan in plans)),
        "struck out": (ink_layout.STRUCK_OUT, sum(plan.struck_out for plan in plans)),
        "dashes": (ink_layout.DASHES, sum(plan.dashes for plan in plans)),
        "frame": (ink_layout.FRAME, sum(plan.frame for plan in plans)),
        "signature": (ink_layout.SIGNATURE, sum(plan.signature for plan in plans)),
    }
    assert {name for name, (share, count) in rates.items() if not near(count, len(plans), share)} == set()


def test_papers_are_drawn_at_their_rates() -> None:
    plans = [ink_paper.draw_paper(SIZE, 50.0, 30.0, np.random.default_rng(seed)) for seed in range(500)]
    rates = {
        **{kind: (share, sum(p.kind == kind for p in plans)) for kind, share in ink_paper.KINDS.items()},
        "heading": (ink_paper.HEADING, sum(plan.heading for plan in plans)),
        "stamp": (ink_paper.STAMP, sum(plan.stamp for plan in plans)),
        "show through": (ink_paper.SHOW_THROUGH, sum(plan.show_through > 0 for plan in plans)),
        "folds": (ink_paper.FOLDS, sum(plan.folds > 0 for plan in plans)),
        "holes": (ink_paper.HOLES, sum(plan.holes > 0 for plan in plans)),
    }
    assert {name for name, (share, count) in rates.items() if not near(count, len(plans), share)} == set()


def test_a_phone_does_what_phones_do_at_its_rates() -> None:
    keep = np.array([(100.0, 100.0), (300.0, 500.0)])
    plans = [draw_photo(SIZE, keep, np.random.default_rng(seed)) for seed in range(500)]
    phones = [plan for plan in plans if plan.phone]
    assert near(len(phones), len(plans), ink_photo.PHONE)
    rates = {
        "shadow": (ink_photo.SHADOW, sum(plan.shadow > 0 for plan in phones)),
        "blur": (ink_photo.BLUR, sum(plan.blur > 0 for plan in phones)),
        "noise": (ink_photo.NOISE, sum(plan.noise >= 2 for plan in phones)),
    }
    assert {name for name, (share, count) in rates.items() if not near(count, len(phones), share)} == set()
    assert all(plan.quality is not None for plan in phones)
    degrees = np.array([plan.degrees for plan in phones])
    assert abs(degrees).max() <= 5
    assert degrees.min() < -4.5
    assert degrees.max() > 4.5
    assert all(plan.shadow == plan.blur == 0 and plan.quality is None for plan in plans if not plan.phone)


# --- every effect is seen
def test_shadow_blur_noise_and_desk_are_seen_in_the_picture() -> None:
    rng = np.random.default_rng(0)
    paper = np.where(rng.random(SIZE) < 0.1, 40, 230).astype(np.float32)
    keep = np.array([(100.0, 100.0), (300.0, 500.0)])
    plain = photo(3, keep, shadow=0.0, blur=0.0, noise=0.0, quality=None, desk=230.0)

    def taken(**changes: object) -> np.ndarray:
        return take(replace(plain, **changes), paper, np.random.default_rng(1)).astype(float)  # type: ignore[arg-type]

    clean = taken()
    edges = np.abs(np.diff(clean, axis=1)).mean()
    assert taken(shadow=0.5).mean() < 0.85 * clean.mean()
    assert taken(shadow=0.5)[::8, ::8].std() > clean[::8, ::8].std() * 0.9
    assert np.abs(np.diff(taken(blur=1.2), axis=1)).mean() < 0.6 * edges
    assert 3 < np.std(taken(noise=5.0) - clean) < 6
    assert 0 < np.abs(taken(quality=40) - clean).mean() < 20
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    assert min(taken(desk=60.0)[corner] for corner in corners) < 120 < min(clean[corner] for corner in corners)


@pytest.mark.parametrize("degrees", [-5.0, 3.0])
def test_a_page_is_turned_clockwise_by_its_degrees(degrees: float) -> None:
    matrix = ink_photo._matrix(SIZE, degrees, 0.9, np.zeros((4, 2)), np.zeros(2))
    distortion = ink_photo.Distortion(matrix=matrix, height=0.0, length=1.0, phase=0.0)
    (x, y), (u, v) = distortion.forward(np.array([(100.0, 200.0), (300.0, 200.0)]))
    assert np.degrees(np.arctan2(v - y, u - x)) == pytest.approx(degrees)
    assert np.hypot(u - x, v - y) == pytest.approx(180)
    (x, y), (u, v) = distortion.forward(np.array([(100.0, 200.0), (100.0, 400.0)]))
    assert np.degrees(np.arctan2(x - u, v - y)) == pytest.approx(degrees)
    assert np.hypot(u - x, v - y) == pytest.approx(180)


@pytest.mark.parametrize(("kind", "across", "down"), [("plain", 0, 0), ("ruled", 19, 0), ("squared", 20, 16)])
def test_rules_and_squares_are_drawn(kind: ink_paper.Kind, across: int, down: int) -> None:
    rng = np.random.default_rng(0)
    plan = replace(
        ink_paper.draw_paper(SIZE, 90.0, 30.0, rng), kind=kind, margin_line=None, grain=0.0, first=90.0, distance=30.0
    )
    paper = ink_paper.blank(replace(plan, darkness=0.5, level=240.0), SIZE, rng)
    # the share of dark pixels is nearly 1 in a row of a rule, and small in the others
    rows, columns = ((paper < 200).mean(axis=axis) > 0.9 for axis in (1, 0))
    counts = [int((np.diff(np.flatnonzero(side), prepend=-9) > 2).sum()) for side in (rows, columns)]
    assert counts[0] == pytest.approx(across + (kind == "squared") * 2, abs=2)
    assert counts[1] == pytest.approx(down, abs=1)


def test_a_struck_out_word_is_marked_in_the_text_and_has_more_ink() -> None:
    marked = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        plan = plan_of(seed, struck_out=True, lines=99)
        for line in fill(plan, draw_hand(rng), Words(WORDS, rng), rng).lines:
            written = line.text.replace(" ", "")
            for word in line.text.split(" "):
                if word.startswith(">") and word.endswith("<") and len(word) > 2:
                    marked += 1
                    assert len(line.strokes.xy_LP2) > len(written.replace(">", "").replace("<", ""))
    assert marked > 10


def test_dashes_frames_and_signatures_are_strokes_and_no_lines() -> None:
    for change in ("dashes", "frame", "signature"):
        without = dict.fromkeys(("dashes", "frame", "signature", "struck_out"), False)
        pages = [
            [
                fill(plan_of(seed, lines=4, **(without | {change: on})), draw_hand(rng), Words(WORDS, rng), rng)
                for seed in range(8)
                for rng in [np.random.default_rng(seed)]
            ]
            for on in (False, True)
        ]
        strokes = [sum(len(part.xy_LP2) for page in found for part in page.others) for found in pages]
        assert strokes[1] > strokes[0] + 8, change
        plans = [plan_of(seed, lines=4) for seed in range(8)]
        for plan, found in zip(plans, pages[1], strict=True):
            if plan.notes[0] is None:
                assert len(found.lines) <= 4 * len(plan.columns)


# --- the hand
def test_a_hand_writes_every_character_and_accents_stand_above_their_letter() -> None:
    hand = draw_hand(np.random.default_rng(0))

    def top(text: str) -> float:
        strokes, _ = write(hand, text, 100.0, 0.0, np.zeros_like, np.random.default_rng(1))
        return float(strokes.xy_LP2[..., 1].min())

    for character in sorted(WRITABLE - {" "}):
        strokes, ends = write(hand, character, 20.0, 5.0, np.zeros_like, np.random.default_rng(1))
        assert np.isfinite(strokes.xy_LP2).all(), character
        assert ends.shape == (1, 2)
        assert np.ptp(strokes.xy_LP2[..., 0]) < 60, character
    for plain, accented in zip("eeeuaoE", "éèêüàôÉ", strict=True):
        assert top(accented) < top(plain) - 8, accented
    assert width_of(hand, "œ") > width_of(hand, "e")


def test_a_stroke_is_as_thick_as_its_pen() -> None:
    stroke = stroke_along(np.array([(20.0, 30.0), (180.0, 30.0)]), 1.0)
    drawn = ink(stroke, (60, 200), 20.0, half_pen=1.5, softness=1.0)
    np.testing.assert_allclose(drawn[:, 40:160].sum(axis=0), 3.0, atol=0.2)
    assert drawn[:, :10].max() == drawn[:, 190:].max() == 0


def test_strokes_that_leave_the_page_are_cut_off_at_its_edge() -> None:
    stroke = stroke_along(np.array([(-50.0, -20.0), (250.0, 70.0)]), 1.0)
    drawn = ink(stroke, (60, 200), 20.0, half_pen=1.5, softness=1.0)
    assert drawn.shape == (60, 200)
    assert drawn.max() == pytest.approx(1)
    assert ink(Strokes.joined([]), (60, 200), 20.0, 1.5, 1.0).max() == 0


# --- any text
def test_a_text_file_is_divided_by_sentence(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("".join(f"Été numéro {i} à l’île.\n" for i in range(100)), encoding="utf-8")
    numbers = [
        {word for word in prose.words_of_file(file, part) if word.isdigit()} for part in ("train", "validation", "test")
    ]
    assert [len(found) for found in numbers] == [70, 10, 20]
    assert len(set.union(*numbers)) == 100
    hand: Hand = draw_hand(np.random.default_rng(0))
    _, lines = drawn_page(np.random.default_rng(3), hand, prose.words_of_file(file, "train"))
    text = " ".join(line.text for line in lines)
    assert {"Été", "numéro", "l’île."} <= set(text.split())


def test_a_text_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("One sentence. Two.", encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.txt has 2 different sentences; expected at least ten"):
        prose.words_of_file(file, "train")
    with pytest.raises(UserError, match="cannot be read"):
        prose.words_of_file(tmp_path / "none.txt", "train")
