"""Pages with ALTO or PAGE beside them become level lines, free of their neighbours' ink; no writer is in two splits."""

# H height, W width

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from common.data import page_files, pages, prepared
from common.data.lines import LineDataset, LineSplit
from common.errors import UserError
from common.tests.test_data_xml_pages import SCHEMAS, Row, refuses, written

HEIGHT = 32
SIZE = (320, 150)
LEVEL = ((10, 60), (310, 60))
ROW = Row(words=("some", "text"), polygon=((5, 20), (315, 20), (315, 75), (5, 75)), baseline=LEVEL)
PAGE = "PAGE 2019-07-15"
Levels = UInt8[np.ndarray, "H W"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pages a, b and c, of one line each."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in "abc":
        write(folder, name)
    return folder


def print_page(text: str = "some text") -> Image.Image:
    picture = Image.new("L", SIZE, 235)
    ImageDraw.Draw(picture).text((12, 60), text, fill=25, font=ImageFont.load_default(40), anchor="ls")
    return picture


def write(
    folder: Path,
    name: str,
    rows: Sequence[Row] = (ROW,),
    *,
    schema: str = PAGE,
    form: str = "x,y",
    picture: Image.Image | None = None,
    image: str = "",
) -> None:
    image = image or f"{name}.png"
    (picture or print_page()).save(folder / image)
    (folder / f"{name}.xml").write_text(written(schema, rows, size=SIZE, image=image, form=form), encoding="utf-8")


def images(dataset: LineDataset) -> dict[str, Levels]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return {name: split.images[i] for split in splits for i, name in enumerate(split.names)}


def line_of(folder: Path, name: str) -> Levels:
    return images(pages.load(folder, height=HEIGHT))[f"{name}, line 1"]


def refusals(folder: Path) -> dict[str, str]:
    return {line.name: line.reason for line in pages.load(folder, height=HEIGHT).refused}


def difference(a: Levels, b: Levels) -> float:
    """Mean absolute difference relative to the amount of ink; lines may differ by two columns."""
    assert abs(a.shape[1] - b.shape[1]) <= 2, (a.shape, b.shape)
    b_HW = np.asarray(Image.fromarray(b).resize(a.shape[::-1]))
    return float(np.abs(a.astype(float) - b_HW).sum() / a.sum())


def test_every_schema_gives_the_same_images(folder: Path) -> None:
    for schema in SCHEMAS:
        for form in ("x,y", "x y"):
            write(folder, f"{schema} {form}", schema=schema, form=form)
    dataset = pages.load(folder, height=HEIGHT)
    found = images(dataset)
    assert (len(found), dataset.refused) == (13, ())
    for image_HW in found.values():
        assert (image_HW.dtype, len(image_HW)) == (np.dtype(np.uint8), HEIGHT)
        np.testing.assert_array_equal(image_HW, found["a, line 1"])
    assert set(dataset.train.texts) == {"some text"}
    assert dataset.charset.characters == tuple(sorted(set("some text")))


def test_a_neighbours_ink_in_the_box_but_not_in_the_polygon_falls_away(folder: Path) -> None:
    picture = print_page()
    ImageDraw.Draw(picture).rectangle((230, 20, 250, 45), fill=25)  # the foot of a letter of the line above
    around = ((5, 20), (225, 20), (225, 50), (255, 50), (255, 20), (315, 20), (315, 75), (5, 75))
    write(folder, "a", [replace(ROW, polygon=around)], picture=picture)
    write(folder, "b", picture=picture)
    assert difference(line_of(folder, "c"), line_of(folder, "a")) < 0.02
    assert abs(line_of(folder, "b").shape[1] - line_of(folder, "c").shape[1]) > 9  # in the box it is ink


def bars(slope: float, bend: float = 0.0) -> tuple[Image.Image, tuple[tuple[int, int], ...]]:
    """A row of equal bars whose feet stand on a baseline, which falls by `slope` and then by `slope + bend`."""
    feet = [(x, round(60 + slope * (x - 20) + bend * max(0, x - 150))) for x in range(20, 300, 26)]
    picture = Image.new("L", SIZE, 235)
    for x, y in feet:
        ImageDraw.Draw(picture).rectangle((x - 3, y - 30, x + 3, y), fill=25)
    return picture, (feet[0], feet[5], feet[-1])


def unevenness(line_HW: Levels) -> float:
    """Rows between the highest and the lowest foot of the 11 bars."""
    ink_HW = line_HW > 128
    edges = np.flatnonzero(np.diff(ink_HW.any(axis=0).astype(int), prepend=0, append=0))
    assert len(edges) == 22
    feet = [np.flatnonzero(ink_HW[:, left:right].any(axis=1))[-1] for left, right in edges.reshape(-1, 2)]
    return float(np.ptp(feet))


@pytest.mark.parametrize("direction", [1, -1], ids=["to the right", "to the left"])
@pytest.mark.parametrize(("slope", "bend"), [(0.2, 0.0), (-0.1, 0.0), (0.2, -0.3), (-0.05, 0.2)])
def test_a_sloping_or_bent_line_is_levelled_along_its_baseline(
    folder: Path, slope: float, bend: float, direction: int
) -> None:
    picture, baseline = bars(slope, bend)
    whole = ((0, 0), (SIZE[0], 0), SIZE, (0, SIZE[1]))
    write(folder, "a", [replace(ROW, polygon=whole, baseline=baseline[::direction])], picture=picture)
    write(folder, "b", [replace(ROW, polygon=whole, baseline=())], picture=picture)
    write(folder, "c", [replace(ROW, polygon=whole)], picture=bars(0)[0])
    assert unevenness(line_of(folder, "c")) <= 1
    assert unevenness(line_of(folder, "a")) <= 3  # a row of the line is two of the page
    assert unevenness(line_of(folder, "b")) >= 6


def test_a_baseline_too_short_to_have_a_direction_is_not_followed(folder: Path) -> None:
    write(folder, "b", [replace(ROW, baseline=((30, 60), (35, 65)))])
    np.testing.assert_array_equal(line_of(folder, "b"), line_of(folder, "a"))


def test_a_baseline_to_the_left_does_not_turn_the_line_over(folder: Path) -> None:
    write(folder, "b", [replace(ROW, baseline=LEVEL[::-1])])
    assert difference(line_of(folder, "a"), line_of(folder, "b")) < 0.02


def test_light_ink_on_dark_paper_gives_the_same_lines(folder: Path) -> None:
    write(folder, "b", picture=print_page().point(lambda level: 255 - level))
    assert difference(line_of(folder, "a"), line_of(folder, "b")) < 0.02


def test_lines_have_the_height_asked_for(folder: Path) -> None:
    for height in (20, 48):
        assert {len(image) for image in images(pages.load(folder, height=height)).values()} == {height}


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".tif", ".tiff"])
def test_the_image_is_found_by_the_pages_name_or_by_the_xmls(folder: Path, suffix: str) -> None:
    (folder / "b.png").rename(folder / "scan 7.png")
    write(folder, "b", image=f"elsewhere{suffix}")
    (folder / f"elsewhere{suffix}").rename(folder / f"b{suffix}")
    content = (folder / "c.xml").read_text()
    (folder / "c.xml").write_text(content.replace("c.png", r"C:\scans\scan 7.png"))
    (folder / "c.png").unlink()
    assert len(images(pages.load(folder, height=HEIGHT))) == 3


