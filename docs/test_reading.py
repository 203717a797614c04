"""The pages on reading: each step has its picture, commands run, and flags, fields and sizes are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("IPython", reason='the pages need IPython: pip install "fourhands[docs]"')

from PIL import Image

from common.cli import _parse, main
from common.reading.formats import FORMATS, Source
from common.reading.formats.json import as_json
from common.reading.page import PageLine, PageReading, ReadCharacter
from common.reading.shipped import FINDER, READER
from common.spec import LSTMCTCSpec
from common.weights import load_weights

DOCS = Path(__file__).parent
READING, OWN = ((DOCS / name).read_text(encoding="utf-8") for name in ("reading.md", "own_pages.md"))
STEPS = ["photo", "ink", "maps", "tracks", "lines", "part", "ink", "frames", "from_file"]
"""The drawings of the page, in their order."""


def commands(page: str) -> list[list[str]]:
    """The words of each command in a page's listings, without comments."""
    listings = "\n".join(re.findall(r"^```sh\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE))
    lines = listings.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def arguments_of(page: str, *first: str) -> list[list[str]]:
    """The arguments of the commands that begin with these words."""
    return [words[len(first) :] for words in commands(page) if words[: len(first)] == list(first)]


def run_cells(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[Any]]:
    """The names and the values of the page's cells, each with the values of its text evaluated."""
    import matplotlib

    monkeypatch.chdir(DOCS)
    monkeypatch.syspath_prepend(str(DOCS))
    names: dict[str, Any] = {}
    shown: list[Any] = []
    with matplotlib.rc_context():
        import matplotlib.pyplot as plt

        monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
        for cell, text in re.findall(
            r"```\{code-cell\}\n(?:---\n.*?---\n)?(.*?)```|\{eval\}`(.+?)`", READING, re.DOTALL
        ):
            if text:
                assert str(eval(text, names))
                continue
            *statements, last = cell.rstrip().split("\n")
            if last.startswith("drawn.shown("):
                exec("\n".join(statements), names)
                shown.append(eval(last, names))
            else:
                exec(cell, names)
        plt.close("all")
    return names, shown


@pytest.fixture(scope="module")
def ran() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield run_cells(patch)
    sys.modules.pop("reading", None)


@pytest.fixture(scope="module")
def folder(ran: tuple[dict[str, Any], list[Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the page name."""
    folder = tmp_path_factory.mktemp("reading")
    picture, lines = ran[0]["picture"], ran[0]["truth"]
    Image.fromarray(picture).save(folder / "page.jpg")
    (left, top), (right, bottom) = lines[1].outline.min(axis=0), lines[1].outline.max(axis=0)
    Image.fromarray(picture).crop((int(left), int(top), int(right), int(bottom))).save(folder / "line.png")
    (folder / "scans").mkdir()
    shutil.copy(folder / "page.jpg", folder / "scans" / "first.jpg")
    for name, weights in (("finder", FINDER), ("reader", READER)):
        (folder / "runs" / name).mkdir(parents=True)
        shutil.copy(weights, folder / "runs" / name / "weights.safetensors")
    return folder


# --- step by step
def test_page_draws_every_step_in_order() -> None:
    drawn = re.findall(r"drawn\.(?:shown\(drawn\.)?(\w+)\(", READING)
    assert [name for name in drawn if name in STEPS] == STEPS


def test_every_picture_is_described() -> None:
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", READING, flags=re.DOTALL)
    pictures = [cell for cell in cells if "drawn.shown(" in cell or "plt.show()" in cell]
    assert len(pictures) == len(STEPS)
    assert [cell for cell in pictures if not re.search(r"^    alt: .{40}", cell, re.MULTILINE)] == []


def test_pictures_are_made_by_the_code(ran: tuple[dict[str, Any], list[Any]]) -> None:
    names, shown = ran
    assert len(shown) == len(STEPS)
    files = [picture.data for picture in shown if hasattr(picture, "data")]
    assert len({*files}) == len(files) == len(STEPS) - 1  # the frames are a figure
    assert all(content[:2] == b"\xff\xd8" for content in files), "each is a JPEG"
    assert len(names["result"].lines) > 5


def test_pages_truth_is_compared_with_what_was_read(ran: tuple[dict[str, Any], list[Any]]) -> None:
    figures = ran[0]["figures"]
    assert figures["pages"] == 1
    assert figures["f1"] > 0.8
    assert figures["cer"] < 0.3


# --- commands and formats
@pytest.mark.parametrize("words", arguments_of(READING, "fourhands", "read"), ids=" ".join)
def test_command_of_the_page_runs(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = {*folder.rglob("*")}
    # the best path, which is faster: the searches have tests of their own
    assert main(["read", *words, "--beam", "0"]) == 0
    printed = capsys.readouterr().out
    made = {*folder.rglob("*")} - before
    assert any(path.stat().st_size for path in made if path.is_file()) == ("--out" in words)
    assert bool(printed.strip()) == ("--out" not in words)


@pytest.mark.parametrize("page", [READING, OWN], ids=["reading", "own pages"])
def test_commands_of_the_pages_have_flags_that_exist(page: str) -> None:
    named = [words[1:] for words in commands(page) if words[0] == "fourhands"]
    assert named
    for words in named:
        name = " ".join(words[:2]) if words[0] == "data" else words[0]
        assert _parse(name, words[len(name.split()) :]) is not None  # raises an error for a flag that is wrong


def test_page_names_every_flag_of_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--help"]) == 0
    flags = {*re.findall(r"^\W+(--[a-z]+) ", capsys.readouterr().out, flags=re.MULTILINE)}
    assert len(flags) > 6
    terms = "\n".join(re.findall(r"^(`.*`)\n: ", READING, flags=re.MULTILINE))
    assert flags - {*re.findall(r"--[a-z]+", terms)} == {"--json"}  # it is named with --format


def test_page_describes_every_format() -> None:
    assert re.findall(r"^`(\w+)`\n: ", READING, flags=re.MULTILINE) == list(FORMATS)


def test_tables_have_every_field_of_the_json() -> None:
    line = PageLine(
        text="a",
        confidence=1.0,
        characters=(ReadCharacter("a", 1.0),),
        baseline=np.ones((2, 2)),
        outline=np.ones((4, 2)),
    )
    reading = PageReading(size=(9, 9), lines=(line,), confidence=1.0, upside_down=True)
    source = Source(image="page.tif", picture_HW=np.zeros((9, 9), np.uint8), page=2, pages=3)
    rows = [as_json(each, source) for each in (reading, replace(reading, kind="line"))]
    head, lines = re.findall(r"^\| field \| content \|\n\|---\|---\|\n((?:\|.*\n)+)", READING, flags=re.MULTILINE)
    for table, fields in ((head, {*rows[0], *rows[1]}), (lines, {*rows[0]["lines"][0]})):
        assert {*re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()))} == fields


def test_examples_in_python_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    examples = re.findall(r"```python\n(.*?)```", READING, flags=re.DOTALL)
    assert len(examples) == 2
    names: dict[str, Any] = {}
    exec("\n".join(examples), names)
    assert names["page"].text == "\n".join(line.text for line in names["page"].lines)
    assert json.dumps(names["reader"].read("page.jpg", beam=0).text) != '""'


# --- pages of one's own
def test_sizes_of_the_recognizer_are_those_that_ship() -> None:
    (words,) = [words for words in arguments_of(OWN, "fourhands", "train") if "lstm_ctc" in words]
    command: Any = _parse("train", words)
    shipped = load_weights(READER).spec
    assert isinstance(shipped, LSTMCTCSpec)
    free = {"num_classes": 2, "dropout": 0, "head_dropout": 0, "shortcut_weight": 0}
    assert replace(command.spec, **free) == replace(shipped, **free)
    assert Path(command.start_from) == READER.relative_to(DOCS.parent)


def test_sizes_of_the_finder_are_those_that_ship() -> None:
    (words,) = [words for words in arguments_of(OWN, "fourhands", "train") if "unet" in words]
    command: Any = _parse("train", words)
    assert command.spec == load_weights(FINDER).spec
    assert Path(command.start_from) == FINDER.relative_to(DOCS.parent)


@pytest.mark.parametrize(
    ("pattern", "writers"),
    [("'^(.*?)(?:_[0-9]+)?$'", ["letters/anna", "letters/anna", "letters/berta", "diary/p001"]),
     ("'([^/]*?)(?:_[0-9]+)?$'", ["anna", "anna", "berta", "p001"])],
    ids=["with the folder", "without it"],
)  # fmt: skip
def test_writer_patterns_do_what_the_page_says(pattern: str, writers: list[str], tmp_path: Path) -> None:
    from common.data.page_files import find_pages

    assert pattern in OWN
    for name in ("letters/anna_1", "letters/anna_2", "letters/berta_1", "diary/p001"):
        assert name.rpartition("/")[2] in OWN
        path = tmp_path / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find_pages(tmp_path, pattern.strip("'"))
    assert [
        found.writers[name] for name in ("letters/anna_1", "letters/anna_2", "letters/berta_1", "diary/p001")
    ] == writers
