"""`fourhands evaluate` on pages, with a finder and a recognizer that were never trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.charset import Charset
from common.evaluation.pages import PARTS
from common.spec import LSTMCTCSpec, UNetSpec
from common.tests.conftest import Command
from common.training import page_evaluation, page_reader
from common.weights import Golden, WeightsFile, initial_weights, save_weights
from impl_numpy import build

LINE = """<TextLine HPOS="20" VPOS="{top}" WIDTH="150" HEIGHT="30" BASELINE="20 {base} 170 {base}">
<String CONTENT="{text}"/></TextLine>"""
ALTO = """<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout><Page WIDTH="200" HEIGHT="160"><PrintSpace>
<TextBlock>{lines}</TextBlock></PrintSpace></Page></Layout></alto>"""


def write_page(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture_HW = np.full((160, 200), 255, np.uint8)
    for base in (50, 100):
        picture_HW[base - 15 : base, 20:170:7] = 0
    Image.fromarray(picture_HW).save(folder / f"{name}.png")
    lines = "".join(LINE.format(top=base - 22, base=base, text="ab") for base in (50, 100))
    (folder / f"{name}.xml").write_text(ALTO.format(lines=lines))


@pytest.fixture
def pages(tmp_path: Path) -> str:
    """`--data` of two collections with three pages each."""
    for collection in ("new", "old"):
        for number in range(3):
            write_page(tmp_path / "scans" / collection, f"p{number}_1")
    return f"pages:{tmp_path / 'scans'}"


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights file of a `unet`. It and a recognizer, both untrained, take the place of the reader that ships."""
    spec, line_spec = UNetSpec(side=64, channels=(2, 2)), LSTMCTCSpec(num_classes=3, hidden_dim=4, frame_dim=4)
    sizes, nothing = np.array([[8, 8]], np.int32), Charset(())
    for name, each, charset, golden in (
        ("finder", spec, nothing, {"images_GHW": np.zeros((1, 8, 8), np.uint8), "sizes_G2": sizes}),
        (
            "reader",
            line_spec,
            Charset(("a", "b")),
            {
                "images_GHW": np.zeros((1, 28, 16), np.uint8),
                "widths_G": np.array([16], np.int32),
                "labels_GL": np.array([[1]], np.int32),
            },
        ),
    ):
        weights = initial_weights(each, seed=0)
        model = build(each)
        model.load_weights(weights)
        inputs = [golden["images_GHW"][..., None].astype(np.float32), *list(golden.values())[1:]]
        content = Golden(**golden, logits=model.logits(*inputs))
        save_weights(
            tmp_path / f"{name}.safetensors", WeightsFile(spec=each, charset=charset, weights=weights, golden=content)
        )
    path = tmp_path / "finder.safetensors"
    monkeypatch.setattr(page_reader, "READER", tmp_path / "reader.safetensors")
    monkeypatch.setattr(page_reader, "FINDER", path)
    monkeypatch.setattr(page_evaluation, "FINDER", path)
    return path


def test_every_figure_of_pages_is_in_the_json(command: Command, pages: str, finder: Path) -> None:
    outcome = command("evaluate", finder, "--data", pages, "--split", "all", "--beam", 0, "--json")
    result = json.loads(outcome.out)
    assert (result["rung"], result["framework"], result["split"], result["pages"]) == ("unet", "numpy", "all", 6)
    assert (result["lines_true"], result["lines"], result["characters"]) == (12, 12, 6 * len("ab\nab"))
    for name in ("precision", "recall", "f1", "outline_iou", "cer", "wer", "cer_matched", "cer_own_lines"):
        assert len(result[f"{name}_interval"]) == 2
    assert sum(result[f"cer_{part}"] for part in PARTS) == pytest.approx(result["cer"])
    assert {name: each["pages"] for name, each in result["collections"].items()} == {"new": 3, "old": 3}
    assert len(result["each_page"]) == 6


def test_reader_that_ships_is_evaluated_without_a_run(command: Command, pages: str, finder: Path) -> None:
    outcome = command("evaluate", "--data", pages, "--beam", 0, "--writer-pattern", "^.*/(.*)_1$")
    assert outcome.code == 0, outcome
    first, *rest = outcome.out.splitlines()
    # the writers of p0, p1 and p2 have a page in each collection, so each split has two pages
    assert first == f"the reader that ships in numpy on {pages}, 2 test pages with 4 lines:"
    for said in (
        "lines found: F1 ",
        "page CER ",
        "with lines matched",
        "with the outlines of the file",
        "missed lines",
    ):
        assert any(said in line for line in rest), said
    assert "new, 1 pages with 2 lines:" in rest


def test_pages_need_data(command: Command, finder: Path) -> None:
    command("evaluate").refuses("no data to evaluate on", "--data pages:FOLDER")
    command("evaluate", finder).refuses("no data to evaluate on")
    command("evaluate", "--data", "mnist").refuses("mnist holds characters where pages are needed")


def test_all_splits_together_are_for_pages(command: Command, finished: Path) -> None:
    command("evaluate", finished, "--split", "all").refuses("all")