def many(folder: Path) -> None:
    for number in range(20):
        rows = [replace(ROW, words=(f"{number}",)), replace(ROW, words=("x",))]
        write(folder, f"writer{number // 2}_{number % 2 + 1}", rows)
    for name in "abc":
        (folder / f"{name}.xml").unlink()


@pytest.mark.parametrize(("pattern", "part"), [("", ","), ("^(.*)_[12]$", "_")], ids=["page", "writer"])
def test_no_page_or_writer_is_in_two_splits(folder: Path, pattern: str, part: str) -> None:
    many(folder)
    dataset = pages.load(folder, height=HEIGHT, writer_pattern=pattern)
    names = [list(dataset.split(split).names) for split in ("train", "validation", "test")]
    assert len({name for split in names for name in split}) == sum(map(len, names)) == 40
    owners = [{name.partition(part)[0] for name in split} for split in names]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert list(map(len, names)) == [32, 4, 4]
    assert names == [
        list(again.names) for again in splits_of(pages.load(folder, height=HEIGHT, writer_pattern=pattern))
    ]


def splits_of(dataset: LineDataset) -> list[LineSplit]:
    return [dataset.split(name) for name in ("train", "validation", "test")]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", ["'('", "is no regular expression", "unterminated"]),
        ("^a", ["'^a'", "has no group", "parentheses"]),
        ("^([ab])", ["finds no writer in the page name 'c'"]),
        ("^(b)|c|a", ["finds no writer in the page name 'a'"]),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(folder: Path, pattern: str, words: list[str]) -> None:
    with refuses(pattern, *words):
        pages.load(folder, height=HEIGHT, writer_pattern=pattern)


