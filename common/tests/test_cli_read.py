"""`fourhands read` with pages, through `main` in this process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.commands import read as read_command
from common.data import documents
from common.data.xml_pages import read_page
from common.reading import page
from common.tests import bars
from common.tests.conftest import Command

COUNTS = [5, 3, 7]
TEXT = "5\n3\n7\n"


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader that ships reads bars."""
    (tmp_path / "models").mkdir()
    bars.ship(tmp_path / "models", monkeypatch)
    return tmp_path / "models"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A page with three lines."""
    Image.fromarray(bars.page_of(COUNTS)).save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


@pytest.fixture
def strip(tmp_path: Path) -> Path:
    """A picture of one line."""
    Image.fromarray(bars.page_of([6], (240, 140))[45:125]).save(tmp_path / "strip.png")
    return tmp_path / "strip.png"


# --- what a picture is taken for
def test_a_page_is_read_without_a_run(scan: Path, command: Command) -> None:
    outcome = command("read", scan)
    assert (outcome.code, outcome.out) == (0, TEXT)
    assert outcome.err == f"fourhands: {scan}: taken for a page, 3 lines\n"


def test_a_line_is_read_without_a_run(strip: Path, command: Command) -> None:
    outcome = command("read", strip)
    assert (outcome.code, outcome.out) == (0, f"6   95.0%  {strip}\n")
    assert outcome.err == f"fourhands: {strip}: taken for a line\n"


def test_as_decides_and_nothing_is_said(scan: Path, strip: Path, command: Command) -> None:
    outcome = command("read", strip, "--as", "page")
    assert (outcome.code, outcome.out, outcome.err) == (0, "6\n", "")
    command("read", scan, "--as", "line").refuses("scan.png", "3 lines of text")
    command("read", scan, "--as", "character").refuses("--as character does not fit", "reads lines")
    command("read", scan, "--as", "paragraph").refuses("--as", "'auto', 'page', 'line', 'character'")


def test_pages_follow_each_other(scan: Path, tmp_path: Path, command: Command) -> None:
    Image.fromarray(bars.page_of([2, 4])).save(tmp_path / "second.png")
    assert command("read", scan, tmp_path / "second.png").out == f"{TEXT}\n2\n4\n"


# --- models
def test_a_run_of_lines_reads_the_lines_of_a_page(scan: Path, shipped: Path, command: Command) -> None:
    run = shipped.rename(shipped.with_name("run"))
    (run / "reader.safetensors").rename(run / "weights.safetensors")
    shipped.mkdir()
    (run / "finder.safetensors").rename(shipped / "finder.safetensors")
    for model in (run, run / "weights.safetensors"):
        assert command("read", model, scan).out == TEXT
    command("read", scan).refuses("this installation lacks reader.safetensors", "name a run of your own")


def test_a_run_of_unet_finds_the_lines(
    scan: Path, shipped: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shipped.with_name("run")
    run.mkdir()
    (shipped / "finder.safetensors").rename(run / "weights.safetensors")
    assert command("read", run, scan).out == TEXT
    command("read", scan).refuses("this installation lacks finder.safetensors")


def test_a_run_without_weights_and_a_run_alone_are_refused(tmp_path: Path, shipped: Path, command: Command) -> None:
    command("read").refuses("no image to read", "name at least one image file")
    command("read", shipped / "reader.safetensors").refuses("no image to read")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    Image.new("L", (9, 9)).save(tmp_path / "run" / "readings.png")
    command("read", tmp_path / "run", "x.png").refuses("holds no weights.safetensors", "finished an epoch")


# --- the start
def test_start_is_fast_and_imports_nothing_that_reading_does_not_need(shipped: Path) -> None:
    slow = ["scipy", "skimage", "matplotlib", "rich", "pypdfium2", "torch", "jax", "tensorflow", "keras"]
    program = f"""
