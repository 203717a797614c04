"""IAM in both of its layouts, on forms drawn here: the same lines, in the standard split if its lists are present."""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from common.data import iam_lines, prepared
from common.data.lines import LineDataset
from common.tests.test_data_xml_pages import refuses

HEIGHT = 32
FONT = ImageFont.load_default(40)
# of each form's two lines
TEXTS = ('He said, "Stop & go."', "a third line")
FORMS = ("a01-000u", "a01-003", "b02-045", "c03-000a", "c03-007b")
WRITER = dict(zip(FORMS, ("000", "000", "001", "002", "002"), strict=True))
Levels = UInt8[np.ndarray, "H W"]
Box = tuple[int, int, int, int]  # x, y, width, height


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path / "cache")


def draw_form() -> tuple[Image.Image, list[list[Box]]]:
    """A form, and for each line the boxes of its words."""
    picture = Image.new("L", (500, 220), 240)
    pen = ImageDraw.Draw(picture)
    boxes = []
    for text, foot in zip(TEXTS, (80, 180), strict=True):
        x, row = 15.0, []
        for word in text.split():
            pen.text((x, foot), word, fill=20, font=FONT, anchor="ls")
            left, top, right, bottom = map(round, pen.textbbox((x, foot), word, font=FONT, anchor="ls"))
            row.append((left, top, right - left, bottom - top))
            x += FONT.getlength(word + " ")
        boxes.append(row)
    return picture, boxes


def write_xml(folder: Path, form: str, boxes: Sequence[Sequence[Box]], texts: Sequence[str] = TEXTS) -> None:
    lines = []
    for i, (text, row) in enumerate(zip(texts, boxes, strict=True)):
        words = "".join(
            f'<word><cmp x="{x}" y="{y}" width="{width}" height="{height}"/></word>' for x, y, width, height in row
        )
        lines.append(f'<line id="{form}-{i:02}" text={quoteattr(text, {chr(34): "&quot;"})}>{words}</line>')
    (folder / "xml" / f"{form}.xml").write_text(
        f'<form id="{form}" writer-id="{WRITER[form]}"><machine-printed-part><machine-print-line text="no"/>'
        f"</machine-printed-part><handwritten-part>{''.join(lines)}</handwritten-part></form>"
    )


