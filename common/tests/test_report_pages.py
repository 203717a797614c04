"""The report of the rung that finds the lines of pages, on run folders made here instead of by training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.data.page_dataset import PageDataset, PageSplit, page_split
from common.data.page_image import page_scale
from common.data.xml_pages import TextLine
from common.evaluation.finding import baselines_text, evaluate_finder
from common.metrics import bootstrap_difference, bootstrap_interval
from common.report import compare as module
from common.report import jobs
from common.report.budgets import TIERS, data_of
from common.report.compare import compare
from common.report.page_cards import FOUND, TRUE, drawn_page
from common.report.results import Finished, differences, gallery, open_run
from common.spec import UNetSpec
from common.tasks import PAGES
from common.tasks.pages import Pages
from common.weights import WeightsFile, initial_weights, save_weights
from impl_numpy import build

SPEC = UNetSpec(side=64, channels=(2, 2))
NOTHING = Charset(())


def split_of(count: int) -> PageSplit:
    """White pages of 64×64 pixels with two lines each."""
    pictures = [np.full((64, 64), 250 - i, np.uint8) for i in range(count)]
    for picture_HW in pictures:
        picture_HW[[20, 40], 10:50] = 0
    lines = tuple(
        TextLine(
            number=number,
            text="a",
            outline=np.array([(8.0, y - 8), (52, y - 8), (52, y + 3), (8, y + 3)]),
            baseline=np.array([(10.0, y), (50.0, y)]),
        )
        for number, y in ((1, 20), (2, 40))
    )
    return page_split(
        pictures=pictures,
        side=64,
        scales=[page_scale((64, 64), 64)] * count,
        lines=[lines] * count,
        names=[f"page {i}" for i in range(count)],
        writers_N=np.arange(count) // 2,
    )


def dataset() -> PageDataset:
    return PageDataset(name="ink_pages", charset=NOTHING, train=split_of(2), validation=split_of(2), test=split_of(6))


def make_run(folder: Path, framework: str) -> None:
    """The run folder of a model that was never trained. Of the lines, PyTorch's finds all, and NumPy's one in two."""
    folder.mkdir(parents=True)
    weights = initial_weights(SPEC, seed=0)
    model = build(SPEC)
    model.load_weights(weights)
    test = dataset().test
    evaluation = evaluate_finder(model, SPEC, test)
    golden = evaluation.golden(model)
    save_weights(
        folder / "weights.safetensors", WeightsFile(spec=SPEC, charset=NOTHING, weights=weights, golden=golden)
    )
    arrays = evaluation.predictions()
    right = {"numpy": 1, "pytorch": 2}[framework]
    shown = [baselines_text([line.baseline for line in lines[:right]]) for lines in test.lines]
    counts = {"true": np.full(6, 2), "found": np.full(6, right), "matched": np.full(6, right)}
    np.savez(folder / "predictions.npz", **(arrays | counts | {"found_lines": np.array(shown)}))  # type: ignore[arg-type]
    rows: list[dict[str, float]] = [{"step": s, "train/loss": 1.0} for s in (1, 2)]
    rows.append({"step": 2, "epoch": 1, "seconds": 4.0, "validation/loss": 1.0, "validation/f1": 0.4})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {
        "rung": "unet",
        "framework": framework,
        **evaluation.figures(),
        "buckets": [[64, 64]],
        "refused": 0,
        "parameters": 100,
        "examples_per_second": 12.5,
        "step_seconds": {"numpy": 0.3, "pytorch": 0.2}[framework],
        "compile_seconds": 0.01,
        "peak_memory_mb": 200.0,
        "seconds": 4.0,
        "versions": {framework: "1.2.3"},
    }
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """The report of two frameworks: report.json, and the page."""

    def suite(report: Path, mark: str, settings: jobs.Settings) -> str:
        checks = [
            {"implementation": name, "rung": "unet", "check": "logits agree", "dtype": "float64", "outcome": "passed"}
            | {"reason": "", "worst": 1e-12, "tolerance": 1e-10, "seconds": 0.1}
            for name in settings["frameworks"]
        ]
        report.write_text(json.dumps({"checks": checks, "faults": {"by_implementation": {}, "each": []}}))
        return ""

    def train(out: Path, settings: jobs.Settings, rung: str, framework: str) -> str:
        make_run(jobs.run_folder(out, rung, framework), framework)
        return ""

    monkeypatch.setattr(module, "run_suite", suite)
    monkeypatch.setattr(module, "run_training", train)
    monkeypatch.setattr(Pages, "load", lambda *_: dataset())
    out = tmp_path / "report"
    assert compare("first", ["unet"], ["numpy", "pytorch"], out=out) == 0
    return json.loads((out / "report.json").read_text()), (out / "index.html").read_text()


def test_report_compares_f1_and_says_what_was_found(report: tuple[dict[str, Any], str]) -> None:
    content, page = report
    found = content["rungs"]["unet"]
    assert set(PAGES.measure.figures) <= set(found["rows"]["numpy"])
    (difference,) = found["differences"]
    # F1 of one line in two is 2/3, that of both lines is 1; NumPy is first
    assert difference["difference"] == pytest.approx(-1 / 3)
    assert difference["better"] == "pytorch"
    assert found["confusions"] == []
    assert found["rows"]["numpy"]["seconds_to_target"] == 4.0  # 40% in validation, the target is lower
    for said in ("test F1", "1 of 2 lines found, 0 others", "2 of 2 lines found, 0 others", "Worst pages", "IoU"):
        assert said in page, said
    assert "Most frequent mistakes" not in page
    assert page.count('alt="test page') == 2 * (3 + 3 + 3)  # of each gallery three pages, each in both frameworks


def test_numpy_finds_the_lines_again_with_the_weights_of_a_run(report: tuple[dict[str, Any], str]) -> None:
    rows = report[0]["rungs"]["unet"]["rows"]
    assert rows["numpy"]["read_differently"] is None
    # what PyTorch's run claims to have found was made up
    assert (rows["pytorch"]["read_differently"], rows["pytorch"]["read_again"]) == (4, 4)


def test_run_of_pages_counts_lines(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "numpy")
    run = open_run(tmp_path / "run", NOTHING)
    assert run.edits_N.tolist() == [1] * 6  # one line missed
    assert run.characters_N.tolist() == [3] * 6  # two true lines, one found line
    assert json.loads(run.texts[0]) == [[[10, 20], [50, 20]]]
    assert json.loads(run.truths[0]) == [[[10, 20], [50, 20]], [[10, 40], [50, 40]]]


def run_with(edits: list[int], lengths: list[int]) -> Finished:
    nothing: Any = {"folder": Path(), "result": {}, "metrics": []}
    return Finished(
        **nothing,
        truths=["[]"] * len(edits),
        texts=[str(edits)] * len(edits),
        confidence_N=np.zeros(len(edits)),
        edits_N=np.array(edits),
        characters_N=np.array(lengths),
        writers_N=np.arange(len(edits)),
    )


def test_difference_of_runs_with_different_numbers_of_found_lines_is_that_of_their_f1() -> None:
    runs = {"numpy": run_with([1, 3], [10, 10]), "jax": run_with([2, 2], [8, 12])}
    (difference,) = differences(runs, PAGES.measure)
    assert difference["difference"] == pytest.approx((1 - 4 / 20) - (1 - 4 / 20))
    runs["jax"] = run_with([2, 2], [4, 4])
    assert differences(runs, PAGES.measure)[0]["difference"] == pytest.approx((1 - 4 / 20) - (1 - 4 / 8))


def test_paired_interval_of_equal_lengths_is_that_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    a_N, b_N, length_N = rng.integers(0, 9, 40), rng.integers(0, 9, 40), rng.integers(9, 20, 40)
    writers_N = np.arange(40) // 4
    paired = bootstrap_difference((a_N, length_N), (b_N, length_N), writers_N)
    assert paired == pytest.approx(bootstrap_interval(a_N - b_N, writers_N, lengths_N=length_N))
    assert bootstrap_difference((a_N, length_N), (a_N, length_N), writers_N) == (0, 0)
    # of one writer there is only one resample; each rate has its own lengths
    one = np.zeros(2, np.int64)
    first, second = (np.array([1, 3]), np.array([10, 10])), (np.array([2, 2]), np.array([4, 4]))
    assert bootstrap_difference(first, second, one) == pytest.approx((4 / 20 - 4 / 8,) * 2)


def test_frameworks_disagree_most_where_their_mistakes_differ_most() -> None:
    runs = {"numpy": run_with([1, 5, 2], [9, 9, 9]), "jax": run_with([2, 1, 2], [9, 9, 9])}
    assert gallery(runs, by_spread=True)["disagreement"] == [1, 0]


def test_page_is_drawn_with_true_and_found_lines() -> None:
    image_HW = np.zeros((100, 80), np.uint8)
    drawn = drawn_page(image_HW, "[[[10,20],[50,20]]]", "[[[10,40],[30,40],[50,40]]]")
    assert drawn.shape == (100, 80, 3)
    assert drawn[20, 30].tolist() == list(TRUE)
    assert drawn[40, 30].tolist() == list(FOUND)
    assert drawn[60, 30].tolist() == [255, 255, 255]
    large = drawn_page(np.zeros((1000, 840), np.uint8), "[[[100,200],[500,200]]]", "[]")
    assert large.shape == (500, 420, 3)
    assert large[100, 150].tolist() == list(TRUE)  # the lines are reduced with the page


# --- budgets
def test_data_of_pages_is_compared_on_every_rung_that_reads_it() -> None:
    assert list(data_of((), "pages:scans")) == ["lstm_ctc", "transformer", "unet"]
    assert data_of(("unet",), "") == {"unet": "ink_pages"}


def test_budget_of_pages_says_how_large_they_are() -> None:
    settings = {"budgets": {"unet": {**vars(TIERS["first"]["unet"]), "data": "ink_pages"}}}
    command = jobs.train_command(settings, "unet", "jax", Path("run"))
    assert command[command.index("--spec.side") + 1] == str(TIERS["first"]["unet"].side)
    assert "--spec.dropout" not in command
    larger = {"budgets": {"unet": settings["budgets"]["unet"] | {"side": 0}}}
    assert "--spec.side" not in jobs.train_command(larger, "unet", "jax", Path("run"))
    assert module._load("unet", settings["budgets"]["unet"] | {"examples": 1}).train.images[0].size < 300**2
