"""The site shows what is in the code: every section of every rung, and published figures only behind parity."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason='the site needs Sphinx: pip install "fourhands[docs]"')

from published import comparison, runs
from side_by_side import FRAMEWORKS, SECTIONS, find_sections

from common.spec import RUNGS

DOCS = Path(__file__).parent
ROOT = DOCS.parent

RUNG_FILE = """import x

# --- layers: the framework's own

# --- model
def forward():
    # not --- a marker
    return WORD


# --- loss
# --- training step: elsewhere
# --- weights

"""

CONF = f"""
import sys
sys.path.insert(0, {str(DOCS / "_ext")!r})
extensions = ["myst_parser", "sphinx_design", "side_by_side"]
myst_enable_extensions = ["colon_fence"]
"""


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("rung", RUNGS)
def test_page_shows_every_section(rung: str, framework: str) -> None:
    sections = [*SECTIONS[:2], "decoding", *SECTIONS[2:]] if rung == "transformer" else SECTIONS
    assert list(find_sections(ROOT / f"impl_{framework}" / f"{rung}.py")) == sections
    page = (DOCS / "rungs" / f"{rung}.md").read_text(encoding="utf-8")
    assert re.findall(r"\{side-by-side\} (.*)", page) == [f"{rung} {section}" for section in sections]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_stem_has_the_sections_of_a_rung(framework: str) -> None:
    assert list(find_sections(ROOT / f"impl_{framework}" / "stem.py")) == SECTIONS


def test_section_reaches_from_its_marker_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "mlp.py"
    path.write_text(RUNG_FILE)
    assert find_sections(path) == {
        "layers": (3, 3),
        "model": (5, 8),
        "loss": (11, 11),
        "training step": (12, 12),
        "weights": (13, 13),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [("# --- loss\n", ""), ("# --- loss", "# --- losses"), ("# --- model", "# --- loss"), ("# --- weights", "")],
    ids=["missing", "misspelt", "twice", "last one missing"],
)
def test_wrong_markers_name_the_file_and_what_was_expected(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "impl_numpy" / "mlp.py"
    path.parent.mkdir()
    path.write_text(RUNG_FILE.replace(old, new))
    with pytest.raises(ValueError, match=r"impl_numpy/mlp\.py has the sections .*; expected layers, model, loss"):
        find_sections(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"impl_jax/lstm\.py does not exist"):
        find_sections(tmp_path / "impl_jax" / "lstm.py")


def _build_site(folder: Path) -> subprocess.CompletedProcess[str]:
    """A site of one page with one section of four made-up implementations."""
    for framework in FRAMEWORKS:
        path = folder / f"impl_{framework}" / "mlp.py"
        if not path.exists():
            path.parent.mkdir()
            path.write_text(RUNG_FILE.replace("WORD", f"word_of_{framework}"))
    (folder / "docs").mkdir()
    (folder / "docs" / "conf.py").write_text(CONF)
    (folder / "docs" / "index.md").write_text("# Page\n\n```{side-by-side} mlp model\n```\n")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", folder / "docs", folder / "html"]
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)


def test_built_page_holds_each_implementation_once(tmp_path: Path) -> None:
    done = _build_site(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    words = re.findall(r"word_of_\w+|framework's own", html)
    assert words == [f"word_of_{framework}" for framework in FRAMEWORKS]
    assert html.count('type="radio"') == len(FRAMEWORKS)  # tabs that the keyboard can choose
    assert re.findall(r'data-sync-id="(\w+)"', html) == list(FRAMEWORKS)


def test_missing_marker_fails_the_build_by_name(tmp_path: Path) -> None:
    (tmp_path / "impl_keras").mkdir()
    (tmp_path / "impl_keras" / "mlp.py").write_text(RUNG_FILE.replace("# --- loss\n", ""))
    done = _build_site(tmp_path)
    assert done.returncode != 0
    assert "impl_keras/mlp.py has the sections layers, model, training step, weights; expected" in done.stderr


def _report(jax: str) -> dict[str, Any]:
    """As `fourhands compare` writes it; `jax` is that framework's verdict."""
    row = {"accuracy_interval": [0.8512, 0.8723], "seconds_to_target": None, "lines_of_rung": 37}
    row |= {"examples_per_second": 1234, "step_relative": 1.372, "peak_memory_mb": None}
    found = {
        "budget": {"examples": 8000, "epochs": 4, "target": 0.75},
        "examples": 4960,
        "rows": {"numpy": row | {"accuracy": 0.8613}, "jax": row | {"accuracy": 0.87654}},
    }
    return {
        "settings": {"tier": "quick", "data": "ink"},
        "written": "2025-01-02T03:04:05+00:00",
        "machine": {"system": "Linux-6", "processor": "Some CPU", "cores": 2},
        "versions": {"numpy": "2.0.1"},
        "commands": ["fourhands compare --tier quick"],
        "parity": {
            "verdicts": {
                "numpy": {"status": "passed", "passed": 40, "checks": 40, "reason": ""},
                "jax": {"status": jax, "passed": 38, "checks": 40, "reason": "" if jax == "passed" else "logits, cnn"},
            }
        },
        "faults": {"numpy": {"planted": 29, "caught": 28}},
        "rungs": {"cnn": found},
    }


