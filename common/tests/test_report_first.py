"""The tier `first`, the headings of the rungs, and the names of the frameworks in the report."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from common.cli import main
from common.commands.compare import Compare
from common.errors import UserError
from common.formatting import framework_name
from common.report import compare as module
from common.report import jobs
from common.report.budgets import SUITE_TIERS, TIERS, data_of, estimated_minutes, rung_title
from common.report.compare import _settings, compare
from common.report.first import first_look, read_left_out
from common.spec import RUNGS
from common.tasks.lines import Lines
from common.tests import test_report_compare as characters
from common.tests import test_report_lines as lines
from common.tests.test_report_compare import Jobs

fake, reader = characters.fake, lines.reader
FRAMEWORKS = ["numpy", "pytorch", "keras", "jax"]
LEFT_OUT = {
    "parity": {"checks in float32, each of which ran in float64": {"": 176}},
    "faults": {"faults planted in more than one implementation": {"swapped gates": 3, "no <dropout>": 1}},
}


@pytest.fixture
def both(fake: Jobs, reader: None, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Runs of characters and of lines; the suite says what it left out."""
    fake.make_run = lambda folder, name: (characters.make_run if "mlp" in folder.name else lines.make_run)(folder, name)
    monkeypatch.setattr(Lines, "load", lambda *_: lines.dataset())

    def suite(report: Path, mark: str, settings: jobs.Settings) -> str:
        done = fake.suite(report, mark, settings)
        content = json.loads(report.read_text())
        report.write_text(json.dumps(content | {"left_out": LEFT_OUT[mark]}))
        return done

    monkeypatch.setattr(module, "run_suite", suite)
    return fake


def run(out: Path, tier: str, rungs: tuple[str, ...] = ("mlp", "lstm_ctc")) -> tuple[dict[str, Any], str]:
    """The content of report.json, and index.html."""
    assert compare(tier, rungs, characters.FRAMEWORKS, out=out) == 0
    return json.loads((out / "report.json").read_text()), (out / "index.html").read_text()


# --- what the tier is
def test_first_is_the_default_of_the_command_and_of_the_function(fake: Jobs, tmp_path: Path) -> None:
    assert Compare(out=tmp_path).tier == "first"
    assert compare(rungs=("mlp",), frameworks=characters.FRAMEWORKS, out=tmp_path / "a") == 0
    assert json.loads((tmp_path / "a" / "report.json").read_text())["settings"]["tier"] == "first"


def test_every_tier_is_a_choice_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    assert f"{{{','.join(TIERS)}}}" in capsys.readouterr().out


def test_first_takes_less_than_ten_minutes_and_the_tiers_become_longer() -> None:
    minutes = [estimated_minutes(tier, list(RUNGS), len(FRAMEWORKS)) for tier in TIERS]
    assert list(TIERS) == ["first", "quick", "full"]
    assert minutes[0] < 10
    assert minutes == sorted(minutes)


@pytest.mark.parametrize("rung", RUNGS)
def test_first_trains_less_than_quick(rung: str) -> None:
    first, quick = TIERS["first"][rung], TIERS["quick"][rung]
    assert first.examples * first.epochs < quick.examples * quick.epochs
    assert first.max_characters <= quick.max_characters
    assert first.minutes < quick.minutes


