"""Figures, tables and verdicts of the report, compared with closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from common.charset import DIGITS, Charset
from common.errors import UserError
from common.evaluation.measure import ACCURACY
from common.formatting import duration, percent, significant, visible
from common.reading.result import Reading
from common.report import figures, results
from common.report.character_figures import sheet_of_confusions
from common.report.code import code_lines, fingerprint, lines_by_file
from common.report.drawing import png
from common.report.parity import matrix, verdict
from common.report.series import read_metrics, smoothed

IMAGE_HW = np.zeros((28, 28), np.uint8)
AWKWARD = Charset(("$", "_", "\\", "^", "%", " ", "中", "🤣", "\n"))


# --- pictures
def texts(figure: Any) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("charset", [AWKWARD, DIGITS], ids=["awkward", "digits"])
def test_pictures_draw_any_character_literally(charset: Charset) -> None:
    counts_KK = np.arange(len(charset) ** 2).reshape(len(charset), -1)
    pairs = zip(charset.characters, reversed(charset.characters), strict=True)
    readings = [Reading(image_HW=IMAGE_HW, text=a, confidence=0.5, truth=b) for a, b in pairs]
    for figure in (sheet_of_confusions(counts_KK, charset), figures.sheet_of_readings(readings, "a $b$ _c")):
        png(figure)  # a warning is an error here: a glyph the font lacks would give one
        assert not any(text.get_parse_math() for text in texts(figure) if "$" in text.get_text())


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"step": s, "train/loss": 1 / s, "train/learning_rate": 0.1, "validation/accuracy": 0.5} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(figures.sheet_of_curves(read_metrics(tmp_path / "metrics.jsonl"), ACCURACY)))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_curves_survive_a_run_that_has_only_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": null, "train/learning_rate": 1.0}\n')
    assert len(png(figures.sheet_of_curves(read_metrics(tmp_path / "metrics.jsonl"), ACCURACY))) > 1000


def test_a_mistake_is_marked_with_a_sign_and_not_by_colour_alone() -> None:
    readings = [Reading(image_HW=IMAGE_HW, text=t, confidence=0.5, truth="7") for t in "71"]
    said = [text.get_text() for text in texts(figures.sheet_of_readings(readings, "title"))]
    assert "✓ 7\n50% sure" in said
    assert "✗ 7 read as 1\n50% sure" in said


def test_smoothing_keeps_a_constant_and_passes_over_gaps() -> None:
    values_S = np.full(50, 3.0)
    values_S[[0, 20]] = np.nan
    smooth_S = smoothed(values_S)
    assert np.isnan(smooth_S[0])
    np.testing.assert_allclose(smooth_S[1:], 3.0, rtol=1e-12)


# --- words
def test_numbers_and_characters_are_formatted_for_a_reader() -> None:
    assert [significant(v) for v in (12345.6, 0.0123456, 1.5e-7, 0, None, float("nan"))] == [
        "12,300",
        "0.0123",
        "1.50e-07",
        "0",
        "–",
        "–",
    ]
    assert [duration(v) for v in (0.01234, 12.34, 600)] == ["12.3 ms", "12.3 s", "10.0 min"]
    assert percent(0.98765) == "98.8%"
    assert visible("a \n\ud800") == "a␣U+000AU+D800"


# --- code
def test_lines_of_code_leave_out_blanks_comments_and_docstrings() -> None:
    source = '''"""Module
docstring."""

# a comment
x = 1  # code


class A:
    """Class."""

    field: int = 3
    """What the field is."""

    def f(self):
        """Function."""
        text = """two
