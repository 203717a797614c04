"""`fourhands drift`: folders and logs, exit codes, the report, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from common.commands import drift as module
from common.commands.drift import last_pages, read_log
from common.evaluation.profile import Profile, identity_of
from common.evaluation.profiling import whole_profile
from common.evaluation.signs import PageSigns
from common.reading.shipped import MODELS, READER
from common.tests import bars
from common.tests.conftest import Command
from common.tests.test_calibration import lines_of
from common.tests.test_drift import split_of


@pytest.fixture(scope="module")
def pages() -> list[PageSigns]:
    """The pages of 24 writers."""
    return [page for pages in split_of(24, 0) for page in pages]


@pytest.fixture(scope="module")
def profile_file(pages: list[PageSigns], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    whole_profile(pages, [i // 3 for i in range(len(pages))], lines_of(20), data="pages").save(path)
    return path


def log_of(path: Path, pages: list[PageSigns]) -> Path:
    path.write_text("".join(json.dumps({"time": "now", "signs": page.as_json()}) + "\n" for page in pages))
    return path


def darker(page: PageSigns) -> PageSigns:
    assert page.brightness is not None
    return replace(page, brightness=page.brightness / 2)


def test_a_log_without_drift_ends_with_0(
    pages: list[PageSigns], profile_file: Path, tmp_path: Path, command: Command
) -> None:
    log = log_of(tmp_path / "signs.jsonl", pages)
    outcome = command("drift", log, "--profile", profile_file)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "no drift"
    assert re.search(r"estimated CER [\d.]+% \(90% interval [\d.]+% to [\d.]+%\)", outcome.out)


def test_a_drift_ends_with_1_and_the_report_shows_it(
    pages: list[PageSigns], profile_file: Path, tmp_path: Path, command: Command
) -> None:
    log = log_of(tmp_path / "signs.jsonl", [darker(page) for page in pages])
    report = tmp_path / "report.html"
    outcome = command("drift", log, "--profile", profile_file, "--out", report)
    assert outcome.code == 1
    assert "alarm darker: the pictures are darker" in outcome.out
    html = report.read_text()
    assert "darker" in html
    assert "Reliability on held-out writers" in html
    assert html.count("<svg") == 11, "the reliability diagram and ten signs"
    assert not re.search(r"(?:src|href)=|url\(|@import", html), "it needs no other file"
    figures = json.loads(command("drift", log, "--profile", profile_file, "--json").out)
    assert next(alarm["name"] for alarm in figures["alarms"]) == "darker"


def test_only_the_last_lines_are_compared(
    pages: list[PageSigns], profile_file: Path, tmp_path: Path, command: Command
) -> None:
    log = log_of(tmp_path / "signs.jsonl", [*map(darker, pages), *pages])
    assert command("drift", log, "--profile", profile_file, "--last", 300).code == 0
    assert last_pages(pages, 1) == pages[-1:]
    assert last_pages(pages, 10**6) == pages


def test_a_cut_off_line_is_left_out_and_a_damaged_one_refused(
    pages: list[PageSigns], profile_file: Path, tmp_path: Path, command: Command
) -> None:
    log = log_of(tmp_path / "signs.jsonl", pages[:3])
    whole = log.read_text()
    log.write_text(whole + whole[:50])
    assert len(list(read_log(log))) == 3
    log.write_text(whole[:50] + "\n" + whole)
    command("drift", log, "--profile", profile_file).refuses("signs.jsonl, line 1", "--log-signs")
    log.write_text('{"signs": {"lines": 3}}\n')
    command("drift", log, "--profile", profile_file).refuses("line 1", "no signs of a picture")
    command("drift", tmp_path / "none.jsonl", "--profile", profile_file).refuses("cannot read", "none.jsonl")


def test_pictures_are_read(
    profile_file: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    bars.ship(tmp_path / "models", monkeypatch)
    folder = tmp_path / "scans"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(bars.page_of([])).save(folder / f"empty{i}.png")
    Image.fromarray(bars.page_of([5, 3])).save(folder / "page.png")
    (folder / "broken.png").write_bytes(b"no picture")
    outcome = command("drift", folder, "--profile", profile_file, "--json")
    assert outcome.code == 1
    figures = json.loads(outcome.out)
    assert (figures["pictures"], figures["lines"], figures["failed"]) == (7, 2, 1)
    assert [alarm["name"] for alarm in figures["alarms"]] == ["empty"]
    assert "broken.png" in outcome.err


def test_what_cannot_be_compared_is_refused(profile_file: Path, tmp_path: Path, command: Command) -> None:
    command("drift").refuses("nothing to compare")
    command("drift", tmp_path, "--profile", tmp_path / "none.json").refuses("none.json does not exist")
    command("drift", tmp_path, "--profile", profile_file, "--last", "-3").refuses("--last")
    command("drift", tmp_path, "--profile", profile_file, "--out", tmp_path).refuses("is a folder")
    outcome = command("drift", tmp_path / "missing", "--profile", profile_file)
    assert outcome.code == 2
    assert "missing does not exist" in outcome.err


def test_the_profile_that_ships_belongs_to_the_reader_that_ships() -> None:
    path = MODELS / "profile.json"
    if not path.is_file():
        pytest.skip("missing: profile.json of the reader that ships; python -m common.training.profiles makes it")
    profile = Profile.load(path)
    assert profile.reader == identity_of(READER), "run python -m common.training.profiles again"
    assert profile.calibration is not None
    assert path.stat().st_size < 100_000


def test_a_profile_of_other_weights_is_noticed(
    pages: list[PageSigns], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    bars.models(tmp_path / "run")
    weights = (tmp_path / "run" / "reader.safetensors").rename(tmp_path / "run" / "weights.safetensors")
    log = log_of(tmp_path / "signs.jsonl", pages)
    for reader, noticed in ((identity_of(weights), False), ("0123456789ab", True)):
        made = whole_profile(pages, [i // 3 for i in range(len(pages))], [], reader=reader)
        made.save(tmp_path / "run" / "profile.json")
        outcome = command("drift", log, "--run", tmp_path / "run")
        assert outcome.code == 0
        assert ("of other weights" in outcome.err) is noticed
    assert module.DRIFTED == 1
