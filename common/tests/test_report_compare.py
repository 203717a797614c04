"""`compare` from end to end, on run folders made here instead of by training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.charset import Charset
from common.data.characters import CharacterDataset, CharacterSplit
from common.errors import UserError
from common.evaluation.measure import ACCURACY
from common.report import compare as module
from common.report import jobs
from common.report.compare import compare
from common.spec import MLPSpec
from common.tasks.characters import Characters
from common.weights import Golden, WeightsFile, initial_weights, save_weights
from impl_numpy import build

CHARSET = Charset(("<", "&", "$"))
SPEC = MLPSpec(num_classes=3, hidden_dims=(4,))
FRAMEWORKS = ("numpy", "pytorch")


def dataset() -> CharacterDataset:
    rng = np.random.default_rng(0)

    def split(count: int) -> CharacterSplit:
        images_NHW = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        return CharacterSplit(images_NHW=images_NHW, labels_N=np.arange(count) % 3, writers_N=np.arange(count) // 6)

    return CharacterDataset(name="ink", charset=CHARSET, train=split(6), validation=split(6), test=split(60))


def make_run(folder: Path, framework: str) -> None:
    """The run folder of a model that was never trained, with its readings."""
    folder.mkdir(parents=True)
    weights, test = initial_weights(SPEC, seed=len(framework)), dataset().test
    model = build(SPEC)
    model.load_weights(weights)
    logits_NK = model.logits(test.images_NHW[..., None].astype(np.float32) / 255)
    golden = Golden(images_GHW=test.images_NHW[:1], logits=logits_NK[:1])
    save_weights(
        folder / "weights.safetensors", WeightsFile(spec=SPEC, charset=CHARSET, weights=weights, golden=golden)
    )
    read_N = logits_NK.argmax(axis=1)
    np.savez(
        folder / "predictions.npz",
        labels=test.labels_N,
        predicted=read_N,
        confidence=np.full(60, 0.5),
        writers=test.writers_N,
    )
    rows = [{"step": s, "train/loss": 1.0} for s in (1, 2)]
    rows.append({"step": 2, "epoch": 1, "seconds": 4.0, "validation/loss": 1.0, "validation/accuracy": 0.9})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {
        "rung": "mlp",
        "framework": framework,
        "accuracy": float((read_N == test.labels_N).mean()),
        "accuracy_interval": [0.2, 0.4],
        "accuracy_case_folded": None,
        "examples": 60,
        "parameters": 3155,
        "examples_per_second": 1234.5,
        "step_seconds": {"numpy": 0.3, "pytorch": 0.2}[framework],
        "compile_seconds": 0.01,
        "peak_memory_mb": 200.0,
        "seconds": 4.0,
        "versions": {framework: "1.2.3"},
    }
    (folder / "result.json").write_text(json.dumps(result))


class Jobs:
    """Replaces the processes: logs the requests and returns prepared answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.faults = {name: {"planted": 3, "caught": 3} for name in FRAMEWORKS}
        self.missed: list[dict[str, str]] = []
        self.training: dict[str, str] = {}
        self.make_run: Callable[[Path, str], None] = make_run

    def suite(self, report: Path, mark: str, settings: jobs.Settings) -> str:
        self.asked.append(mark)
        checks = [
            {
                "implementation": name,
                "rung": rung,
                "check": "logits agree",
                "dtype": "float64",
                "outcome": self.outcomes.get(name, "passed"),
                "reason": self.reasons.get(name, ""),
                "worst": 1e-12,
                "tolerance": 1e-10,
                "seconds": 0.1,
            }
            for name in settings["frameworks"]
            for rung in settings["rungs"]
        ]
        report.write_text(
            json.dumps({"checks": checks, "faults": {"by_implementation": self.faults, "each": self.missed}})
        )
        return ""

    def train(self, out: Path, settings: jobs.Settings, rung: str, framework: str) -> str:
        folder = jobs.run_folder(out, rung, framework)
        if folder.exists():
            return ""
        self.asked.append(folder.name)
        if framework not in self.training:
            self.make_run(folder, framework)
        return self.training.get(framework, "")


Compare = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    fake = Jobs()
    monkeypatch.setattr(module, "run_suite", fake.suite)
    monkeypatch.setattr(module, "run_training", fake.train)
    monkeypatch.setattr(module, "fingerprint", lambda package: f"code of {package}")
    monkeypatch.setattr(Characters, "load", lambda *_: dataset())
    return fake


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report"