@pytest.fixture
def forms(tmp_path: Path) -> Path:
    """The layout with scanned forms."""
    folder = tmp_path / "forms"
    for name in ("xml", "forms"):
        (folder / name).mkdir(parents=True)
    picture, boxes = draw_form()
    for form in FORMS:
        picture.save(folder / "forms" / f"{form}.png")
        write_xml(folder, form, boxes)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The layout with an index, and images of lines."""
    folder = tmp_path / "index"
    (folder / "ascii").mkdir(parents=True)
    picture = draw_form()[0]
    rows = ["#--- lines.txt ---#", "# format: a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE"]
    for form in FORMS:
        parent = folder / "lines" / form.partition("-")[0] / form
        parent.mkdir(parents=True)
        for i, text in enumerate(TEXTS):
            picture.crop((0, 110 * i, 500, 110 * i + 110)).save(parent / f"{form}-{i:02}.png")
            rows.append(f"{form}-{i:02} {('ok', 'err')[i]} 154 19 408 746 1661 89 {text.replace(' ', '|')}")
    (folder / "ascii" / "lines.txt").write_text("\n".join(rows) + "\n")
    return folder


def lines_of(dataset: LineDataset) -> dict[str, tuple[str, Levels]]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return {name: (split.texts[i], split.images[i]) for split in splits for i, name in enumerate(split.names)}


def test_forms_are_pages_whose_lines_lie_on_their_ink(forms: Path) -> None:
    dataset = iam_lines.load_pages(forms, side=300)
    pages = {name: split for split in (dataset.train, dataset.validation, dataset.test) for name in split.names}
    assert set(pages) == set(FORMS)
    for name, split in pages.items():
        i = list(split.names).index(name)
        assert [line.text for line in split.lines[i]] == list(TEXTS)
        picture_HW = split.pictures[i]
        assert picture_HW.shape == (220, 500)
        for line, foot in zip(split.lines[i], (80, 180), strict=True):
            assert np.abs(line.baseline[:, 1] - foot).max() < 10  # here a box is a whole word, with its p and g
            left, right = line.outline[:, 0].min(), line.outline[:, 0].max()
            assert line.baseline[[0, -1], 0].tolist() == [left, right]
            upper, lower = int(line.outline[:, 1].min()), int(line.outline[:, 1].max())
            y, x = np.nonzero(picture_HW[foot - 50 : foot + 30] < 128)
            assert upper <= y.min() + foot - 50
            assert y.max() + foot - 50 <= lower
            assert left <= x.min()
            assert x.max() <= right


def test_a_baseline_runs_under_the_letters_whatever_reaches_below(forms: Path) -> None:
    # three words of letters on a baseline that falls by 0.1, one letter reaching below, a comma, and a dot above
    letters = [(x, round(60 + 0.1 * x)) for x in (20, 40, 60, 180, 200, 220, 340, 360)]
    boxes = [(x, foot - 20, 15, 20) for x, foot in letters]
    boxes[4] = (200, 60, 15, 32)
    words = [[*boxes[:3], (80, 64, 4, 10)], [*boxes[3:6], (185, 50, 4, 4)], boxes[6:]]
    cmps = ("".join(f'<cmp x="{x}" y="{y}" width="{w}" height="{h}"/>' for x, y, w, h in word) for word in words)
    line = f'<line id="a01-000u-00" text="a b c">{"".join(f"<word>{word}</word>" for word in cmps)}</line>'
    (forms / "xml" / "a01-000u.xml").write_text(
        f'<form id="a01-000u" writer-id="000"><handwritten-part>{line}</handwritten-part></form>'
    )
    dataset = iam_lines.load_pages(forms, side=300)
    split = next(s for s in (dataset.train, dataset.validation, dataset.test) if "a01-000u" in s.names)
    (found,) = split.lines[list(split.names).index("a01-000u")]
    assert found.baseline[:, 0].tolist() == [20, 375]
    np.testing.assert_allclose(found.baseline[:, 1], 60 + 0.1 * found.baseline[:, 0], atol=2.5)


@pytest.mark.parametrize("lists", [True, False], ids=["standard split", "by writer"])
def test_forms_are_in_the_splits_of_their_lines(forms: Path, lists: bool) -> None:
    if lists:
        for name, chosen in (("trainset", FORMS[:2]), ("validationset1", FORMS[2:3]), ("testset", FORMS[3:])):
            (forms / f"{name}.txt").write_text("\n".join(f"{form}-{i:02}" for form in chosen for i in range(2)))
    lines, pages = iam_lines.load(forms, height=HEIGHT), iam_lines.load_pages(forms, side=300)
    for split in ("train", "validation", "test"):
        assert {name.rpartition("-")[0] for name in lines.split(split).names} == set(pages.split(split).names)
        assert pages.split(split).writers_N is not None


def test_a_form_with_broken_boxes_names_them_and_lines_alone_are_no_pages(forms: Path, index: Path) -> None:
    good = draw_form()[1]
    write_xml(forms, FORMS[0], [[], good[1]])
    write_xml(forms, FORMS[1], [[(480, 40, 60, 20)], good[1]])
    dataset = iam_lines.load_pages(forms, side=300)
    reasons = {refused.name: refused.reason for refused in dataset.refused}
    assert reasons == {f"{FORMS[0]}-00": "has no boxes", f"{FORMS[1]}-00": "its boxes lie outside the 500×220 image"}
    with refuses("holds no forms of IAM's", "xml/ with forms/"):
        iam_lines.load_pages(index, side=300)


def names(dataset: LineDataset) -> list[set[str]]:
    return [set(dataset.split(split).names) for split in ("train", "validation", "test")]


def change(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_both_layouts_give_the_same_lines(forms: Path, index: Path) -> None:
    of_forms, of_index = (iam_lines.load(folder, height=HEIGHT) for folder in (forms, index))
    assert (of_forms.refused, of_index.refused) == ((), ())
    cut, ready = lines_of(of_forms), lines_of(of_index)
    assert set(cut) == set(ready) == {f"{form}-{i:02}" for form in FORMS for i in range(2)}
    for name, (text, image_HW) in cut.items():
        assert text == ready[name][0] == TEXTS[int(name[-2:])]
        assert abs(image_HW.shape[1] - ready[name][1].shape[1]) <= 2
        other_HW = np.asarray(Image.fromarray(ready[name][1]).resize(image_HW.shape[::-1]))
        assert np.abs(image_HW.astype(float) - other_HW).sum() < 0.1 * image_HW.sum()


def test_text_that_was_escaped_twice_is_read_as_it_was_written(forms: Path, index: Path) -> None:
    change(index / "ascii" / "lines.txt", '"Stop|&|go."', "&quot;Stop|&amp;|go.&quot;")
    write_xml(forms, FORMS[0], draw_form()[1], texts=("He said, &quot;Stop &amp; go.&quot;", TEXTS[1]))
    for folder in (forms, index):
        assert lines_of(iam_lines.load(folder, height=HEIGHT))[f"{FORMS[0]}-00"][0] == TEXTS[0]


def test_the_index_may_lie_beside_the_lines(index: Path) -> None:
    (index / "ascii" / "lines.txt").rename(index / "lines.txt")
    assert len(lines_of(iam_lines.load(index, height=HEIGHT))) == 10


def test_without_lists_no_writer_is_in_two_splits(forms: Path) -> None:
    writers = [{WRITER[name[:-3]] for name in split} for split in names(iam_lines.load(forms, height=HEIGHT))]
    assert sorted(map(len, writers)) == [1, 1, 1]
    assert set().union(*writers) == {"000", "001", "002"}


def test_without_writers_no_form_is_in_two_splits(index: Path) -> None:
    forms = [{name[:-3] for name in split} for split in names(iam_lines.load(index, height=HEIGHT))]
    assert sum(map(len, forms)) == len(set().union(*forms)) == 5


@pytest.mark.parametrize("layout", ["forms", "index"])
def test_the_standard_lists_decide_where_they_are_there(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    lists = {
        "trainset": ["c03-000a-00", "c03-000a-01", "z99-000-00"],
        "validationset1": ["a01-000u-00"],
        "validationset2": ["b02-045-01"],
        "testset": ["a01-003-00", "a01-003-01"],
    }
    (folder / "task").mkdir()
    for name, ids in lists.items():
        (folder / "task" / f"{name}.txt").write_text("".join(f"{line}\r\n" for line in ids))
    dataset = iam_lines.load(folder, height=HEIGHT)
    assert names(dataset) == [
        {"c03-000a-00", "c03-000a-01"},
        {"a01-000u-00", "b02-045-01"},
        {"a01-003-00", "a01-003-01"},
    ]
    assert dataset.charset.characters == tuple(sorted(set("".join(TEXTS))))
    for name in lists:
        (folder / "task" / f"{name}.txt").write_text("z99-000-00\n")
    with refuses("name none of its lines", "a01-000u-00"):
        iam_lines.load(folder, height=HEIGHT)


@pytest.mark.parametrize("layout", ["forms", "index"])
def test_a_second_load_reads_the_cache(
    layout: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(layout)
    first = lines_of(iam_lines.load(folder, height=HEIGHT))
    monkeypatch.delattr("common.data.iam_lines.load_image")  # any use of it then fails
    again = lines_of(iam_lines.load(folder, height=HEIGHT))
    assert len(first) == len(again) == 10
    for name, (text, image_HW) in first.items():
        assert again[name][0] == text
        np.testing.assert_array_equal(again[name][1], image_HW)


def test_missing_images_are_named(forms: Path, index: Path) -> None:
    (forms / "forms" / "b02-045.png").unlink()
    with refuses("the image of b02-045.xml is missing", "put b02-045.png into forms/"):
        iam_lines.load(forms, height=HEIGHT)
    (index / "lines" / "b02" / "b02-045" / "b02-045-01.png").unlink()
    with refuses("lines.txt, line 8: the image lines/b02/b02-045/b02-045-01.png is missing"):
        iam_lines.load(index, height=HEIGHT)


@pytest.mark.parametrize("row", ["a01-003-00 ok 154 19 408", "form a01-003 ok 154 19 408 746 1661 89 text"])
def test_a_bad_row_is_named(index: Path, row: str) -> None:
    path = index / "ascii" / "lines.txt"
    content = path.read_text().splitlines()
    path.write_text("\n".join([*content[:4], row, *content[5:]]))
    with refuses(f"lines.txt, line 5: '{row[:20]}", "is not a row of IAM's", "9 fields"):
        iam_lines.load(index, height=HEIGHT)


@pytest.mark.parametrize("name", ["ascii/lines.txt", "testset.txt"])
def test_a_file_that_is_not_utf_8_is_named(index: Path, name: str) -> None:
    with (index / name).open("ab") as file:
        file.write("caf\u00e9\n".encode("latin-1"))
    with refuses(Path(name).name, "not UTF-8"):
        iam_lines.load(index, height=HEIGHT)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</form>", "", ["cannot be read", "form of IAM's"]),
        ("<form id", "<!DOCTYPE x [<!ENTITY a 'b'>]><form id", ["cannot be read"]),
        ("<form id", "<?xml version='1.0' encoding='no-such'?><form id", ["cannot be read"]),
        ("form", "page", ["is no form of IAM's", "<form>"]),
        ('y="', 'y="1.5', ["line a01-003-00", "whole numbers"]),
        ('y="', 'z="', ["line a01-003-00", "whole numbers"]),
    ],
)
def test_a_broken_form_is_refused_by_name(forms: Path, old: str, new: str, words: list[str]) -> None:
    change(forms / "xml" / "a01-003.xml", old, new)
    with refuses("a01-003.xml", *words):
        iam_lines.load(forms, height=HEIGHT)


def test_lines_that_cannot_be_cut_are_refused_by_name_and_the_others_stay(forms: Path) -> None:
    good = draw_form()[1]
    write_xml(forms, FORMS[0], [[], good[1]])
    write_xml(forms, FORMS[1], [[*good[0], (480, 40, 60, 20)], good[1]])
    write_xml(forms, FORMS[2], [[(-9, 40, 60, 20)], good[1]])
    write_xml(forms, FORMS[3], [[(400, 100, 60, 15)], good[1]])
    dataset = iam_lines.load(forms, height=HEIGHT)
    reasons = {line.name: line.reason for line in dataset.refused}
    assert list(reasons) == [f"{form}-00" for form in FORMS[:4]]
    for form, reason in zip(FORMS, ("no boxes", "outside the 500×220", "outside the 500×220", "blank"), strict=False):
        assert reason in reasons[f"{form}-00"]
    assert len(lines_of(dataset)) == 6


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with refuses("is no IAM folder", "lines.txt", "forms/"):
        iam_lines.load(tmp_path, height=HEIGHT)
