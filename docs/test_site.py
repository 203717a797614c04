"""The site shows what is in the code: every section of every rung, and published figures only behind parity."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx", reason='the site needs Sphinx: pip install "fourhands[docs]"')

import charts
import conclusions
import network
import readme
from published import comparison, day, overview, runs
from side_by_side import FRAMEWORKS, SECTIONS, find_sections

from common.spec import RUNGS, CNNSpec, LSTMCTCSpec, MLPSpec, Spec, TransformerSpec, UNetSpec, parameter_count

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
    shown = re.findall(r"\{side-by-side\} (.*)", page)
    # the page opens with the model; the other sections follow in the order of the file
    assert shown == [f"{rung} {section}" for section in ["model", *(other for other in sections if other != "model")]]


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
    """A report of `fourhands compare` with one rung; `jax` is the verdict on JAX."""
    row = {"accuracy_interval": [0.8512, 0.8723], "seconds_to_target": None, "lines_of_rung": 37}
    row |= {"examples_per_second": 1234, "step_relative": 1.372, "peak_memory_mb": None, "compile_seconds": 0.5}
    pair = {"first": "jax", "second": "numpy", "difference": 0.015, "interval": [-0.001, 0.031]}
    found = {
        "budget": {"examples": 8000, "epochs": 4, "target": 0.75},
        "examples": 4960,
        "rows": {"numpy": row | {"accuracy": 0.8613}, "jax": row | {"accuracy": 0.87654}},
        "differences": [pair | {"measurable": False, "better": None}],
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
    assert "| NumPy | 86.13% | 85.12% to 87.23% | not reached | 1,230 | 1.37 | – | 37 |" in text
    assert "| JAX | 87.65% |" in text
    assert "| NumPy | 40 of 40 | 28 of 29 | the same model |" in text
    for word in ("quick", "2 January 2025", "Some CPU, 2 cores", "numpy 2.0.1", "8,000", "4,960"):
        assert word in text
    assert "| cnn | JAX | 98.93% | 98.00% to 99.00% | – | 6 | 90.0 s |" in runs(tmp_path, "mnist")


def test_published_figures_of_lines_are_error_rates(tmp_path: Path) -> None:
    _write(tmp_path)
    report = _report("passed")
    rates = {"cer": 0.0345, "cer_interval": [0.031, 0.038], "wer": 0.1234, "wer_interval": [0.11, 0.14]}
    rows = {name: rates | row for name, row in report["rungs"]["cnn"]["rows"].items()}
    budget = {"examples": 2000, "epochs": 6, "target": 0.1, "data": "ink_lines", "max_characters": 17}
    report["rungs"]["lstm_ctc"] = {"budget": budget, "examples": 1000, "rows": rows, "differences": []}
    (tmp_path / "report.json").write_text(json.dumps(report))
    named = json.loads((tmp_path / "mnist.json").read_text())
    named["results"].append(
        rates | {"rung": "lstm_ctc", "framework": "jax", "epochs": 3, "seconds": 90, "max_characters": 9}
    )
    (tmp_path / "mnist.json").write_text(json.dumps(named))
    text = comparison(tmp_path)
    shown = "3.45% | 3.10% to 3.80% | 12.34% | 11.00% to 14.00%"
    assert f"| JAX | {shown} | not reached | 1,230 | 1.37 | – | 37 |" in text
    assert "cnn on ink\n" in text  # a report written before each rung had its own data
    assert "lstm_ctc on ink_lines\n" in text
    assert "2,000 training lines (each of at most 17 characters), 6 epochs; tested on 1,000 lines." in text
    text = runs(tmp_path, "mnist")
    assert f"| lstm_ctc | JAX | 9 characters | {shown} | 3 | 90.0 s |" in text
    assert "| cnn | JAX | 98.93% |" in text


@pytest.mark.parametrize("verdict", ["failed", "absent"])
def test_figures_without_parity_are_not_published(tmp_path: Path, verdict: str) -> None:
    _write(tmp_path, jax=verdict)
    for text, shown, hidden in (
        (comparison(tmp_path), "86.1", r"87\.[67]"),
        (runs(tmp_path, "mnist"), "98.71", "98.93"),
    ):
        assert shown in text
        assert not re.search(hidden, text)
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


# --- published figures


def _published() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(readme.REPORT.read_text(encoding="utf-8"))
    return report


def test_readme_shows_the_published_report() -> None:
    report = _published()
    again = "run .venv/bin/python docs/_ext/readme.py"
    assert readme.PICTURE.read_text(encoding="utf-8") == charts.committed(report), again
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.with_conclusions(text, report), again


def test_readme_without_its_comments_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the line"):
        readme.with_conclusions("# fourhands", _published())


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/results.md"])
def test_cer_names_its_longest_line(page: str) -> None:
    report, text = _published(), (ROOT / page).read_text(encoding="utf-8")
    drawn = {"README.md": charts.committed(report), "docs/index.md": overview(readme.REPORT.parent)}
    shown = text + drawn.get(page, comparison(readme.REPORT.parent))
    lines = [rung for rung in report["rungs"] if charts.reads_lines(rung)]
    assert lines
    for rung in lines:
        longest = f"at most {report['rungs'][rung]['budget']['max_characters']} characters"
        # a picture, a list or a table of a rung's CER names the rung and its longest line
        assert re.search(rf"{rung}\b[^|]{{0,400}}?{longest}", shown), f"{page}: CER of {rung} without {longest!r}"
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"\d% of the characters|\bCER\b.*\d%", paragraph.replace("95%", ""), flags=re.DOTALL):
            assert re.search(r"at most \d+ characters", paragraph), f"{page}: no longest line in: {paragraph}"


def test_cer_without_a_longest_line_is_not_published(tmp_path: Path) -> None:
    _write(tmp_path)
    report = _report("passed")
    report["rungs"]["lstm_ctc"] = report["rungs"]["cnn"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    for shown in (comparison, overview):
        with pytest.raises(ValueError, match="budget of lstm_ctc lacks max_characters"):
            shown(tmp_path)
    _write(tmp_path)
    named = json.loads((tmp_path / "mnist.json").read_text())
    named["results"][0]["rung"] = "lstm_ctc"
    (tmp_path / "mnist.json").write_text(json.dumps(named))
    with pytest.raises(ValueError, match=r"mnist\.json: a result of lstm_ctc lacks max_characters"):
        runs(tmp_path, "mnist")


def _times(**steps: float) -> dict[str, Any]:
    report = _report("passed")
    verdict = report["parity"]["verdicts"]["numpy"]
    row = report["rungs"]["cnn"]["rows"]["numpy"]
    report["parity"]["verdicts"] = dict.fromkeys(steps, verdict)
    report["rungs"]["cnn"]["rows"] = {name: row | {"step_relative": step} for name, step in steps.items()}
    return report


def test_order_of_close_times_is_not_concluded() -> None:
    said = conclusions.steps(_times(numpy=1.15, pytorch=1.0, keras=1.1, jax=0.65), "cnn")
    assert "By more than 20%, JAX is faster than NumPy, PyTorch and Keras." in said
    said = conclusions.steps(_times(numpy=1.68, pytorch=1.0, keras=0.85, jax=1.48), "cnn")
    assert "By more than 20%, PyTorch and Keras are faster than NumPy and JAX." in said
    assert "No two differ by 20%." in conclusions.steps(_times(pytorch=1.0, jax=1.1), "cnn")


def test_difference_that_includes_zero_is_no_difference() -> None:
    report = _report("passed")
    assert "no measurable difference" in conclusions.score(report, "cnn")
    report["rungs"]["cnn"]["differences"][0] |= {"measurable": True, "better": "jax", "interval": [0.002, 0.028]}
    said = conclusions.score(report, "cnn")
    assert "JAX's run is better than NumPy's by 1.5 points (95% interval 0.2 to 2.8)" in said
    assert "no measurable difference" not in said


def test_target_that_nobody_reached_is_said() -> None:
    report = _report("passed")
    assert "no framework reached it" in conclusions.target(report, "cnn")
    rows = report["rungs"]["cnn"]["rows"]
    rows["jax"] |= {"seconds_to_target": 9.0, "compile_seconds": 4.0, "step_relative": 0.5}
    assert "NumPy did not reach it" in conclusions.target(report, "cnn")
    rows["numpy"]["seconds_to_target"] = 8.0
    assert "JAX's steps are the shortest, but 4.0 s of its time go into compiling" in conclusions.target(report, "cnn")


def test_intervals_that_overlap_order_nothing() -> None:
    rows = {"numpy": {"accuracy_interval": [0.90, 0.92]}, "jax": {"accuracy_interval": [0.915, 0.93]}}
    assert "no measurable difference" in conclusions.overlap(rows, "accuracy")
    rows["jax"]["accuracy_interval"] = [0.925, 0.94]
    assert "NumPy and JAX do not overlap" in conclusions.overlap(rows, "accuracy")


@pytest.mark.parametrize(("low", "high"), [(0.7411, 0.8048), (0.0, 0.124), (0.9799, 0.9937), (0.5, 0.5), (0.0, 1.2)])
def test_axis_holds_what_it_shows(low: float, high: float) -> None:
    first, last = charts.round_ends(low, high)
    assert first <= low
    assert high <= last + 1e-9
    assert last - first <= max(0.02, 4 * (high - low))


def test_date_is_for_people() -> None:
    assert day("2026-11-22T05:16:56+00:00") == "22 November 2026"


def test_long_command_fits_its_box_and_stays_one_command(tmp_path: Path) -> None:
    _write(tmp_path)
    named = json.loads((tmp_path / "mnist.json").read_text())
    named["command"] = (
        "fourhands train --rung cnn --data.writer-pattern '^(.*?) x$' " + "--train.learning-rate 2e-3 " * 9
    )
    (tmp_path / "mnist.json").write_text(json.dumps(named))
    box = re.search(r"```sh\n(.*?)\n```", runs(tmp_path, "mnist"), flags=re.DOTALL)
    assert box
    assert max(map(len, box[1].splitlines())) <= 76
    assert shlex.split(box[1].replace("\\\n", "")) == shlex.split(named["command"])


# --- drawings

OTHER_SIZES: dict[str, Spec] = {
    "mlp": MLPSpec(num_classes=7, hidden_dims=(300, 200, 50), dropout=0.25),
    "cnn": CNNSpec(num_classes=7, height=20, width=20, channels=(8, 16, 32), hidden_dim=40),
    "stem": LSTMCTCSpec(num_classes=7, height=48, stem_channels=(8, 16), stem_strides=(2, 2), frame_dim=24),
    "lstm_ctc": LSTMCTCSpec(num_classes=7, frame_dim=24, hidden_dim=20, num_layers=3),
    "transformer": TransformerSpec(num_classes=7, model_dim=32, num_layers=3, num_heads=2, feed_forward_dim=64),
    "unet": UNetSpec(channels=(8, 12, 20)),
}
SIZES = {
    "mlp": ["300", "200", "50", "dropout 0.25"],
    "cnn": ["20 × 20 × 8", "20 × 20 × 16", "10 × 10 × 32", "3,200", "40"],
    "stem": ["48 × W", "24 × W/2 × 8", "12 × W/4 × 16", "W/4 × 24", "12 × 3"],
    "lstm_ctc": ["W/4 × 24", "W/4 × 40", "W/4 × 7"],
    "transformer": ["W/4 × 32", "L × 7", "decoder, 3 layers", "causal, 2 heads", "dense 64, ReLU, dense"],
    "unet": ["H/2 × W/2 × 8", "H/4 × W/4 × 12", "H/8 × W/8 × 20"],
}


def _words(picture: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(picture).iter() if node.tag.endswith("}text")]


@pytest.mark.parametrize("rung", OTHER_SIZES)
def test_drawing_has_the_sizes_of_the_spec(rung: str) -> None:
    for picture in network.drawings(rung, OTHER_SIZES[rung]):
        words = _words(picture)
        missing = [size for size in SIZES[rung] if size not in words and not any(size in word for word in words)]
        assert missing == []


@pytest.mark.parametrize("sizes", ["default", "other"])
@pytest.mark.parametrize("rung", RUNGS)
def test_parameters_in_the_drawing_add_up_to_the_model(rung: str, sizes: str) -> None:
    spec = network.spec_of(rung) if sizes == "default" else OTHER_SIZES[rung]
    for picture in network.drawings(rung, spec):
        alt = ElementTree.fromstring(picture).attrib["aria-label"]
        counts = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) parameters", alt)]
        layers = spec.num_layers if isinstance(spec, TransformerSpec) else 1
        in_decoder = 3 if isinstance(spec, TransformerSpec) else 0
        stem_embedding, rest = counts[:2], counts[2:]
        total = sum(stem_embedding) + layers * sum(rest[:in_decoder]) + sum(rest[in_decoder:])
        assert total == parameter_count(spec)


@pytest.mark.parametrize("rung", OTHER_SIZES)
def test_drawing_stays_inside_its_picture(rung: str) -> None:
    for spec in (OTHER_SIZES[rung], network.spec_of("lstm_ctc" if rung == "stem" else rung)):
        for picture in network.drawings(rung, spec):
            root = ElementTree.fromstring(picture)
            width = float(root.attrib["viewBox"].split()[2])
            for node in root.iter():
                if node.tag.endswith("}text") and "transform" not in node.attrib:
                    assert -1 <= float(node.attrib["x"]) <= width


def test_drawing_of_a_stem_names_its_column_strides_and_its_maximum() -> None:
    strides: dict[str, Any] = {"stem_strides": (2, 2), "stem_column_strides": (2, 1), "stem_channels": (8, 16)}
    spec = LSTMCTCSpec(num_classes=7, height=48, frame_dim=24, stem_pooling="max", **strides)
    for picture in network.drawings("stem", spec):
        words = _words(picture)
        for expected in ("12 × W/2 × 16", "3 × 3, stride 2 × 1", "3 × 3", "maximum of a column", "W/2 × 24"):
            assert expected in words


def test_unknown_drawing_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no drawing of 'gru'; there are mlp, cnn, stem, lstm_ctc, unet, transformer"):
        network.drawings("gru", network.spec_of("mlp"))


@pytest.mark.parametrize("rung", [*RUNGS, "stem"])
def test_page_of_a_rung_opens_with_its_drawing_and_the_four(rung: str) -> None:
    page = (DOCS / "rungs" / f"{rung}.md").read_text(encoding="utf-8")
    first = "layers" if rung == "stem" else "model"
    opening = (
        rf"# [^\n]+\n\n[^\n]+\n\n```\{{network\}} {rung}\n```\n\n```\{{side-by-side\}} {rung} {first}\n:capped:\n```"
    )
    assert re.search(opening, page)
    # every table of parameters is in a fold
    outside = re.sub(r"^(:::+)\{dropdown\}.*?^\1$", "", page, flags=re.DOTALL | re.MULTILINE)
    assert "{generated}" not in outside
    assert ("{generated}" in page) == (rung != "stem")


# --- what the pages say

PAGES_OF_GPUS = ["README.md", "docs/results.md", "docs/api.md", "docs/cli.md"]


@pytest.mark.parametrize("page", PAGES_OF_GPUS)
def test_page_says_that_no_gpu_has_run_this(page: str) -> None:
    records = [path.read_text(encoding="utf-8") for path in (DOCS / "results").glob("*.json")]
    if any(re.search(r'"device": "gpu"|--device gpu', record) for record in records):
        pytest.skip("docs/results has a record of a GPU: the sentence is to be removed")
    assert re.search(r"No GPU has run", (ROOT / page).read_text(encoding="utf-8"))


OWN_PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in DOCS.glob("*.md") if path.name != "log.md"),
]


@pytest.mark.parametrize("page", OWN_PAGES)
def test_flags_of_the_data_have_their_new_names(page: str) -> None:
    old = r"--train\.(examples|balance|max-characters|writer-pattern)"
    assert not re.search(old, (ROOT / page).read_text(encoding="utf-8"))


# --- the examples of the Python API


def _examples(page: str, heading: str = "") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text[text.index(heading) :], flags=re.DOTALL)


def _run(examples: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "example", "exec"), names)
    return names


def test_examples_of_the_api_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = _examples("docs/api.md")
    assert len(examples) == 6
    names = _run(examples, tmp_path, monkeypatch)
    assert (tmp_path / "runs" / "lines" / "prior.safetensors").is_file()
    assert len(names["reading"].character_confidences) == len(names["reading"].text)
    assert names["row"].same


def test_ten_lines_of_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image, ImageDraw

    paper = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(paper).line([(15, 10), (15, 50), (45, 50)], fill=0, width=5)
    paper.save(tmp_path / "photo.jpg")
    (example,) = _examples("README.md", "## Ten lines of Python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    # the same calls on less data and in one framework
    for old, new in (
        ('train={"epochs": 3}', 'train={"epochs": 1}, data_config={"examples": 256}'),
        ('verify("runs/first")', 'verify("runs/first", framework="numpy")'),
    ):
        assert old in example
        example = example.replace(old, new)
    names = _run([example], tmp_path, monkeypatch)
    assert len(names["reading"].text) == 1
    assert names["row"].same