@pytest.mark.parametrize(("tier", "of_suite"), [("first", "quick"), ("quick", "full"), ("full", "full")])
@pytest.mark.parametrize("mark", ["parity", "faults"])
def test_suite_runs_its_quick_tier_for_a_first_look_only(
    tier: str, of_suite: str, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def started(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 5, "", "nothing was chosen")

    monkeypatch.setattr(subprocess, "run", started)
    settings = _settings(tier, data_of(("mlp", "lstm_ctc"), ""), FRAMEWORKS)
    assert jobs.run_suite(tmp_path / "suite.json", mark, settings) == "nothing was chosen"
    (command,) = commands
    assert command[command.index("--tier") + 1] == of_suite
    assert command[command.index("-m", 3) + 1] == mark
    assert command[command.index("-k") + 1] == "(mlp or lstm_ctc) and (numpy or pytorch or keras or jax)"
    assert set(SUITE_TIERS) == set(TIERS)


# --- what the report says
@pytest.mark.usefixtures("both")
def test_first_look_says_what_it_is_what_it_left_out_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, page = run(tmp_path / "report", "first")
    printed = " ".join(capsys.readouterr().out.split())
    for where in (page, printed):
        assert "This is a first look." in where
        assert "The scores are poor" in where
        assert "publishes come from the quick tier" in where
        assert "176 checks in float32, each of which ran in float64" in where
        assert "4 faults planted in more than one implementation" in where
        for tier in ("quick", "full"):
            assert (
                f"fourhands compare --tier {tier} --rungs mlp lstm_ctc --frameworks numpy pytorch --out report-{tier}"
                in where
            )
    assert "no &lt;dropout&gt;, swapped gates (3)" in page
    assert "no <dropout>, swapped gates (3)" in printed


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("tier", ["quick", "full"])
def test_other_tiers_do_not_speak_of_a_first_look(
    tier: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, page = run(tmp_path / "report", tier)
    assert "first look" not in page + capsys.readouterr().out
    assert "--tier full --" in page or tier == "quick"


@pytest.mark.usefixtures("both")
def test_report_of_the_first_tier_has_the_fields_of_the_quick_tier(tmp_path: Path) -> None:
    def fields(value: object, path: str = "") -> set[str]:
        if isinstance(value, dict):
            return {path} | {name for key in value for name in fields(value[key], f"{path}.{key}")}
        return {path}

    first, quick = (run(tmp_path / tier, tier)[0] for tier in ("first", "quick"))
    assert fields(first) == fields(quick)
    assert "left_out" not in json.dumps(first)


@pytest.mark.usefixtures("both")
def test_a_first_look_is_not_continued_as_another_tier(tmp_path: Path) -> None:
    run(tmp_path / "report", "first")
    with pytest.raises(UserError, match=r"made with tier 'first', and now it is 'quick'; give --out a new folder"):
        run(tmp_path / "report", "quick")


def test_an_interrupted_first_look_continues(both: Jobs, tmp_path: Path) -> None:
    both.training["pytorch"] = "killed"
    assert compare("first", ("mlp", "lstm_ctc"), characters.FRAMEWORKS, out=tmp_path / "report") == 1
    both.training, both.asked = {}, []
    _, page = run(tmp_path / "report", "first")
    assert both.asked == ["mlp-pytorch", "lstm_ctc-pytorch"]
    assert "176 checks in float32" in page


def test_suite_reports_without_an_account_left_out_nothing(tmp_path: Path) -> None:
    (tmp_path / "parity.json").write_text('{"checks": []}')
    assert read_left_out(tmp_path / "parity.json", tmp_path / "missing.json") == {}


def test_durations_of_the_other_tiers_are_those_of_the_rungs_compared() -> None:
    settings = {"tier": "first", "rungs": list(RUNGS), "frameworks": FRAMEWORKS}
    report = {"settings": settings, "commands": ["fourhands compare --tier first --out report"]}
    found = first_look(report, {})
    assert found is not None
    assert found.commands == [
        ("fourhands compare --tier quick --out report-quick", "about 25 minutes"),
        ("fourhands compare --tier full --out report-full", "about 5 hours"),
    ]
    assert first_look(report | {"settings": settings | {"tier": "quick"}}, {}) is None


# --- headings and names
@pytest.mark.parametrize(
    ("data", "buckets", "title"),
    [
        ("ink_lines", [[48, 5], [64, 7]], "lstm_ctc on ink_lines: lines of at most 12 characters"),
        ("emnist_lines:files", [[48, 5]], "lstm_ctc on emnist_lines:files: lines of at most 12 characters"),
        ("iam_lines", [[48, 5], [64, 93], [80, 7]], "lstm_ctc on iam_lines: training lines of at most 93 characters"),
        ("pages:scans", None, "lstm_ctc on pages:scans"),
        ("ink", None, "lstm_ctc on ink"),
    ],
)
def test_heading_of_a_rung_names_its_longest_line(data: str, buckets: list[list[int]] | None, title: str) -> None:
    found: dict[str, Any] = {"budget": {"data": data, "max_characters": 12}}
    assert rung_title("lstm_ctc", found | ({"buckets": buckets} if buckets else {})) == title


@pytest.mark.parametrize(
    ("side", "title"), [(160, "unet on ink_pages: pages of 160² pixels"), (0, "unet on ink_pages")]
)
def test_heading_of_pages_names_their_size(side: int, title: str) -> None:
    budget = {"data": "ink_pages", "max_characters": 0, "side": side}
    assert rung_title("unet", {"budget": budget, "buckets": [[160, 128]]}) == title


@pytest.mark.usefixtures("both")
def test_page_and_table_name_the_longest_line_of_each_rung_of_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, page = run(tmp_path / "report", "quick")
    printed = capsys.readouterr().out
    longest = report["rungs"]["lstm_ctc"]["budget"]["max_characters"]
    assert longest == TIERS["quick"]["lstm_ctc"].max_characters
    assert f"<h2>lstm_ctc on ink_lines: lines of at most {longest} characters</h2>" in page
    assert f"lstm_ctc on ink_lines: lines of at most {longest} characters" in printed
    assert "<h2>mlp on ink</h2>" in page


@pytest.mark.usefixtures("both")
def test_report_spells_frameworks_as_they_do_and_keeps_their_ids_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, page = run(tmp_path / "report", "quick")
    assert list(report["rungs"]["mlp"]["rows"]) == ["numpy", "pytorch"]
    assert report["rungs"]["lstm_ctc"]["differences"][0]["first"] == "numpy"
    assert "<h1>NumPy, PyTorch side by side</h1>" in page
    assert "<td>NumPy minus PyTorch</td>" in page
    assert 'aria-label="Validation CER by epoch: NumPy, PyTorch"' in page
    printed = capsys.readouterr().out
    assert "NumPy minus PyTorch" in printed
    without_commands_and_versions = page[page.index("<section>") :]
    for framework in ("numpy", "pytorch"):
        assert framework not in without_commands_and_versions
        assert f"│ {framework}" not in printed


def test_another_framework_keeps_its_id() -> None:
    assert [framework_name(name) for name in (*FRAMEWORKS, "tinygrad")] == [
        "NumPy",
        "PyTorch",
        "Keras",
        "JAX",
        "tinygrad",
    ]
