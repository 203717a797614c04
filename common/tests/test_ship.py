"""The reader that ships: its files, and how they are made from two run folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import fourhands
from common.errors import UserError
from common.reading import ship as ship_module
from common.reading.ship import LARGEST, main, ship
from common.reading.shipped import FINDER, MODELS, PRIOR, READER
from common.tests import bars
from common.tests.conftest import Command
from common.training import page_reader, verification
from common.weights import WeightsFile, load_weights, rounded, save_weights


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Run folders of a finder and of a reader."""
    (tmp_path / "models").mkdir()
    bars.models(tmp_path / "models")
    for name, run in (("finder", "a"), ("reader", "b")):
        (tmp_path / run).mkdir()
        shutil.copy(tmp_path / "models" / f"{name}.safetensors", tmp_path / run / "weights.safetensors")
    shutil.copy(tmp_path / "models" / "prior.safetensors", tmp_path / "b" / "prior.safetensors")
    return tmp_path / "a", tmp_path / "b"


def test_kernels_are_float16_on_disk_and_the_golden_examples_prove_them(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shipped = ship(*runs, out)
    assert {path.name: path.stat().st_size for path in out.iterdir()} == shipped.bytes_of
    for run, name in zip(runs, ("finder", "reader"), strict=True):
        path = out / f"{name}.safetensors"
        with safe_open(path, "numpy") as file:
            types = {key: file.get_tensor(key).dtype for key in file.keys() if not key.startswith("golden")}
            shapes = {key: file.get_tensor(key).ndim for key in types}
        assert all(types[key] == (np.float16 if shapes[key] > 1 else np.float32) for key in types)
        before, after = load_weights(run / "weights.safetensors"), load_weights(path)
        for key, array in after.weights.items():
            assert array.dtype == np.float32
            # float16 keeps 11 bits
            np.testing.assert_allclose(array, before.weights[key], rtol=2**-11, atol=1e-7)
        (result,) = fourhands.verify(path, "numpy")
        assert (result.same, result.worst) == (True, 0)
    assert 0 < shipped.reader_change < 0.01


def test_golden_logits_of_other_weights_are_found_out(runs: tuple[Path, Path], tmp_path: Path) -> None:
    ship(*runs, tmp_path)
    content = load_weights(tmp_path / "reader.safetensors")
    content.weights["head.kernel"][0, 0] += 0.1
    save_weights(tmp_path / "moved.safetensors", content, half=True)
    assert fourhands.verify(tmp_path / "moved.safetensors", "numpy")[0].same is False


def test_nothing_of_the_machine_that_trained_is_shipped(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for run in runs:
        content = load_weights(run / "weights.safetensors")
        provenance = {"framework": "numpy", "data": "pages:/home/somebody/scans", "start_from": "/home/somebody/run"}
        changed = WeightsFile(**{**vars(content), "provenance": provenance})
        save_weights(run / "weights.safetensors", changed)
    ship(*runs, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert b"somebody" not in path.read_bytes()


def test_runs_in_the_wrong_order_and_runs_without_a_language_model_are_refused(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(runs[1]), str(runs[0]), "--out", str(tmp_path / "out")]) == 2
    assert "is of lstm_ctc; expected unet" in capsys.readouterr().err
    (runs[1] / "prior.safetensors").unlink()
    with pytest.raises(UserError, match=r"prior\.safetensors does not exist"):
        ship(*runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_too_large_are_refused_and_those_before_are_kept(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ship(*runs, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(ship_module, "LARGEST", 100)
    with pytest.raises(UserError, match="more than 100"):
        ship(*runs, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_value_that_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match=r"head\.kernel has a value that float16 cannot hold"):
        rounded({"head.kernel": np.array([[1.0, 70_000.0]], np.float32)})
    # few, and a variance may be tiny
    kept = rounded({"stem.0.variance": np.array([1e-9, 1e5], np.float32)})
    np.testing.assert_array_equal(kept["stem.0.variance"], np.array([1e-9, 1e5], np.float32))


# --- without a run
@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader that ships reads bars."""
    bars.ship(tmp_path, monkeypatch)
    monkeypatch.setattr(verification, "FINDER", tmp_path / "finder.safetensors")
    monkeypatch.setattr(verification, "READER", tmp_path / "reader.safetensors")
    return tmp_path


def test_load_without_a_run_reads_pages_and_lines(shipped: Path) -> None:
    reader = fourhands.load()
    page = bars.page_of([5, 3])
    reading = reader.read(page)
    assert isinstance(reading, fourhands.PageReading)
    assert (reading.text, reading.kind, reading.size) == ("5\n3", "page", (600, 700))
    line = reading.lines[1]
    assert isinstance(line, fourhands.PageLine)
    assert (line.text, line.confidence, line.characters) == ("3", 0.95, (("3", 0.95),))
    assert line.outline.max() < 700
    strip = reader.read(bars.page_of([6], (240, 140))[45:125])
    assert (strip.text, strip.kind, strip.confidence) == ("6", "line", 0.95)
    assert reader.read(page, kind="page").text == "5\n3"
    assert reader.charset == "0123456789"


def test_load_pages_takes_runs_of_ones_own(shipped: Path, runs: tuple[Path, Path]) -> None:
    (shipped / "reader.safetensors").unlink()
    (shipped / "finder.safetensors").unlink()
    assert fourhands.load_pages(runs[1], finder=runs[0]).read(bars.page_of([4, 2])).text == "4\n2"
    with pytest.raises(UserError, match="lacks finder"):
        fourhands.load_pages(runs[1]).read(bars.page_of([4, 2]))
    with pytest.raises(UserError, match="lacks reader"):
        fourhands.load()
    with pytest.raises(UserError, match="is a unet, which finds lines and reads none"):
        fourhands.load_pages(runs[0])


def test_an_error_of_a_path_names_the_file(shipped: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(bars.page_of([])).save(tmp_path / "empty.png")
    Image.fromarray(bars.page_of([9, 9])).save(tmp_path / "odd.png")
    for name, words in (("empty.png", "is blank"), ("odd.png", "no writing"), ("missing.png", "does not exist")):
        with pytest.raises(UserError, match=words) as caught:
            fourhands.load().read(tmp_path / name)
        assert str(caught.value).count(name) == 1


def test_documents_are_read_page_by_page(shipped: Path, tmp_path: Path) -> None:
    from PIL import Image

    first, second = (Image.fromarray(bars.page_of([n, 2])) for n in (4, 6))
    first.save(tmp_path / "scan.tif", save_all=True, append_images=[second])
    texts = [reading.text for reading in fourhands.load().read_document(tmp_path / "scan.tif")]
    assert texts == ["4\n2", "6\n2"]


def test_the_reader_that_ships_searches_with_its_language_model_unless_told_otherwise(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, asked = fourhands.load(), []
    search = fourhands.Reader.search

    def listening(self: fourhands.Reader, *, beam: int, ngram: bool) -> object:
        asked.append((beam, ngram))
        return search(self, beam=beam, ngram=ngram)

    monkeypatch.setattr(fourhands.Reader, "search", listening)
    for how in ({}, {"beam": 0}, {"beam": 4}, {"beam": 4, "ngram": True}):
        reader.read(bars.page_of([4, 2]), **how)
    assert asked == [(page_reader.BEAM, True), (0, False), (4, False), (4, True)]
    asked.clear()
    fourhands.load_pages(shipped / "reader.safetensors").read(bars.page_of([4, 2]))
    assert asked == [(0, False)]


def test_verify_without_a_run_verifies_both_models(shipped: Path, command: Command) -> None:
    rows = json.loads(command("verify", "--framework", "numpy", "--json").out)
    assert [(row["model"], row["framework"], row["same"]) for row in rows] == [
        ("finder", "numpy", True),
        ("reader", "numpy", True),
    ]
    shown = command("verify", "--framework", "numpy").out.splitlines()
    assert [row.split()[:2] for row in shown] == [["finder", "numpy"], ["reader", "numpy"]]
    content = load_weights(shipped / "finder.safetensors")
    content.weights["head.bias"][0] += 1
    save_weights(shipped / "finder.safetensors", content)
    outcome = command("verify", "--framework", "numpy")
    assert outcome.code == 1
    assert "DIFFERS" in outcome.out.splitlines()[0]


# --- the files themselves
def test_the_files_that_ship_are_small_enough_and_prove_themselves() -> None:
    for path in (FINDER, READER, PRIOR):
        if not path.is_file():
            pytest.skip(f"missing: {path.name} of the reader that ships; python -m common.reading.ship makes it")
    assert sum(path.stat().st_size for path in MODELS.iterdir()) <= LARGEST
    assert [result.same for result in fourhands.verify(framework="numpy")] == [True, True]


def test_the_model_card_names_what_each_licence_asks_for() -> None:
    card = (MODELS / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in (
        "CC BY 4.0",
        "Copiste d'un jour",
        "Bibliothèque et Archives nationales du Québec",
        "Testaments de Poilus",
        "10.5281/zenodo.10177106",
        "Memorials for Jane Lathrop Stanford",
        "École nationale des chartes",
        "python -m common.reading.ship",
    ):
        assert words in card, words