def run(
    out: Path, rungs: tuple[str, ...] = ("mlp",), frameworks: tuple[str, ...] = FRAMEWORKS
) -> tuple[int, dict, str]:
    """Exit code, report.json, index.html."""
    code = compare("quick", rungs, frameworks, out=out)
    return code, json.loads((out / "report.json").read_text()), (out / "index.html").read_text()


@pytest.mark.usefixtures("fake")
def test_report_holds_the_figures_of_every_framework(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report, page = run(out)
    assert code == 0
    rows = report["rungs"]["mlp"]["rows"]
    assert rows["numpy"]["step_relative"] == pytest.approx(1.5)
    assert rows["pytorch"]["step_relative"] == 1
    assert rows["numpy"]["seconds_to_target"] == 4.0
    assert rows["numpy"]["read_differently"] is None
    assert rows["pytorch"]["read_differently"] == 0
    assert rows["pytorch"]["lines_of_rung"] > 10
    assert rows["pytorch"]["read_again"] == report["rungs"]["mlp"]["examples"] == 60
    assert report["versions"]["pytorch"] == "1.2.3"
    assert report["settings"]["data"] == report["rungs"]["mlp"]["budget"]["data"] == "ink"
    assert report["commands"][0].startswith("fourhands compare --tier quick --data ink --rungs mlp --frameworks numpy")
    printed = capsys.readouterr().out
    assert "same model" in printed
    assert "3,155" in printed
    assert "3 of 3" in page


@pytest.mark.usefixtures("fake")
def test_reference_reads_at_most_the_given_number_of_images_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Characters, "measure", replace(ACCURACY, read_again=20))
    row = run(out)[1]["rungs"]["mlp"]["rows"]["pytorch"]
    assert (row["read_differently"], row["read_again"]) == (0, 20)


@pytest.mark.usefixtures("fake")
def test_page_asks_for_nothing_from_outside_and_escapes_characters(out: Path) -> None:
    _, _, page = run(out)
    asked = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert asked
    assert all(target.startswith(("data:", "#")) for target in asked)
    assert not re.findall(r"<(?:script|link|iframe)", page)
    assert "<strong>&lt;</strong>" in page
    assert "<strong><</strong>" not in page
    images = re.findall(r"<img [^>]*>", page)
    assert images
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert page.count('<svg role="img" aria-label="') == 3


def test_order_is_turned_so_that_no_framework_always_runs_first(fake: Jobs, out: Path) -> None:
    run(out, rungs=("mlp", "cnn"))
    assert fake.asked == ["parity", "mlp-numpy", "mlp-pytorch", "cnn-pytorch", "cnn-numpy", "faults"]


def test_failed_parity_shows_no_figures_but_why(fake: Jobs, out: Path) -> None:
    fake.outcomes["pytorch"], fake.reasons["pytorch"] = "failed", "kernel[0] is 1 where 2 <was> expected"
    code, report, page = run(out)
    assert code == 1
    assert list(report["rungs"]["mlp"]["rows"]) == ["numpy"]
    assert "mlp-pytorch" not in fake.asked
    assert report["parity"]["verdicts"]["pytorch"]["status"] == "failed"
    assert "kernel[0] is 1 where 2 &lt;was&gt; expected" in page


def test_framework_that_is_not_installed_is_listed_and_never_passed(fake: Jobs, out: Path) -> None:
    fake.outcomes["pytorch"], fake.reasons["pytorch"] = "skipped", "framework 'pytorch' is not installed"
    code, report, page = run(out)
    assert code == 1  # it was named on the command line
    assert report["parity"]["verdicts"]["pytorch"] == {
        "status": "absent",
        "passed": 0,
        "checks": 1,
        "reason": "framework 'pytorch' is not installed",
    }
    assert '<span class="warn">not installed</span>' in page


def test_framework_that_is_missing_is_no_failure_unless_it_was_named(
    fake: Jobs, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: point for name, point in module.implementations().items() if name in FRAMEWORKS}
    monkeypatch.setattr(module, "implementations", lambda: known)
    fake.outcomes["pytorch"], fake.reasons["pytorch"] = "skipped", "framework 'pytorch' is not installed"
    assert run(out, frameworks=())[0] == 0