lines of data"""
        return (
            text
        )
'''
    # x, class, field, def, text (2), return (3)
    assert code_lines(source) == 9


def test_every_rung_of_numpy_has_lines() -> None:
    lines = lines_by_file("numpy")
    assert min(lines["mlp.py"], lines["cnn.py"]) > 10


def test_fingerprint_of_a_package_that_is_not_there() -> None:
    with pytest.raises(UserError, match="'no_such_package' is not installed"):
        fingerprint("no_such_package")


# --- parity
def check(outcome: str = "passed", **fields: Any) -> dict[str, Any]:
    base = {"implementation": "jax", "rung": "mlp", "check": "logits agree", "dtype": "float64", "seconds": 0.1}
    return base | {"outcome": outcome, "reason": "", "worst": 1e-12, "tolerance": 1e-10} | fields


def test_one_failed_check_fails_the_framework_and_says_which() -> None:
    found = verdict([check(), check("failed", reason="kernel[0] is 1\nmore")], "jax", ["mlp"])
    assert found.status == "failed"
    assert found.reason == "logits agree, mlp, float64: kernel[0] is 1"


@pytest.mark.parametrize("outcome", ["skipped", "not_applicable", "xfailed"])
def test_check_that_did_not_pass_never_counts_as_passed(outcome: str) -> None:
    found = verdict([check(outcome, reason="why")], "jax", ["mlp"])
    assert found.passed == 0
    assert found.status == ("absent" if outcome == "skipped" else "failed")


def test_a_rung_without_any_check_fails_the_framework() -> None:
    assert verdict([check()], "jax", ["mlp", "cnn"]).reason == "no check of cnn passed"
    assert verdict([], "jax", ["mlp"]).status == "failed"


def test_matrix_shows_the_worst_and_flags_a_pass_beyond_the_recorded_gate() -> None:
    (row,) = matrix([check(worst=1e-13), check(worst=1e-9)], "mlp", ["jax", "keras"])
    assert row["cells"]["jax"]["worst"] == 1e-9
    assert row["cells"]["jax"]["over"]
    assert row["cells"]["keras"]["outcome"] == "not run"
    (row,) = matrix([check(worst=1e-13)], "mlp", ["jax"])
    assert not row["cells"]["jax"]["over"]


# --- results
def finished(correct_N: np.ndarray, **changes: Any) -> results.Finished:
    """A run over writers of ten examples each; every example is a 0, read as 0 where right, as 1 where wrong."""
    count = len(correct_N)
    fields = {
        "folder": Path(),
        "result": {},
        "metrics": [],
        "truths": ["0"] * count,
        "texts": ["0" if correct else "1" for correct in correct_N],
        "confidence_N": np.linspace(0.1, 0.9, count),
        "edits_N": (~np.asarray(correct_N, bool)).astype(int),
        "characters_N": np.ones(count, int),
        "writers_N": np.arange(count) // 10,
    }
    return results.Finished(**(fields | changes))


def test_run_of_characters_is_opened_as_texts_of_one_character(tmp_path: Path) -> None:
    np.savez(tmp_path / "predictions.npz", labels=[1, 2], predicted=[1, 0], confidence=[0.5, 0.6])
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("")
    run = results.open_run(tmp_path, AWKWARD)
    assert (run.truths, run.texts) == (["_", "\\"], ["_", "$"])
    assert run.wrong_N.tolist() == [False, True]
    assert run.characters_N.tolist() == [1, 1]
    assert run.writers_N is None


def test_equal_runs_differ_by_nothing_measurable() -> None:
    run = finished(np.arange(100) % 3 > 0)
    (row,) = results.differences({"a": run, "b": run}, ACCURACY)
    assert (row["difference"], row["interval"], row["measurable"], row["better"]) == (0, [0, 0], False, None)


def test_a_run_that_is_better_for_every_writer_is_measurably_better() -> None:
    worse, better = finished(np.arange(100) % 2 > 0), finished(np.arange(100) % 10 > 0)
    (row,) = results.differences({"a": worse, "b": better}, ACCURACY)
    # every writer: 5 of 10 right against 9 of 10, so each resample of writers gives the same
    assert row["difference"] == pytest.approx(-0.4)
    assert row["interval"] == pytest.approx([-0.4, -0.4])
    assert row["measurable"]
    assert row["better"] == "b"
    assert row["read_differently"] == 40


def test_runs_on_other_examples_are_not_compared() -> None:
    with pytest.raises(AssertionError, match="a and b were tested on different examples"):
        results.differences({"a": finished(np.ones(10)), "b": finished(np.ones(10), truths=["1"] * 10)}, ACCURACY)


def test_confusions_count_all_frameworks_together() -> None:
    runs = {"a": finished(np.arange(10) > 2), "b": finished(np.arange(10) > 0)}
    expected = {"truth": "0", "read": "1", "times": {"a": 3, "b": 1}, "examples": 10}
    assert results.confusions(runs) == [expected]


def test_gallery_finds_the_worst_and_the_disagreements() -> None:
    runs = {"a": finished(np.arange(20) != 4), "b": finished(~np.isin(np.arange(20), (4, 9, 12)))}
    found = results.gallery(runs, limit=3)
    assert found["worst"] == [4, 12, 9]  # both read 4 wrong; the others follow by confidence
    assert found["disagreement"] == [12, 9]


def test_seconds_to_target_are_those_of_the_first_epoch_that_reached_it() -> None:
    metrics = [{"step": 1, "train/loss": 1.0}]
    metrics += [{"step": s, "seconds": 10.0 * s, "validation/accuracy": a} for s, a in ((1, 0.5), (2, 0.8), (3, 0.9))]
    assert results.seconds_to_target(metrics, 0.8, ACCURACY) == 20
    assert results.seconds_to_target(metrics, 0.95, ACCURACY) is None