import sys, time
start = time.process_time()
from common.cli import main
assert main(["read", {str(shipped / "reader.safetensors")!r}, "missing.jpg"]) == 2
print(time.process_time() - start, [name for name in {slow} if name in sys.modules])
"""
    runs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split(" ", 1)
        for _ in range(3)
    ]
    assert runs[0][1] == "[]\n"
    # processor time, because other processes lengthen wall time; the start of Python takes 0.02 s more
    assert min(float(seconds) for seconds, _ in runs) <= 0.75


def test_an_interrupted_command_says_how_it_continues(
    scan: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(read_command.PageReader, "read", interrupt)
    outcome = command("read", scan, "--out", tmp_path / "out")
    assert (outcome.code, outcome.err) == (
        130,
        "fourhands: stopped; the same command continues, and skips what is done\n",
    )
    assert command("read", scan).err == "fourhands: stopped\n"


# --- formats
def test_json_is_a_list_with_an_object_per_picture(scan: Path, strip: Path, command: Command) -> None:
    for flags in (["--format", "json"], ["--json"]):
        rows = json.loads(command("read", scan, strip, *flags).out)
        assert [(row["image"], row["kind"], row["text"]) for row in rows] == [
            (str(scan), "page", TEXT.strip()),
            (str(strip), "line", "6"),
        ]
        assert [line["text"] for line in rows[0]["lines"]] == ["5", "3", "7"]
        assert rows[0]["lines"][1]["baseline"] == [[40, 200], [40 + 2 * 30 + 11, 200]]
        assert rows[0]["lines"][1]["outline"][0] == [40, 150]
        assert rows[1]["character_confidences"] == [0.95]
        assert rows[1]["confidence"] == 0.95


@pytest.mark.parametrize("form", ["alto", "page"])
def test_xml_of_one_page_goes_to_standard_output(form: str, scan: Path, tmp_path: Path, command: Command) -> None:
    outcome = command("read", scan, "--format", form)
    (tmp_path / "back.xml").write_text(outcome.out, encoding="utf-8")
    back = read_page(tmp_path / "back.xml")
    assert ([line.text for line in back.lines], back.image_name) == (["5", "3", "7"], "scan.png")


@pytest.mark.parametrize("form", ["alto", "page", "hocr", "picture"])
def test_a_format_with_a_file_per_page_needs_a_folder_for_several(form: str, scan: Path, command: Command) -> None:
    Image.fromarray(bars.page_of([2, 4])).save(scan.parent / "second.png")
    command("read", scan.parent, "--format", form).refuses(f"--format {form}", "2 files", "give --out a folder")
    pages = [Image.fromarray(bars.page_of(COUNTS))] * 2
    pages[0].save(scan.parent / "two.tif", save_all=True, append_images=pages[1:])
    command("read", scan.parent / "two.tif", "--format", form).refuses("2 pages", "give --out a folder")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("text", "scan.txt"),
        ("json", "scan.json"),
        ("alto", "scan.xml"),
        ("page", "scan.xml"),
        ("hocr", "scan.html"),
        ("picture", "scan.png"),
    ],
)
def test_out_has_a_file_per_page(form: str, name: str, scan: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "new" / "out"
    outcome = command("read", scan, "--format", form, "--out", out)
    assert (outcome.code, outcome.out) == (0, "")
    assert os.listdir(out) == [name]
    if form == "picture":
        with Image.open(out / name) as picture:
            assert picture.size == (600, 700)
    else:
        assert all(count in (out / name).read_text(encoding="utf-8") for count in "537")


def test_lines_read_back_through_pages_are_the_lines_that_were_read(
    scan: Path, tmp_path: Path, command: Command
) -> None:
    from common.data.pages import cut_line, page_darkness
    from common.reading.page import cut_lines

    command("read", scan, "--format", "alto", "--out", tmp_path)
    picture_HW = bars.page_of(COUNTS)
    cut = cut_lines(bars.find(None, picture_HW), picture_HW, 16)
    for line, written in zip(read_page(tmp_path / "scan.xml").lines, cut, strict=True):
        image_HW = cut_line(page_darkness(picture_HW), line.outline, line.baseline, 16)
        np.testing.assert_array_equal(image_HW, written.image_HW)


# --- folders, documents with many pages, and work that is done already
def folder_of_pages(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(bars.page_of([2, 3])).save(folder / "b.png")
    Image.fromarray(bars.page_of([4, 3])).save(folder / "sub" / "a.png")
    pages = [Image.fromarray(bars.page_of([count, 2])) for count in range(2, 12)]
    pages[0].save(folder / "ten.tif", save_all=True, append_images=pages[1:])
    return folder


def test_a_folder_is_read_into_a_folder_of_the_same_form(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    assert command("read", folder_of_pages(tmp_path / "scans"), "--out", out).code == 0
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.txt")}
    ten = {f"ten-{number:02}.txt": f"{number + 1}\n2\n" for number in range(1, 11)}
    assert found == {"b.txt": "2\n3\n", "sub/a.txt": "4\n3\n"} | ten


def test_what_is_done_is_skipped_and_counted(tmp_path: Path, command: Command) -> None:
    scans, out = folder_of_pages(tmp_path / "scans"), tmp_path / "out"
    command("read", scans, "--out", out)
    (out / "ten-03.txt").unlink()
    (out / "b.txt").write_text("corrected by hand")
    outcome = command("read", scans, "--out", out)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        f"fourhands: {scans}/ten.tif, page 3: taken for a page, 2 lines",
        "fourhands: 11 of 12 pages were read before and are skipped",
    ]
    assert (out / "ten-03.txt").read_text() == "4\n2\n"
    assert (out / "b.txt").read_text() == "corrected by hand"


def test_two_pictures_of_one_name_are_not_written_over_each_other(tmp_path: Path, command: Command) -> None:
    Image.fromarray(bars.page_of([2, 3])).save(tmp_path / "a.png")
    Image.fromarray(bars.page_of([4, 5])).save(tmp_path / "a.tif")
    out = tmp_path / "out"
    for _ in range(2):
        outcome = command("read", tmp_path / "a.png", tmp_path / "a.tif", "--out", out)
        assert outcome.code == 1
        assert "a.tif would be written to" in outcome.err
        assert "a.png is; rename one of them" in outcome.err
        assert (out / "a.txt").read_text() == "2\n3\n"


def test_a_picture_is_not_written_over_the_one_that_is_read(scan: Path, command: Command) -> None:
    before = scan.read_bytes()
    command("read", scan, "--format", "picture", "--out", scan.parent).refuses("written over", "another folder")
    assert scan.read_bytes() == before


# --- bad input
def blank(path: Path) -> None:
    Image.new("L", (500, 700), 240).save(path)


def without_lines(path: Path) -> None:
    light_HW = np.random.default_rng(0).integers(180, 256, (700, 500), np.uint8)  # grain, but no ink
    Image.fromarray(light_HW).save(path)


def something_else(path: Path) -> None:
    Image.fromarray(bars.page_of([9, 9, 9])).save(path)  # read with little confidence both ways


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (blank, ["is blank"]),
        (without_lines, ["no writing was found", "--as line"]),
        (something_else, ["no writing was found"]),
        (lambda path: path.write_text("hello"), ["is not an image that can be read"]),
        (lambda _: None, ["does not exist"]),
    ],
    ids=["no ink", "no line", "something else", "text", "missing"],
)
def test_bad_input_gets_one_sentence(
    make: Callable[[Path], Any], words: list[str], scan: Path, tmp_path: Path, command: Command
) -> None:
    bad = tmp_path / "bad.png"
    make(bad)
    command("read", bad).refuses("bad.png", *words)
    command("read", bad, "--out", tmp_path / "out").refuses("bad.png", *words)
    assert list((tmp_path / "out").iterdir()) == []
    # among others: named, counted, the rest done
    outcome = command("read", scan, bad, scan.parent / "scan.png", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert os.listdir(tmp_path / "out") == ["scan.txt"]
    named, counted = outcome.err.splitlines()[-2:]
    assert named.startswith(f"fourhands: error: {bad}")
    assert counted == "fourhands: 1 of 2 could not be read; the others are done"
    assert all(word in named for word in words)


def test_a_bad_page_of_a_document_does_not_cost_the_others(tmp_path: Path, command: Command) -> None:
    good = Image.fromarray(bars.page_of(COUNTS))
    good.save(tmp_path / "scan.tif", save_all=True, append_images=[Image.new("L", (600, 700), 200), good])
    outcome = command("read", tmp_path / "scan.tif")
    assert (outcome.code, outcome.out) == (1, f"{TEXT}\n{TEXT}")
    assert "scan.tif, page 2: the image (700×600 pixels) is blank" in outcome.err
    assert "1 of 3 could not be read" in outcome.err


def test_the_exit_code_is_2_if_nothing_could_be_read(tmp_path: Path, command: Command) -> None:
    outcome = command("read", tmp_path / "a.png", tmp_path / "b.png")
    assert outcome.code == 2
    assert "2 of 2 could not be read" in outcome.err


def test_a_page_upside_down_is_turned_and_said(scan: Path, tmp_path: Path, command: Command) -> None:
    turned_HW = np.ascontiguousarray(bars.page_of(COUNTS)[::-1, ::-1])
    Image.fromarray(turned_HW).save(tmp_path / "turned.png")
    outcome = command("read", tmp_path / "turned.png", "--format", "json")
    assert "turned.png: the page is upside down, so it was turned to be read" in outcome.err
    (row,) = json.loads(outcome.out)
    assert (row["text"], row["upside_down"]) == (TEXT.strip(), True)
    # the places are those of the picture as it came: all ink of the first line lies in its outline
    outline = np.array(row["lines"][0]["outline"])
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    assert (turned_HW[top : bottom + 1, left : right + 1] < 128).sum() == (bars.page_of([5]) < 128).sum()
    assert "upside_down" not in json.loads(command("read", scan, "--json").out)[0]


def test_a_page_with_too_many_lines_is_refused(scan: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_LINES", 2)
    command("read", scan).refuses("scan.png", "3 lines of text; at most 2 are read")


def test_a_document_with_too_many_pages_is_refused(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_PAGES", 9)
    folder_of_pages(tmp_path / "scans")
    command("read", tmp_path / "scans" / "ten.tif").refuses("ten.tif has 10 pages; at most 9")


def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(
    scan: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    command("read", scan, "--out", tmp_path / "file").refuses("file is a file; give --out a folder")
    command("read", scan, "--out", tmp_path / "file" / "out").refuses("cannot write into", "Not a directory")
    assert (tmp_path / "file").read_text() == "mine"

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(read_command.PageReader, "open_for", lambda *_: pytest.fail("a model was loaded"))
    command("read", scan, "--out", tmp_path / "out").refuses("cannot write into", "Read-only file system")


def test_a_full_disk_stops_the_work_and_keeps_what_was_written(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, out = folder_of_pages(tmp_path / "scans"), tmp_path / "out"
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:  # each file is synced, then its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        outcome = command("read", scans, "--out", out)
    assert outcome.code == 2
    assert "cannot write" in outcome.err.splitlines()[-1]
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["b.txt", "ten-01.txt"]
    assert command("read", scans, "--out", out).code == 0
    assert len(list(out.rglob("*.txt"))) == 12


def test_a_damaged_weights_file_is_no_picture(scan: Path, shipped: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "weights").write_bytes((shipped / "reader.safetensors").read_bytes()[:-100])
    command("read", tmp_path / "weights", scan).refuses("not a safetensors file")