def test_a_second_load_reads_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = images(pages.load(folder, height=HEIGHT))
    with monkeypatch.context() as patch:
        patch.delattr("common.data.pages.load_page")  # any use of it then fails
        again = images(pages.load(folder, height=HEIGHT))
        pages.load(folder, height=HEIGHT, writer_pattern="(.)")  # another split of the same lines
    assert len(first) == len(again) == 3
    for name, image_HW in first.items():
        np.testing.assert_array_equal(again[name], image_HW)
    write(folder, "b", [replace(ROW, words=("changed",))])
    texts = [text for split in splits_of(pages.load(folder, height=HEIGHT)) for text in split.texts]
    assert sorted(texts) == ["changed", "some text", "some text"]


BOW_TIE = ((5, 20), (315, 75), (315, 20), (5, 75))
LOOP = (*ROW.polygon[:2], (315, 50), (311, 48), (311, 50), (315, 48), *ROW.polygon[2:])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Row(words=("",), polygon=ROW.polygon), "has no text"),
        (replace(ROW, words=("one", "><", "two")), "a stretch that could not be read (><)"),
        (replace(ROW, polygon=()), "neither polygon nor box"),
        (
            replace(ROW, polygon=((220, 20), (440, 20), (440, 75), (220, 75))),
            "55% of its outline lies outside",
        ),
        (replace(ROW, polygon=((5, -80), (315, -80), (315, 75), (5, 75))), "52% of its outline lies outside"),
        (replace(ROW, polygon=((-900, 20), (-5, 20), (-5, 75))), "100% of its outline lies outside the 320×150 image"),
        (replace(ROW, baseline=((200, 60), (600, 60))), "69% of its baseline lies outside the 320×150 image"),
        (replace(ROW, baseline=((5, 160), (300, 160))), "100% of its baseline lies outside the 320×150 image"),
        (replace(ROW, polygon=((9, 9), (9, 9), (9, 9))), "its outline is empty (0×0 pixels)"),
        (replace(ROW, polygon=((9, 9), (90, 9))), "its outline is empty"),
        (replace(ROW, polygon=BOW_TIE), "crosses itself"),
        (replace(ROW, polygon=((5, 100), (315, 100), (315, 140), (5, 140))), "no ink within its outline"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_that_cannot_be_used_is_refused_by_name_and_the_others_stay(folder: Path, row: Row, reason: str) -> None:
    write(folder, "b", [ROW, row, ROW])
    found = refusals(folder)
    assert list(found) == ["b, line 2"]
    assert reason in found["b, line 2"]
    assert set(images(pages.load(folder, height=HEIGHT))) == {"a, line 1", "b, line 1", "b, line 3", "c, line 1"}


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, polygon=((-1, 20), (321, 20), (321, 75), (-1, 75))),
        replace(ROW, polygon=LOOP),
        replace(ROW, words=(">some<", "text")),
    ],
    ids=["rounded past the edge", "a tiny loop", "struck out but legible"],
)
def test_harmless_oddities_are_accepted(folder: Path, row: Row) -> None:
    write(folder, "b", [row])
    assert refusals(folder) == {}
    assert difference(line_of(folder, "a"), line_of(folder, "b")) < 0.02


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, polygon=((-9, 20), (329, 20), (329, 75), (-9, 75))),
        replace(ROW, polygon=((5, 20), (560, 20), (560, 75), (5, 75))),
        replace(ROW, baseline=((-4, 60), (330, 60))),
    ],
    ids=["on both sides", "far to the right", "only the baseline"],
)
def test_a_line_that_reaches_outside_is_cut_off_at_the_edge_and_counted(folder: Path, row: Row) -> None:
    write(folder, "b", [ROW, row])
    for _ in range(2):  # prepared, then from the cache
        dataset = pages.load(folder, height=HEIGHT)
        assert (dataset.refused, dataset.clipped) == ((), ("b, line 2",))
        assert difference(images(dataset)["a, line 1"], images(dataset)["b, line 2"]) < 0.02


@pytest.mark.parametrize(
    ("polygon", "inside"),
    [
        (((-4, 2), (8, 2), (8, 6), (-4, 6)), {(0, 2), (8, 2), (8, 6), (0, 6)}),
        (((5, -5), (15, 5), (5, 15), (-5, 5)), {(0, 0), (10, 0), (10, 10), (0, 10)}),
        (((2, 2), (3, 2), (3, 3)), {(2, 2), (3, 2), (3, 3)}),
        (((11, 0), (15, 0), (13, 4)), set()),
        (((6, 4), (14, 4), (6, 12)), {(6, 4), (10, 4), (10, 8), (8, 10), (6, 10)}),
    ],
    ids=["one side", "a square on its corner", "all inside", "all outside", "a triangle over two edges"],
)
def test_a_polygon_is_clipped_at_the_edges_of_its_page(
    polygon: tuple[tuple[int, int], ...], inside: set[tuple[int, int]]
) -> None:
    clipped = page_files.clip_polygon(np.array(polygon, dtype=np.float64), (10, 10))
    assert {(x, y) for x, y in clipped.tolist()} == inside


