"""`compare` on the rungs that read lines, on run folders made here instead of by training."""

# B batch, T frames

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.data.lines import LineDataset, LineSplit
from common.errors import UserError
from common.evaluation.lines import LineEvaluation
from common.evaluation.measure import CER
from common.reading.lines import LineReading
from common.report import jobs, results
from common.report.budgets import TIERS, data_of
from common.report.charts import learning_charts
from common.report.code import lines_by_file
from common.report.compare import _commands, _settings, compare
from common.report.page import pieces
from common.spec import RUNGS, LSTMCTCSpec
from common.tasks.lines import Lines
from common.tests import test_report_compare as characters
from common.tests.test_report_compare import Jobs

CHARSET = Charset(tuple(sorted("ab <&$")))
SPEC = LSTMCTCSpec(num_classes=len(CHARSET) + 1)
STEP = 30  # grey levels from one character to the next
LINES = 60
fake = characters.fake


# --- lines that a few lines of code can read
def split(count: int) -> LineSplit:
    rng = np.random.default_rng(0)
    texts = ["<" + "".join(rng.choice(CHARSET.characters, rng.integers(2, 7))) for _ in range(count)]
    images = [image(text) for text in texts]
    return LineSplit(
        images=images,
        widths_N=np.array([image_HW.shape[1] for image_HW in images]),
        texts=texts,
        names=[f"line {i}" for i in range(count)],
        writers_N=np.arange(count) // 6,
    )


def image(text: str) -> np.ndarray:
    """Each character as four columns of its own grey and four of paper."""
    columns = [grey for k in CHARSET.encode(text) for grey in (STEP * k, 0)]
    return np.tile(np.repeat(np.array(columns, np.uint8), 4), (SPEC.height, 1))


class Reader:
    """Reads these lines without a mistake, whatever its weights."""

    packages = ()
    precisions = ("float32",)
    spec = SPEC

    def load_weights(self, weights: dict[str, np.ndarray]) -> None:
        pass

    def logits(self, images_BHW1: np.ndarray, widths_B: np.ndarray, labels_BL: None = None) -> np.ndarray:
        classes_BT = np.rint(images_BHW1[:, 0, ::4, 0] * 255 / STEP).astype(int)
        return 30.0 * np.eye(SPEC.num_classes)[classes_BT]


def dataset(count: int = LINES) -> LineDataset:
    return LineDataset(
        name="ink_lines", charset=CHARSET, train=split(count), validation=split(12), test=split(count), refused=()
    )


def misread(framework: str, index: int, text: str) -> str:
    """NumPy misses the first character of every fifth line; PyTorch reads another one in every third."""
    if framework == "numpy":
        return text[1:] if index % 5 == 0 else text
    return "&" + text[1:] if index % 3 == 0 else text


