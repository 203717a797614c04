"""Images of lines with labels in every supported form; an error in the labels gives one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from common.data import folder as module
from common.data import prepared
from common.data.lines import LineDataset
from common.tests.test_data_xml_pages import refuses

HEIGHT = 32
TEXTS = {"a.png": "one, two", "b.JPG": 'say "so"', "sub/c.png": "Café", "d.tif": "four"}
AWKWARD = "e\u0301t\u2028e"  # a combining accent; a separator that str.splitlines takes for the end of a line
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images without labels."""
    folder = tmp_path / "lines"
    for name, text in TEXTS.items():
        draw(folder / name, text)
    return folder


def draw(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", (240, 80), 240)
    ImageDraw.Draw(picture).text((20, 55), text, fill=20, font=ImageFont.load_default(36), anchor="ls")
    picture.save(path)


def rows_of(texts: dict[str, str], **columns: list[str]) -> list[dict[str, str]]:
    return [
        {"image": name, "text": text} | {column: values[i] for column, values in columns.items()}
        for i, (name, text) in enumerate(texts.items())
    ]


def label(folder: Path, kind: str, texts: dict[str, str] = TEXTS, **columns: list[str]) -> None:
    """Write the labels in one of the forms."""
    rows = rows_of(texts, **columns)
    if kind == "NAME.txt":
        for row in rows:
            (folder / row["image"]).with_suffix(".txt").write_text(row["text"] + "\n", encoding="utf-8")
        return
    if kind == "jsonl":
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    else:
        out = io.StringIO()
        table = csv.DictWriter(out, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
        table.writeheader()
        table.writerows(rows)
        content = out.getvalue()
    (folder / f"labels.{kind}").write_text(content, encoding="utf-8", newline="")


def read(folder: Path) -> LineDataset:
    return module.load(folder, height=HEIGHT)


def texts_of(dataset: LineDataset) -> dict[str, str]:
    splits = [dataset.split(name) for name in SPLITS]
    return {name: text for split in splits for name, text in zip(split.names, split.texts, strict=True)}


def owners(dataset: LineDataset, writer_of: dict[str, str]) -> list[set[str]]:
    return [{writer_of[name] for name in dataset.split(split).names} for split in SPLITS]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "NAME.txt"])
def test_every_form_of_labels_gives_the_same_lines(folder: Path, kind: str) -> None:
    label(folder, kind)
    dataset = read(folder)
    assert texts_of(dataset) == TEXTS
    assert dataset.refused == ()
    assert dataset.charset.characters == tuple(sorted(set("".join(dataset.train.texts))))
    for split in SPLITS:
        for image_HW in dataset.split(split).images:
            assert (len(image_HW), image_HW.max(), np.median(image_HW)) == (HEIGHT, 255, 0)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "NAME.txt"])
def test_texts_are_normalised_and_their_white_space_is_single(folder: Path, kind: str) -> None:
    label(folder, kind, TEXTS | {"a.png": AWKWARD, "d.tif": "  four\u00a0 words "})
    found = texts_of(read(folder))
    assert (found["a.png"], found["d.tif"]) == ("\u00e9t e", "four words")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["Unix", "Windows", "old Mac"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["no BOM", "BOM"])
def test_byte_order_marks_and_line_endings_of_any_editor_are_read(folder: Path, mark: str, ending: str) -> None:
    rows = ["image,text", *(f"{name},{text}" for name, text in zip(TEXTS, "wxyz", strict=True)), ""]
    (folder / "labels.csv").write_text(mark + ending.join(rows), encoding="utf-8", newline="")
    assert texts_of(read(folder)) == dict(zip(TEXTS, "wxyz", strict=True))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_named_splits_are_kept(folder: Path, kind: str) -> None:
    label(folder, kind, split=["test", "train", "validation", "train"])
    dataset = read(folder)
    assert [list(dataset.split(name).names) for name in SPLITS] == [["b.JPG", "d.tif"], ["sub/c.png"], ["a.png"]]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "jsonl with numbers"])