def test_the_splits_of_a_folder_of_collections_are_those_of_its_collections_together(tmp_path: Path) -> None:
    """No line on its own, nor a collection, moves to another split when others are loaded with it."""
    for collection, count in (("one", 30), ("deep/two", 12), ("three", 4)):
        (tmp_path / "all" / collection).mkdir(parents=True)
        for number in range(count):
            write(tmp_path / "all" / collection, f"hand{number // 2:02}_{number % 2 + 1}")
    pattern = "^(.*hand[0-9]+)_[12]$"
    dataset = pages.load(tmp_path / "all", height=HEIGHT, writer_pattern=pattern)
    together = [set(split.names) for split in splits_of(dataset)]
    assert sum(map(len, together)) == 46
    for collection in ("one", "deep/two"):
        alone = splits_of(pages.load(tmp_path / "all" / collection, height=HEIGHT, writer_pattern=pattern))
        for whole, part in zip(together, alone, strict=True):
            assert {name for name in whole if name.startswith(collection)} == {f"{collection}/{n}" for n in part.names}
    # two writers are too few for three splits
    assert {name for name in together[0] if name.startswith("three")} == {
        f"three/hand0{number // 2}_{number % 2 + 1}, line 1" for number in range(4)
    }


def test_subfolders_with_fewer_than_three_writers_are_split_together(tmp_path: Path) -> None:
    for writer in "abcdef":
        (tmp_path / "all" / writer).mkdir(parents=True)
        for number in range(2):
            write(tmp_path / "all" / writer, f"{number}")
    dataset = pages.load(tmp_path / "all", height=HEIGHT, writer_pattern="^(.)/")
    owners = [{name[0] for name in split.names} for split in splits_of(dataset)]
    assert list(map(len, owners)) == [4, 1, 1]
    assert set().union(*owners) == set("abcdef")


COLLECTIONS = r"^(.*SC0033B(?=_)|.+?)(?:_s4.*|(?:_double)?_[0-9]{1,2}|-[0-9]+)?$"


@pytest.mark.parametrize(
    ("page", "writer"),
    [
        ("copiste/pages/wikitexte_0038_2", "copiste/pages/wikitexte_0038"),
        ("wikitexte_0058", "wikitexte_0058"),
        ("imp_wikitexte_0122_1", "imp_wikitexte_0122"),
        ("wikitexte_0221_double_2", "wikitexte_0221"),
        ("wills/pages/TestamentsDePoilus_will_AN_0006-3", "wills/pages/TestamentsDePoilus_will_AN_0006"),
        ("stanford/pages/SC0033B_s4_b01_f14_i093", "stanford/pages/SC0033B"),
        ("SC0033B_s4_b01_f14_i080", "SC0033B"),
        ("stanford/pages/Lettre242_2", "stanford/pages/Lettre242"),
        ("Lettre42", "Lettre42"),
    ],
)
def test_one_pattern_names_the_writers_of_the_three_shared_collections(page: str, writer: str) -> None:
    found = re.search(COLLECTIONS, page)
    assert found is not None
    assert found[1] == writer


def test_an_image_of_another_size_or_none_at_all_is_refused_by_name(folder: Path) -> None:
    print_page().resize((640, 300)).save(folder / "b.png")
    with refuses("b.png is 640×300 pixels but b.xml says 320×150"):
        pages.load(folder, height=HEIGHT)
    (folder / "b.png").unlink()
    with refuses("the image of b.xml is missing", "put b.png or b.jpg"):
        pages.load(folder, height=HEIGHT)
    (folder / "b.png").write_bytes(b"no image")
    with refuses("b.png is not an image"):
        pages.load(folder, height=HEIGHT)


def test_a_broken_file_is_refused_by_name_and_nothing_is_kept(folder: Path, tmp_path: Path) -> None:
    content = (folder / "b.xml").read_text()
    (folder / "b.xml").write_text(content[:-20])
    with refuses("b.xml is not well-formed"):
        pages.load(folder, height=HEIGHT)
    assert list((tmp_path / "cache" / "prepared").iterdir()) == []


def test_too_few_pages_or_none_are_refused(folder: Path) -> None:
    (folder / "c.xml").unlink()
    with pytest.raises(UserError, match="2 pages or writers; expected at least 3"):
        pages.load(folder, height=HEIGHT)
    for name in "ab":
        (folder / f"{name}.xml").unlink()
    with refuses("holds no .xml file", "ALTO or PAGE"):
        pages.load(folder, height=HEIGHT)
