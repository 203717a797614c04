"""The folder of labels: what is found, what is saved, and what must never be lost."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import common.serving.labels as store
from common.data import pages
from common.data.page_files import find_pages, load_page
from common.data.xml_pages import read_page
from common.errors import UserError
from common.reading.formats import Source, alto, page
from common.reading.page import PageLine, PageReading
from common.serving.label_lines import line_distance, read_lines
from common.serving.labels import (
    ChangedError,
    Labels,
    NotSavedError,
    UnknownPageError,
    VanishedError,
)
from common.serving.tests.label_kit import BOTTOMS, COUNTS, LINES, baseline, box, draw, line
from common.tests.bars import page_of


def save(labels: Labels, lines: Any = LINES, page_id: str = "1") -> store.SavedPage:
    return labels.save(page_id, labels.saved(page_id).version, lines)


def history(folder: Path, name: str = "scan_1") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / ".fourhands" / "history" / name).iterdir())}


# --- what is found
def test_listing_names_each_picture_with_its_state(folder: Path) -> None:
    labels = Labels.open(folder)
    assert [row["name"] for row in labels.listing()] == ["more/scan_2.jpg", "scan_1.png"]
    assert [(row["state"], row["lines"]) for row in labels.listing()] == [("new", None)] * 2
    save(labels)
    assert [(row["state"], row["lines"]) for row in labels.listing()] == [("new", None), ("corrected", 3)]


def test_hidden_files_and_pdf_files_are_no_pages(folder: Path) -> None:
    draw(folder / ".trash" / "old.png")
    shutil.copy(folder / "scan_1.png", folder / ".scan_1.png")
    (folder / "book.pdf").write_bytes(b"%PDF-1.7")
    labels = Labels.open(folder)
    assert len(labels) == 2
    assert labels.left_out == ("1 PDF files are left out: save their pages as pictures to label them",)


@pytest.mark.parametrize("other", ["scan_1.jpg", "SCAN_1.png"])
def test_pictures_whose_lines_would_share_a_file_are_refused_by_name(folder: Path, other: str) -> None:
    draw(folder / other)
    with pytest.raises(UserError, match=r"scan_1\.png.*both be kept|both be kept.*rename one"):
        Labels.open(folder)


def test_file_that_describes_another_picture_is_not_taken(folder: Path) -> None:
    labels = Labels.open(folder)
    save(labels)
    content = (folder / "scan_1.xml").read_text()
    (folder / "more" / "scan_2.xml").write_text(content.replace("scan_1.png", "else.webp"))
    draw(folder / "more" / "else.webp")
    with pytest.raises(UserError, match=r"else\.webp"):
        Labels.open(folder)


def test_two_files_of_one_picture_are_refused(folder: Path) -> None:
    save(Labels.open(folder))
    shutil.copy(folder / "scan_1.xml", folder / "copy.xml")  # names scan_1.png as well
    with pytest.raises(UserError, match=r"both describe scan_1\.png"):
        Labels.open(folder)


def test_file_of_a_picture_that_is_no_alto_is_refused_and_kept(folder: Path) -> None:
    (folder / "scan_1.xml").write_text("<notes>mine</notes>")
    with pytest.raises(UserError, match=r"scan_1\.xml is <notes>"):
        Labels.open(folder)
    assert (folder / "scan_1.xml").read_text() == "<notes>mine</notes>"


def test_other_xml_without_a_picture_does_not_matter(folder: Path) -> None:
    (folder / "mets.xml").write_text("<mets/>")
    assert len(Labels.open(folder)) == 2


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_folder_without_pictures_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "file":
        path.write_text("")
    if what == "empty":
        path.mkdir()
    with pytest.raises(UserError, match="no picture" if what == "empty" else "no folder"):
        Labels.open(path)


@pytest.mark.parametrize("page_id", ["2", "-1", "../scan_1", "1.0", "٣", "1e0", "", "99999999999"])
def test_id_is_an_index_and_nothing_else(folder: Path, page_id: str) -> None:
    with pytest.raises(UnknownPageError, match="no page has the id"):
        Labels.open(folder).page(page_id)


# --- saving
def test_saved_lines_are_read_back_as_they_were(folder: Path) -> None:
    saved = save(Labels.open(folder))
    again = Labels.open(folder).saved("1")
    assert again.version == saved.version
    assert again.lines is not None
    assert [each.text for each in again.lines] == ["line 0", "line 1", "line 2"]
    assert [each.baseline.tolist() for each in again.lines] == [baseline(i) for i in range(3)]
    assert [each.outline.tolist() for each in again.lines] == [box(i) for i in range(3)]


def test_training_reads_the_saved_lines_and_not_the_history(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
    labels = Labels.open(folder)
    save(labels)
    save(labels, [line(2, "c"), line(0, "a")])  # deleted, reordered
    found = find_pages(folder)
    assert list(found.files) == ["scan_1"]
    picture_HW, content = load_page(found.files["scan_1"])
    assert [each.text for each in content.lines] == ["c", "a"]
    made = list(pages._lines("scan_1", found.files["scan_1"], 32))
    dark_HW = pages.page_darkness(picture_HW)
    for i, each in zip((2, 0), made, strict=True):
        wanted_HW = pages.cut_line(dark_HW, np.array(box(i), float), np.array(baseline(i), float), 32)
        np.testing.assert_array_equal(each.image, wanted_HW)  # type: ignore[union-attr]


def test_text_is_kept_in_unicode_form_and_xml_escapes_it(folder: Path) -> None:
    save(Labels.open(folder), [line(0, '  <a&b> "é"\t œ ')])
    assert [each.text for each in read_page(folder / "scan_1.xml").lines] == ['<a&b> "é" œ']


def test_corrected_file_claims_no_confidence(folder: Path) -> None:
    save(Labels.open(folder))
    content = (folder / "scan_1.xml").read_text()
    assert "WC=" not in content
    assert "PC=" not in content
    assert "nan" not in content.lower()


def test_each_saved_state_is_in_the_history(folder: Path) -> None:
    labels = Labels.open(folder)
    states = []
    for text in ("a", "b", "c"):
        save(labels, [line(0, text)])
        states.append((folder / "scan_1.xml").read_bytes())
    assert history(folder) == {f"000{n}.xml": state for n, state in enumerate(states, start=1)}


def test_saving_the_same_lines_again_adds_no_state(folder: Path) -> None:
    labels = Labels.open(folder)
    first = save(labels)
    assert save(labels).version == first.version
    assert list(history(folder)) == ["0001.xml"]


@pytest.mark.parametrize("form", [alto, page], ids=["alto", "page"])
def test_file_of_another_program_is_read_and_kept_in_the_history(folder: Path, form: Any) -> None:
    rows = tuple(
        PageLine(
            text=f"old {i}",
            confidence=0.5,
            characters=(),
            baseline=np.array(baseline(i), float),
            outline=np.array(box(i), float),
        )
        for i in range(2)
    )
    picture_HW = page_of(COUNTS)
    reading = PageReading(size=picture_HW.shape[::-1], lines=rows, confidence=0.5)
    original = form.render(reading, Source(image="scan_1.png", picture_HW=picture_HW))
    (folder / "scan_1.xml").write_bytes(original)
    labels = Labels.open(folder)
    before = labels.saved("1")
    assert before.state == "corrected"
    assert before.lines is not None
    assert [each.text for each in before.lines] == ["old 0", "old 1"]
    assert (folder / "scan_1.xml").read_bytes() == original, "looking at a page must not change it"
    save(labels)
    assert list(history(folder).values()) == [original, (folder / "scan_1.xml").read_bytes()]


def test_file_that_names_its_picture_otherwise_is_the_one_that_is_saved(folder: Path) -> None:
    save(Labels.open(folder))
    (folder / "scan_1.xml").rename(folder / "page-0001.xml")
    labels = Labels.open(folder)
    assert save(labels, [line(0, "new")]).state == "corrected"
    assert sorted(path.name for path in folder.glob("*.xml")) == ["page-0001.xml"]


def test_second_person_is_told_that_somebody_saved(folder: Path) -> None:
    labels, other = Labels.open(folder), Labels.open(folder)  # two servers of one folder
    version = labels.saved("1").version
    other.save("1", version, [line(0, "theirs")])
    with pytest.raises(ChangedError, match=r"scan_1\.png was saved by somebody else"):
        labels.save("1", version, [line(0, "mine")])
    assert [each.text for each in read_page(folder / "scan_1.xml").lines] == ["theirs"]


def test_of_many_who_save_one_version_at_once_one_succeeds(folder: Path) -> None:
    labels = Labels.open(folder)
    version = labels.saved("1").version

    async def all_at_once() -> list[Any]:
        jobs = [asyncio.to_thread(labels.save, "1", version, [line(0, f"person {n}")]) for n in range(8)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = asyncio.run(all_at_once())
    refused = [each for each in results if isinstance(each, ChangedError)]
    assert len(refused) == 7, results
    assert list(history(folder)) == ["0001.xml"]


def test_replaced_picture_is_noticed(folder: Path) -> None:
    labels = Labels.open(folder)
    version = labels.saved("1").version
    draw(folder / "scan_1.png", (2, 2, 2))
    os.utime(folder / "scan_1.png", (1, 1))
    with pytest.raises(ChangedError, match="its picture was replaced"):
        labels.save("1", version, LINES)
    assert not (folder / "scan_1.xml").exists()


def test_vanished_picture_is_named(folder: Path) -> None:
    labels = Labels.open(folder)
    version = labels.saved("1").version
    (folder / "scan_1.png").unlink()
    for ask in (labels.saved, labels.picture, labels.original, lambda i: labels.save(i, version, LINES)):
        with pytest.raises(VanishedError, match=r"scan_1\.png is gone"):
            ask("1")
    assert [row["name"] for row in labels.listing()] == ["more/scan_2.jpg", "scan_1.png"]


# --- crashes and full disks
class CrashError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("write", [0, 1, 2])
@pytest.mark.parametrize("at", ["before", "in the middle", "before the rename"])
def test_crash_at_any_moment_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, write: int, at: str) -> None:
    labels = Labels.open(folder)
    save(labels, [line(0, "first")])
    original = (folder / "scan_1.xml").read_bytes().replace(b"first", b"typed by another program")
    (folder / "scan_1.xml").write_bytes(original)
    real, replace, writes = store.write_atomically, os.replace, iter(range(10))

    def crashing(path: Path, content: bytes) -> None:
        if next(writes) != write:
            real(path, content)
        elif at == "before":
            raise CrashError
        elif at == "in the middle":
            (path.parent / f".{path.name}.abcd1234").write_bytes(content[: len(content) // 2])
            raise CrashError
        else:
            monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(CrashError()))
            real(path, content)

    monkeypatch.setattr(store, "write_atomically", crashing)
    with pytest.raises(CrashError):
        save(labels, [line(0, "second")])
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(store, "write_atomically", real)
    again = Labels.open(folder)
    assert (folder / "scan_1.xml").read_bytes() == original
    assert [path.name for path in folder.iterdir() if ".abcd1234" in path.name or "scan_1.xml." in path.name] == []
    save(again, [line(0, "third")])
    kept = b"".join(history(folder).values())
    assert b"first" in kept
    assert b"typed by another program" in kept
    assert [each.text for each in read_page(folder / "scan_1.xml").lines] == ["third"]


def test_full_disk_is_said_and_keeps_what_was_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = Labels.open(folder)
    save(labels, [line(0, "first")])
    before = (folder / "scan_1.xml").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.atomic.os.fsync", full)
    with pytest.raises(NotSavedError, match=r"scan_1\.png was not saved .*No space left.* is kept"):
        save(labels, [line(0, "second")])
    monkeypatch.undo()
    assert (folder / "scan_1.xml").read_bytes() == before
    assert list(folder.rglob(".*.xml.*")) == []
    assert save(labels, [line(0, "second")]).state == "corrected"


def test_folder_that_cannot_be_written_is_refused_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)  # root may write anywhere
    with pytest.raises(NotSavedError, match=r"cannot write in .*\(Permission denied\)"):
        Labels.open(folder)


# --- pictures
def test_picture_is_sent_as_it_is_or_upright(folder: Path) -> None:
    labels = Labels.open(folder)
    assert labels.picture("1") == ((folder / "scan_1.png").read_bytes(), "image/png")
    assert labels.picture("0") == ((folder / "more" / "scan_2.jpg").read_bytes(), "image/jpeg")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    draw(folder / "scan_1.png", exif=exif)
    assert labels.saved("1").size == (700, 600)
    content, kind = labels.picture("1")
    (folder / "shown.jpg").write_bytes(content)
    assert kind == "image/jpeg"
    with Image.open(folder / "shown.jpg") as shown:
        assert shown.size == (700, 600)
        assert 0x0112 not in shown.getexif()


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "I;16", "LA"])
def test_picture_of_any_mode_is_shown(folder: Path, mode: str) -> None:
    suffix = ".tif" if mode in ("CMYK", "I;16") else ".png"
    grey = Image.fromarray(page_of(COUNTS))
    converted = Image.fromarray(page_of(COUNTS).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    converted.save(folder / f"strange{suffix}")
    labels = Labels.open(folder)
    index = next(row["id"] for row in labels.listing() if row["name"].startswith("strange"))
    content, kind = labels.picture(index)
    (folder / "shown.jpg").write_bytes(content)
    assert kind in ("image/jpeg", "image/png")
    with Image.open(folder / "shown.jpg") as shown:
        assert shown.size == (600, 700)
        levels = np.asarray(shown.convert("L"))
    assert levels.mean() > 150, "paper is light"
    assert levels.min() < 100, "ink is dark"


def test_damaged_picture_is_named(folder: Path) -> None:
    (folder / "scan_1.png").write_bytes(b"no picture")
    labels = Labels.open(folder)
    for ask in (labels.saved, labels.picture):
        with pytest.raises(UserError, match=r"scan_1\.png is not an image"):
            ask("1")


# --- lines that a client sends
def picture() -> np.ndarray:
    return page_of(COUNTS)


SIZE = (600, 700)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("text", "expected a list of lines"),
        ({"0": {}}, "expected a list of lines"),
        ([1], "line 1 is int"),
        ([line(0) | {"path": "/etc"}], "unknown field 'path'"),
        ([line(0) | {"text": 3}], "its text is int"),
        ([line(0) | {"text": "a\x00b"}], r"U\+0000"),
        ([line(0) | {"text": "a\ud800"}], r"U\+D800"),
        ([line(0) | {"text": "a" * 2001}], "2,001 characters"),
        ([line(0) | {"baseline": "0,1 2,3"}], "not a list of points"),
        ([line(0) | {"baseline": [[1, 2, 3]]}], "not a list of points"),
        ([line(0) | {"baseline": [[1, float("nan")], [2, 2]]}], "not a list of points"),
        ([line(0) | {"baseline": [[1, True], [2, 2]]}], "not a list of points"),
        ([line(0) | {"baseline": [[10, 10], [700, 10]]}], "outside the 600×700 picture"),
        ([line(0) | {"baseline": [[10, 10], [10, 90]]}], "does not run from left to right"),
        ([line(0) | {"baseline": [[10, 10]]}], "does not run from left to right"),
        ([line(0) | {"outline": [[0, 0]] * 4001}], "4,001 points"),
        ([line(0) | {"outline": [[0, 0], [50, 0], [0, 0]]}], "line 1 its outline is empty"),
        ([line(0) | {"outline": [[0, 0], [100, 100], [100, 0], [0, 100]]}], "crosses itself"),
        ([{"text": "a"}], "neither baseline nor outline"),
        ([line(0)] * 1001, "1,001 lines"),
    ],
)
def test_lines_that_cannot_be_used_are_refused(given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_lines(given, SIZE, picture)


def test_line_without_outline_gets_one_around_its_own_ink() -> None:
    given = [line(i) | {"outline": None} for i in range(3)]
    lines = read_lines(given, SIZE, picture)
    ink_HW = picture() < 128
    for i, each in enumerate(lines):
        top, bottom = each.outline[:, 1].min(), each.outline[:, 1].max()
        rows = np.flatnonzero(ink_HW[BOTTOMS[i] - 50 : BOTTOMS[i]].any(axis=1)) + BOTTOMS[i] - 50
        assert top <= rows[0] + 2, "its own ink is inside"
        assert bottom >= rows[-1]
        assert i == 0 or top >= BOTTOMS[i - 1] - 2, "the ink of the line above is outside"
        assert i == 2 or bottom <= BOTTOMS[i + 1] - 50 + 2, "the ink of the line below is outside"


def test_line_with_outline_needs_no_picture_and_keeps_its_outline() -> None:
    def never() -> np.ndarray:
        raise AssertionError("the picture was loaded")

    assert [each.outline.tolist() for each in read_lines(LINES, SIZE, never)] == [box(i) for i in range(3)]


def test_baseline_from_right_to_left_is_turned_and_loops_are_left_out() -> None:
    given = [{"text": "a", "baseline": [[200, 110], [150, 112], [160, 109], [40, 108]], "outline": box(0)}]
    assert read_lines(given, SIZE, picture)[0].baseline.tolist() == [[40, 108], [160, 109], [200, 110]]


def test_line_distance_is_the_median_of_the_steps_down() -> None:
    rows = [np.array([[0.0, y], [100.0, y]]) for y in (10, 40, 72, 100)]
    beside = np.array([[200.0, 20], [300.0, 20]])  # a line in another column has no neighbour
    assert line_distance([*rows, beside], 1000) == 30
    assert line_distance([beside], 1000) == 40
    assert line_distance([], 50) == 4