def test_no_writer_is_in_two_splits(folder: Path, kind: str) -> None:
    texts = {f"{number:02}.png": f"t{number}" for number in range(20)}
    for name, text in texts.items():
        draw(folder / name, text)
    writers = [str(number % 5) for number in range(20)]  # 0 to 4: 0 is a writer too
    if kind == "jsonl with numbers":
        rows = [row | {"writer": int(row["writer"])} for row in rows_of(texts, writer=writers)]
        (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        label(folder, kind, texts, writer=writers)
    found = owners(read(folder), dict(zip(texts, writers, strict=True)))
    assert sum(map(len, found)) == len(set().union(*found)) == 5


def test_without_writers_or_splits_each_line_is_drawn_by_itself(folder: Path) -> None:
    texts = {f"{number:02}.png": f"t{number}" for number in range(20)}
    for name, text in texts.items():
        draw(folder / name, text)
    label(folder, "csv", texts)
    assert [len(read(folder).split(name)) for name in SPLITS] == [16, 2, 2]


def test_images_without_a_label_are_refused_by_name_in_order(folder: Path) -> None:
    extra = [f"x{number}.png" for number in range(9)]
    for name in extra:
        draw(folder / name, name)
    label(folder, "csv")
    assert [(line.name, line.reason) for line in read(folder).refused] == [(name, "it has no label") for name in extra]


def test_images_that_cannot_be_read_are_refused_by_name_and_the_others_stay(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"no image")
    Image.new("L", (100, 40), 255).save(folder / "blank.png")
    label(folder, "csv", TEXTS | {"blank.png": "?"})
    dataset = read(folder)
    assert [line.name for line in dataset.refused] == ["a.png", "blank.png"]
    assert "is not an image" in dataset.refused[0].reason
    assert "is blank" in dataset.refused[1].reason
    assert set(texts_of(dataset)) == set(TEXTS) - {"a.png"}


def test_a_second_load_reads_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label(folder, "csv")
    assert texts_of(read(folder)) == TEXTS
    with monkeypatch.context() as patch:
        patch.delattr("common.data.folder.load_image")  # any use of it then fails
        assert texts_of(read(folder)) == TEXTS
    label(folder, "csv", TEXTS | {"a.png": "changed"})
    assert texts_of(read(folder))["a.png"] == "changed"


HEAD = "image,text\na.png,one\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.csv", "", ["labels.csv has no column 'image' (it has none)", "must name image and text"]),
        ("labels.csv", "image,text\n", ["labels.csv holds no labels"]),
        ("labels.jsonl", "\n\n", ["labels.jsonl holds no labels"]),
        ("labels.csv", "image,words\na.png,x\n", ["no column 'text' (it has image, words)"]),
        ("labels.tsv", "image,text\na.png,x\n", ["no column 'image' (it has image,text)"]),
        ("labels.csv", HEAD + "b.JPG\n", ["labels.csv, line 3", "an image and its text"]),
        ("labels.csv", HEAD + ",two\n", ["labels.csv, line 3", "an image and its text"]),
        ("labels.csv", HEAD + "b.JPG,one, two\n", ["labels.csv, line 3", "3 columns", "2", "quotes"]),
        ("labels.csv", HEAD + 'b.JPG,"two\nd.tif,four\n', ["labels.csv, line 3: unexpected end", "close each quote"]),
        ("labels.jsonl", '{"image": "a.png", "text": "x"}\n{"image"\n', ["labels.jsonl, line 2", "not JSON"]),
        ("labels.jsonl", '\n["a.png", "x"]\n', ["labels.jsonl, line 2", "an image and its text"]),
        ("labels.jsonl", '{"image": "a.png", "text": 7}\n', ["labels.jsonl, line 1", "an image and its text"]),
        ("labels.csv", HEAD + "a.png,again\n", ["a.png: labelled more than once"]),
        ("labels.csv", HEAD + "./a.png,again\n", ["a.png: labelled more than once"]),
        ("labels.csv", HEAD + "e.png,x\n", ["e.png: labelled but not there"]),
        ("labels.csv", HEAD + "../a.png,x\n", ["../a.png: labelled but not there"]),
        ("labels.csv", "image,text\n1,x\n2,x\n3,x\n4,x\n5,x\n", ["1, 2, 3 and 2 more: labelled but not there"]),
        ("labels.csv", "image,text,split\na.png,x,dev\n", ["line 2", "split 'dev' is unknown", "train, validation"]),
        ("labels.csv", "image,text,split\na.png,x,train\nb.JPG,y,\n", ["1 of 2 labels name a split"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_labels_that_cannot_be_used_are_refused(folder: Path, name: str, content: str, words: list[str]) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with refuses(*words):
        read(folder)


@pytest.mark.parametrize(("name", "line"), [("labels.csv", 3), ("labels.jsonl", 3), ("a.txt", 3)])
def test_the_line_of_a_broken_encoding_is_named(folder: Path, name: str, line: int) -> None:
    (folder / name).write_bytes(b"image,text\na.png,one\nb.JPG,caf\xe9\n")
    with refuses(f"{name}, line {line}: byte 0xe9 is not UTF-8", "save the file as UTF-8"):
        read(folder)


def test_no_labels_at_all_or_two_files_of_them_are_refused(folder: Path) -> None:
    with refuses("lines holds no labels", "NAME.txt"):
        read(folder)
    label(folder, "csv")
    label(folder, "jsonl")
    with refuses("several files of labels (labels.csv, labels.jsonl)", "leave one"):
        read(folder)


def test_too_few_lines_to_split_are_refused(folder: Path) -> None:
    label(folder, "csv", {"a.png": "a", "d.tif": "d"})
    with refuses("2 pages or writers", "at least 3"):
        read(folder)