def make_run(folder: Path, framework: str) -> None:
    """The run folder of a run of lines."""
    folder.mkdir(parents=True)
    test = split(LINES)
    readings = [
        LineReading(text=misread(framework, i, text), confidence=i / LINES, character_confidences=())
        for i, text in enumerate(test.texts)
    ]
    seen = LineEvaluation(charset=CHARSET, split=test, readings=readings, ends=0)
    np.savez(folder / "predictions.npz", **seen.predictions())
    rows = [
        {"step": 1, "train/loss": 3.0},
        {"step": 1, "epoch": 1, "seconds": 2.0, "validation/cer": 0.4, "validation/wer": 0.9},
        {"step": 2, "epoch": 2, "seconds": 4.0, "validation/cer": 0.09, "validation/wer": 0.5},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {
        "rung": folder.name.partition("-")[0],
        "framework": framework,
        **seen.figures(),
        "parameters": 500_000,
        "examples_per_second": 100.0,
        "step_seconds": {"numpy": 0.3, "pytorch": 0.2}[framework],
        "compile_seconds": 0.5,
        "peak_memory_mb": None,
        "seconds": 4.0,
        "buckets": [[48, 5], [64, 7]],
        "refused": 3,
        "versions": {framework: "1.2.3"},
    }
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference reads these lines; runs of characters have a weights file, which it loads as usual."""
    load, content = results.load_weights, SimpleNamespace(spec=SPEC, charset=CHARSET, weights={})
    monkeypatch.setattr(results, "load_weights", lambda path: load(path) if path.exists() else content)
    build = results.load_implementation
    monkeypatch.setattr(
        results, "load_implementation", lambda name: lambda spec: Reader() if spec is SPEC else build(name)(spec)
    )


@pytest.fixture
def lines(fake: Jobs, reader: None, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    fake.make_run = lambda folder, name: (characters.make_run if "mlp" in folder.name else make_run)(folder, name)
    monkeypatch.setattr(Lines, "load", lambda *_: dataset())
    return fake


def run(out: Path, rungs: Sequence[str], **more: str) -> tuple[int, dict[str, Any], str]:
    code = compare("quick", rungs, characters.FRAMEWORKS, out=out, **more)
    return code, json.loads((out / "report.json").read_text()), (out / "index.html").read_text()


# --- the report
@pytest.mark.usefixtures("lines")
def test_report_of_lines_holds_error_rates_and_kinds_of_edits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report, page = run(tmp_path / "report", ["lstm_ctc"])
    assert code == 0
    found, size = report["rungs"]["lstm_ctc"], sum(map(len, split(LINES).texts))
    numpy, pytorch = found["rows"]["numpy"], found["rows"]["pytorch"]
    assert (numpy["cer"], pytorch["cer"]) == (pytest.approx(12 / size), pytest.approx(20 / size))
    assert [numpy[kind] for kind in ("substitutions", "insertions", "deletions")] == [0, 0, 12]
    assert [pytorch[kind] for kind in ("substitutions", "insertions", "deletions")] == [20, 0, 0]
    assert numpy["seconds_to_target"] == 4.0
    assert numpy["step_relative"] == pytest.approx(1.5)
    assert numpy["characters_per_second"] == pytest.approx(100 * size / LINES)
    code_lines = lines_by_file("numpy")
    assert numpy["lines_of_rung"] == code_lines["lstm_ctc.py"] + code_lines["stem.py"]
    assert numpy["read_differently"] is None
    assert (pytorch["read_differently"], pytorch["read_again"]) == (20, LINES)
    assert found["buckets"] == [[48, 5], [64, 7]]
    assert found["confusions"][0] == {
        "truth": "<",
        "read": "&",
        "times": {"numpy": 0, "pytorch": 20},
        "examples": sum(text.count("<") for text in split(LINES).texts),
    }
    assert found["confusions"][1]["read"] == ""
    printed = capsys.readouterr().out
    for words in (f"{1200 / size:.2f}%", "lines/s"):
        assert words in printed
        assert words in page
    assert "one of 2 shapes (columns × characters: 48×5, 64×7)" in page
    assert "3 lines were refused" in page
    assert "read as nothing" in page
    assert "0<br><small>+0, −12</small>" in page


@pytest.mark.usefixtures("lines")
def test_page_marks_wrong_characters_by_more_than_colour_and_escapes_them(tmp_path: Path) -> None:
    _, _, page = run(tmp_path / "report", ["lstm_ctc"])
    assert '<b class="wrong">&amp;</b>' in page
    assert "<del>&lt;</del>" in page
    for mark in (r"\.wrong {", "ins {", "del {"):
        assert re.search(mark + "[^}]*text-decoration: (?!none)", page)
    images = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="handwritten line [^"]+">', page)
    assert len(images) == page.count("<img ")
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    assert page.count('<svg role="img" aria-label="Validation CER') == 2


@pytest.mark.usefixtures("lines")
def test_one_report_shows_characters_and_lines_each_on_its_own_data(tmp_path: Path) -> None:
    code, report, page = run(tmp_path / "report", ["mlp", "transformer"])
    assert code == 0
    assert report["settings"]["data"] == "ink and ink_lines"
    assert [found["budget"]["data"] for found in report["rungs"].values()] == ["ink", "ink_lines"]
    assert "--data" not in report["commands"][0]
    assert "--rung transformer --framework numpy --data ink_lines" in report["commands"][2]
    assert "Do they differ in accuracy?" in page
    assert "Do they differ in CER?" in page
    assert run(tmp_path / "report", ["mlp", "transformer"])[0] == 0  # settings are read back as they were written


# --- the budgets and the settings
def test_training_command_of_lines_has_the_longest_line(tmp_path: Path) -> None:
    budget = {"data": "ink_lines", "examples": 10, "epochs": 1, "learning_rate": 0.1, "dropout": None, "start": ""}
    budget["max_characters"] = 7
    settings = {"budgets": {"lstm_ctc": budget, "cnn": budget | {"data": "ink", "max_characters": 0}}}
    words = " ".join(jobs.train_command(settings, "lstm_ctc", "jax", tmp_path))
    assert "--data ink_lines" in words
    assert words.endswith("--data.examples 10 --train.epochs 1 --train.learning-rate 0.1 --data.max-characters 7")
    assert "max-characters" not in " ".join(jobs.train_command(settings, "cnn", "jax", tmp_path))
    budget["dropout"] = 0
    assert "--spec.dropout 0" in " ".join(jobs.train_command(settings, "lstm_ctc", "jax", tmp_path))


def test_transformer_starts_from_the_stem_of_the_lstm_ctc_that_is_compared_too(tmp_path: Path) -> None:
    frameworks = ["numpy", "jax"]
    both = _settings("quick", data_of(("lstm_ctc", "transformer"), ""), frameworks)
    folder = jobs.run_folder(tmp_path, "transformer", "jax")
    words = jobs.train_command(both, "transformer", "jax", folder)
    assert words[words.index("--start-from") + 1] == str(jobs.run_folder(tmp_path, "lstm_ctc", "jax"))
    assert "--start-from lstm_ctc-run" in " ".join(_commands(both))
    alone = _settings("quick", data_of(("transformer",), ""), frameworks)
    assert "--start-from" not in jobs.train_command(alone, "transformer", "jax", folder)


def test_every_rung_has_a_budget_in_every_tier() -> None:
    for tier in TIERS.values():
        assert list(tier) == list(RUNGS)


@pytest.mark.parametrize(
    ("rungs", "data", "expected"),
    [
        (
            (),
            "",
            {"mlp": "ink", "cnn": "ink", "lstm_ctc": "ink_lines", "transformer": "ink_lines", "unet": "ink_pages"},
        ),
        (("lstm_ctc", "mlp"), "", {"lstm_ctc": "ink_lines", "mlp": "ink"}),
        ((), "mnist", {"mlp": "mnist", "cnn": "mnist"}),
        ((), "pages:scans", {"lstm_ctc": "pages:scans", "transformer": "pages:scans", "unet": "pages:scans"}),
        (("transformer",), "ink_lines", {"transformer": "ink_lines"}),
    ],
)
def test_rungs_are_those_that_read_the_data(rungs: tuple[str, ...], data: str, expected: dict[str, str]) -> None:
    assert data_of(rungs, data) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("mnist", "rung lstm_ctc does not read mnist, which holds characters; compare mlp and cnn on it"),
        ("ink_linse", "unknown data 'ink_linse': did you mean 'ink_lines'"),
    ],
)
def test_named_rung_that_does_not_read_the_data_is_refused(data: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        data_of(("mlp", "lstm_ctc"), data)


def finished(truths: Sequence[str], texts: Sequence[str], edits: Sequence[int], **changes: Any) -> results.Finished:
    fields = {
        "folder": Path(),
        "result": {},
        "metrics": [],
        "truths": list(truths),
        "texts": list(texts),
        "confidence_N": np.full(len(truths), 0.5),
        "edits_N": np.array(edits),
        "characters_N": np.array([len(text) for text in truths]),
        "writers_N": np.arange(len(truths)) // 2,
    }
    return results.Finished(**(fields | changes))


def test_difference_in_cer_weighs_lines_by_their_length_and_less_is_better() -> None:
    truths = ["aaaa", "aaaaaa"] * 20
    worse = finished(truths, ["bbaa", "aaaaaa"] * 20, [2, 0] * 20)
    better = finished(truths, ["aaaa", "aaaaab"] * 20, [0, 1] * 20)
    (row,) = results.differences({"a": worse, "b": better}, CER)
    # each writer has 2 of 10 characters wrong in one run and 1 of 10 in the other;
    # the mean over lines would give 0.25 - 0.083
    assert row["difference"] == pytest.approx(0.1)
    assert row["interval"] == pytest.approx([0.1, 0.1])
    assert (row["measurable"], row["better"], row["read_differently"]) == (True, "b", 40)
    (turned,) = results.differences({"b": better, "a": worse}, CER)
    assert (turned["difference"], turned["better"]) == (pytest.approx(-0.1), "b")


def test_lines_that_each_of_two_runs_reads_worse_as_often_show_no_measurable_difference() -> None:
    writers_N = np.arange(40)
    truths = ["aaaa"] * 40
    a = finished(truths, ["baaa", "aaaa"] * 20, [1, 0] * 20, writers_N=writers_N)
    b = finished(truths, ["aaaa", "baaa"] * 20, [0, 1] * 20, writers_N=writers_N)
    (row,) = results.differences({"a": a, "b": b}, CER)
    assert (row["difference"], row["measurable"], row["better"]) == (0, False, None)
    assert row["interval"][0] < 0 < row["interval"][1]


def test_frequent_mistakes_have_nothing_for_insertions_and_deletions() -> None:
    runs = {
        "x": finished(["ab", "ab"], ["b", "b"], [1, 1]),
        "y": finished(["ab", "ab"], ["ab$", "ab"], [1, 0]),
    }
    assert results.confusions(runs) == [
        {"truth": "a", "read": "", "times": {"x": 2, "y": 0}, "examples": 2},
        {"truth": "", "read": "$", "times": {"x": 0, "y": 1}, "examples": None},
    ]


def test_worst_lines_have_the_most_mistakes_and_of_as_many_the_surest() -> None:
    confidence_N = np.array([0.9, 0.1, 0.2, 0.8])
    run = finished(["aa"] * 4, ["aa", "bb", "ba", "ab"], [0, 2, 1, 1], confidence_N=confidence_N)
    assert results.gallery({"x": run})["worst"] == [1, 3, 2]


def test_seconds_to_target_are_those_of_the_first_epoch_whose_cer_was_low_enough() -> None:
    rates = ((1, float("nan")), (2, 0.5), (3, 0.1), (4, 0.2))
    metrics = [{"step": e, "seconds": 10.0 * e, "validation/cer": rate} for e, rate in rates]
    assert results.seconds_to_target(metrics, 0.1, CER) == 30
    assert results.seconds_to_target(metrics, 0.05, CER) is None


@pytest.mark.usefixtures("reader")
def test_reference_reads_at_most_the_given_number_of_lines_again() -> None:
    count, limit = 100, 50
    data = dataset(count)
    right = finished(data.test.texts, data.test.texts, [0] * count)
    assert results.read_again(right, data, limit) == (0, limit)
    wrong = finished(data.test.texts, [text + "a" for text in data.test.texts], [1] * count)
    assert results.read_again(wrong, data, limit) == (limit, limit)


@pytest.mark.parametrize(
    ("truth", "read", "expected"),
    [
        ("abc", "abc", [("right", "abc")]),
        ("abcd", "axyd", [("right", "a"), ("wrong", "xy"), ("right", "d")]),
        ("abc", "ac", [("right", "a"), ("missed", "b"), ("right", "c")]),
        ("ab", "a$b", [("right", "a"), ("extra", "$"), ("right", "b")]),
        ("ab", "", [("missed", "ab")]),
        ("", "ab", [("extra", "ab")]),
        ("abc", "ab", [("right", "ab"), ("missed", "c")]),
    ],
    ids=["right", "wrong", "missed", "extra", "nothing read", "nothing there", "end missed"],
)
def test_reading_is_split_into_pieces(truth: str, read: str, expected: list[tuple[str, str]]) -> None:
    assert pieces(truth, read) == expected


def test_charts_of_lines_show_cer_and_nats_per_character() -> None:
    rows = [{"step": e, "epoch": e, "seconds": e, "train/loss": 1.0, "validation/cer": 3.0 / e} for e in (1, 2, 3)]
    charts = dict(learning_charts({"jax": rows}, ["jax"], 0.1, CER))
    assert list(charts) == ["Validation CER by epoch", "Validation CER by time", "Training loss by step"]
    assert "nats per character" in charts["Training loss by step"]
    assert "accuracy" not in "".join(charts.values())
    assert ">200<" not in charts["Validation CER by epoch"]  # the axis ends at 105%