def _write(folder: Path, jax: str = "passed") -> None:
    (folder / "report.json").write_text(json.dumps(_report(jax)))
    result = {
        "rung": "cnn",
        "epochs": 6,
        "seconds": 90,
        "accuracy_case_folded": None,
        "accuracy_interval": [0.98, 0.99],
    }
    results = [result | {"framework": "numpy", "accuracy": 0.9871}, result | {"framework": "jax", "accuracy": 0.9893}]
    named = {"date": "2025-03-04", "machine": _report(jax)["machine"], "command": "fourhands train", "results": results}
    (folder / "mnist.json").write_text(json.dumps(named))


def test_published_figures_are_those_of_the_files(tmp_path: Path) -> None:
    _write(tmp_path)
    text = comparison(tmp_path)
    assert "| numpy | 86.13% | 85.12% to 87.23% | not reached | 1,230 | 1.37 | – | 37 |" in text
    assert "| jax | 87.65% |" in text
    assert "| numpy | 40 of 40 | 28 of 29 | the same model |" in text
    for word in ("quick", "2025-01-02T03:04:05+00:00", "Some CPU, 2 cores", "numpy 2.0.1", "8,000", "4,960"):
        assert word in text
    assert "| cnn | jax | 98.93% | 98.00% to 99.00% | – | 6 | 90.0 s |" in runs(tmp_path, "mnist")


def test_published_figures_of_lines_are_error_rates(tmp_path: Path) -> None:
    _write(tmp_path)
    report = _report("passed")
    rates = {"cer": 0.0345, "cer_interval": [0.031, 0.038], "wer": 0.1234, "wer_interval": [0.11, 0.14]}
    rows = {name: rates | row for name, row in report["rungs"]["cnn"]["rows"].items()}
    budget = {"examples": 2000, "epochs": 6, "target": 0.1, "data": "ink_lines"}
    report["rungs"]["lstm_ctc"] = {"budget": budget, "examples": 1000, "rows": rows}
    (tmp_path / "report.json").write_text(json.dumps(report))
    named = json.loads((tmp_path / "mnist.json").read_text())
    named["results"].append(rates | {"rung": "lstm_ctc", "framework": "jax", "epochs": 3, "seconds": 90})
    (tmp_path / "mnist.json").write_text(json.dumps(named))
    text = comparison(tmp_path)
    shown = "3.45% | 3.10% to 3.80% | 12.34% | 11.00% to 14.00%"
    assert f"| jax | {shown} | not reached | 1,230 | 1.37 | – | 37 |" in text
    assert "cnn on ink\n" in text  # a report of before each rung had its own data
    assert "lstm_ctc on ink_lines\n" in text
    assert "2,000 training lines, 6 epochs, tested on 1,000 lines." in text
    text = runs(tmp_path, "mnist")
    assert f"| lstm_ctc | jax | {shown} | 3 | 90.0 s |" in text
    assert "| cnn | jax | 98.93% |" in text


@pytest.mark.parametrize("verdict", ["failed", "absent"])
def test_figures_without_parity_are_not_published(tmp_path: Path, verdict: str) -> None:
    _write(tmp_path, jax=verdict)
    for text, shown, hidden in ((comparison(tmp_path), "86.1", "87.65"), (runs(tmp_path, "mnist"), "98.71", "98.93")):
        assert shown in text
        assert hidden not in text
        assert "not shown: parity did not pass" in text
    assert "logits, cnn" in comparison(tmp_path)


def test_missing_results_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"docs/results/report\.json is missing"):
        comparison(tmp_path)


def test_suite_page_names_the_options_there_are() -> None:
    page, options = (DOCS / "suite.md").read_text(), (ROOT / "conformance" / "plugin.py").read_text()
    told = set(re.findall(r"^`(--\w+)", page, flags=re.MULTILINE))
    assert told == set(re.findall(r'addoption\(\s*"(--\w+)"', options)) != set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files_that_exist(name: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert links, "no links found; has their form changed?"
    assert [link for link in links if not (ROOT / link).exists()] == []