def test_failed_training_is_reported_and_the_others_continue(fake: Jobs, out: Path) -> None:
    fake.training["numpy"] = "the loss became nan at step 3"
    code, report, page = run(out)
    assert code == 1
    assert list(report["rungs"]["mlp"]["rows"]) == ["pytorch"]
    assert "mlp in NumPy:</strong> the loss became nan at step 3" in page


def test_report_is_written_even_if_nothing_could_be_trained(fake: Jobs, out: Path) -> None:
    fake.training = dict.fromkeys(FRAMEWORKS, "no")
    code, _, page = run(out)
    assert code == 1
    assert "there are no figures" in page


def test_missed_fault_is_a_failure(fake: Jobs, out: Path) -> None:
    fake.faults["numpy"] = {"planted": 3, "caught": 2}
    fault = {"fault": "swapped gates", "implementation": "numpy", "rung": "mlp"}
    fake.missed = [
        fault | {"outcome": "failed", "reason": "DID NOT RAISE"},
        fault | {"outcome": "passed", "reason": ""},
    ]
    code, report, _ = run(out)
    assert code == 1
    reason = "1 of 3 were not caught, first 'swapped gates': DID NOT RAISE"
    assert report["failures"] == [{"what": "planted faults in NumPy", "reason": reason}]


@pytest.mark.usefixtures("fake")
def test_suite_that_breaks_down_shows_no_figures(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_suite", lambda *_: "ended by signal 9: killed")
    code, report, page = run(out)
    assert code == 1
    assert report["rungs"]["mlp"]["rows"] == {}
    assert "the suite did not finish: ended by signal 9: killed" in page


def test_interrupted_report_is_completed(fake: Jobs, out: Path) -> None:
    fake.training["pytorch"] = "killed"
    run(out)
    fake.training, fake.asked = {}, []
    code, report, _ = run(out)
    assert code == 0
    assert fake.asked == ["mlp-pytorch"]
    assert list(report["rungs"]["mlp"]["rows"]) == list(FRAMEWORKS)


def test_parity_is_checked_again_where_a_framework_was_missing(fake: Jobs, out: Path) -> None:
    fake.outcomes["pytorch"], fake.reasons["pytorch"] = "skipped", "not installed"
    run(out)
    fake.outcomes, fake.asked = {}, []
    assert run(out)[0] == 0
    assert fake.asked == ["parity", "mlp-pytorch"]


@pytest.mark.usefixtures("fake")
def test_code_that_changes_during_a_comparison_is_reported(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(range(100))
    monkeypatch.setattr(module, "fingerprint", lambda _package: str(next(states)))
    code, report, _ = run(out)
    assert code == 1
    assert report["failures"][0]["what"] == "code"


@pytest.mark.usefixtures("fake")
def test_folder_with_other_files_is_left_alone(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and contains no report; give --out a new folder"):
        run(out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rungs": ("cnn",)}, r"rungs \['mlp'\], and now it is \['cnn'\]|budgets.cnn.data None"),
        ({"frameworks": ("numpy",)}, r"code.impl_pytorch 'code of impl_pytorch', and now it is None"),
    ],
)
def test_report_of_other_settings_is_refused(out: Path, change: dict[str, Any], words: str) -> None:
    run(out)
    with pytest.raises(UserError, match=words):
        run(out, **change)


@pytest.mark.usefixtures("fake")
def test_report_of_other_code_is_refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(out)
    monkeypatch.setattr(module, "fingerprint", lambda package: package.replace("numpy", "changed"))
    with pytest.raises(UserError, match=r"code\.common 'code of common', and now it is 'common'"):
        run(out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tier": "quik"}, "unknown tier 'quik': did you mean 'quick'"),
        ({"rungs": ("mpl",)}, "unknown rung 'mpl': did you mean 'mlp'"),
        ({"frameworks": ("torch",)}, "unknown framework 'torch': did you mean 'pytorch'"),
    ],
)
def test_unknown_name_gives_the_nearest(out: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        compare(**arguments, out=out)
    assert not out.exists()


def test_training_that_fails_gives_the_sentence_it_ended_with(tmp_path: Path) -> None:
    budget = {"data": "inkk", "examples": 10, "epochs": 1, "learning_rate": 0.1, "dropout": None, "start": ""}
    settings = {"budgets": {"mlp": budget | {"max_characters": 0}}}
    reason = jobs.run_training(tmp_path, settings, "mlp", "numpy")
    assert reason.startswith("unknown data 'inkk': did you mean 'ink'?")
    assert reason in (tmp_path / "runs" / "mlp-numpy.log").read_text()
