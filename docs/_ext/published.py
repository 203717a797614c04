"""The figures and tables of published runs, from the JSON files in `docs/results`.

`report.json` is what `fourhands compare` writes. The other files are `{"date": ..., "machine": ..., "command": ...,
"results": [...]}`: `machine` as in report.json, `results` the contents of result.json of each run. A result of a rung
that reads lines also needs `max_characters`: the longest line of its data.
"""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import charts
import conclusions
from charts import PASSED, in_order, longest_line, name_of, reads_lines

from common.formatting import duration, percent, significant
from common.tasks import task_of

_HIDDEN = "not shown: parity did not pass"
_FOLD = 72  # characters of a command's line
# the columns that say how well a run reads, and the fields that they show
_SCORES = {"accuracy": "accuracy", "95% interval": "accuracy_interval", "case folded": "accuracy_case_folded"}
_LINE_SCORES = {
    "CER": "cer",
    "CER, 95% interval": "cer_interval",
    "WER": "wer",
    "WER, 95% interval": "wer_interval",
}
_PAGE_SCORES = {
    "F1": "f1",
    "F1, 95% interval": "f1_interval",
    "precision": "precision",
    "recall": "recall",
    "IoU": "iou",
}
_SCORES_OF = {"characters": _SCORES, "lines": _LINE_SCORES, "pages": _PAGE_SCORES}
"""Task to the scores of its runs."""
_EXAMPLES = {"characters": ("examples", "images"), "lines": ("lines", "lines"), "pages": ("pages", "pages")}
"""Task to the names of what is trained on and of what is tested."""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def rubric(title: str) -> str:
    """A heading that works inside a directive, which cannot open a section."""
    return f":::{{rubric}} {title}\n:heading-level: 3\n:::"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """One of the committed files.

    Raises:
        ValueError: it is not there.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(
            f"docs/results/{name} is missing; put there what a finished run wrote, see docs/_ext/published.py"
        )
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def folded(title: str, content: str) -> str:
    """Content that opens with a click."""
    return f"::::::{{dropdown}} {title}\n{content}\n::::::"


def comparison(folder: Path) -> str:
    """The run of `fourhands compare`: what it was, all rungs at a glance, parity, and each rung's figures."""
    report = read_json(folder, "report.json")
    settings, versions = report["settings"], report["versions"]
    machine = _machine(report["machine"])
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [
        f"`fourhands compare` of {day(report['written'])}: the {settings['tier']} tier on {settings['data']}, on "
        f"{machine}. Every framework trains every rung once, with the same data, seed and budget, in a process of its "
        "own.",
        folded("The command and the versions", f"{_command(report['commands'][0])}\n\n{named}."),
        rubric("All rungs"),
        overview(folder),
        rubric("Parity"),
        _parity(report),
    ]
    for rung, found in report["rungs"].items():
        # reports written before each rung had its own data name one for all
        data = found["budget"].get("data", settings["data"])
        parts += [rubric(f"{rung} on {data}"), _rung(rung, found, report)]
    return "\n\n".join(parts)


def overview(folder: Path) -> str:
    """Steps and scores of all rungs in one figure, and what follows from it."""
    report = read_json(folder, "report.json")
    figures = [charts.figure(panel) for panel in charts.overview(report).values()]
    keras = " Keras runs on TensorFlow." if "tensorflow" in report["versions"] else ""
    how = f"Bars: shorter is faster. Accuracy: higher is better. CER: lower is better.{keras}"
    return "\n\n".join([_html(figures), how, *conclusions.overview(report)])


def runs(folder: Path, name: str) -> str:
    """Scores of single runs, of the frameworks whose parity `report.json` shows: characters, then lines, then pages."""
    content = read_json(folder, f"{name}.json")
    verdicts = read_json(folder, "report.json")["parity"]["verdicts"]
    parts = [f"Runs of {day(content['date'])} on {_machine(content['machine'])}."]
    for task, scores in _SCORES_OF.items():
        results = [result for result in content["results"] if task_of(result["rung"]).name == task]
        if results:
            parts.append(_runs(name, results, verdicts, scores))
    commands = "\n\n".join(_command(command) for command in content["command"].splitlines())
    return "\n\n".join([*parts, folded("The commands", commands)])


def day(written: str) -> str:
    """An ISO date, with or without its time, as 22 November 2026."""
    date = datetime.date.fromisoformat(written[:10])
    return f"{date.day} {date:%B %Y}"


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _command(command: str) -> str:
    """A command in lines that fit their box; it can still be pasted into a shell."""
    lines: list[str] = []
    for word in shlex.split(command):
        shown = shlex.quote(word)
        # a flag begins a line of its own, unless the line before is short
        room = _FOLD // 2 if word.startswith("--") else _FOLD
        if lines and len(lines[-1]) + 1 + len(shown) <= room:
            lines[-1] += f" {shown}"
        else:
            lines.append(f"  {shown}" if lines else shown)
    return "```sh\n" + " \\\n".join(lines) + "\n```"


def _html(figures: Iterable[str]) -> str:
    return '```{raw} html\n<div class="charts">' + "".join(figures) + "</div>\n```"


def _runs(
    file: str, results: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Any], scores: Mapping[str, str]
) -> str:
    lines = scores is _LINE_SCORES
    order = in_order([result["framework"] for result in results])
    results = sorted(results, key=lambda result: order.index(result["framework"]))
    rungs = list(dict.fromkeys(result["rung"] for result in results))
    rows, shown = [], []
    for rung in rungs:
        for result in (result for result in results if result["rung"] == rung):
            if verdicts[result["framework"]]["status"] != PASSED:
                blank = [""] * (len(scores) + 1 + lines)
                rows.append((rung, name_of(result["framework"]), _HIDDEN, *blank))
                continue
            if lines and not result.get("max_characters"):
                raise ValueError(f"docs/results/{file}.json: a result of {rung} lacks max_characters, its longest line")
            shown.append(result)
            longest = [f"{result['max_characters']} characters"] if lines else []
            scored = (*longest, *_scores(result, scores), result["epochs"], duration(result["seconds"]))
            rows.append((rung, name_of(result["framework"]), *scored))
    head = ("rung", "framework", *(["longest line"] if lines else []), *scores, "epochs", "training")
    figures, words = _runs_drawn(shown, next(iter(scores.values())))
    return "\n\n".join([_html(figures), words, folded("The figures as a table", table(head, rows))])


def _runs_drawn(results: Sequence[Mapping[str, Any]], field: str) -> tuple[list[str], str]:
    """A figure per rung, and what follows from them."""
    ends = [end for result in results for end in result[f"{field}_interval"]]
    low, high = charts.round_ends(min(ends), max(ends))
    figures, words = [], []
    for rung in dict.fromkeys(result["rung"] for result in results):
        rows = {result["framework"]: result for result in results if result["rung"] == rung}
        caps = {row["max_characters"] for row in rows.values() if row.get("max_characters")}
        cap = f", lines of at most {max(caps)} characters" if caps else ""
        title = f"{rung}, {charts.score_name(rung)} with 95% interval{cap}"
        said = ", ".join(f"{name_of(name)} {row[field]:.2%}" for name, row in rows.items())
        panel = charts.intervals(rows, field, title=title, alt=f"{title}: {said}.", low=low, high=high)
        figures.append(charts.figure(panel))
        words.append(f"`{rung}`{cap}: {conclusions.overlap(rows, field)}")
    return figures, "\n".join(f"- {sentence}" for sentence in words)


def _scores(result: Mapping[str, Any], scores: Mapping[str, str]) -> list[str]:
    found = (result[name] for name in scores.values())
    return [_interval(value) if isinstance(value, list) else percent(value, 2) for value in found]


def _parity(report: Mapping[str, Any]) -> str:
    verdicts, faults = report["parity"]["verdicts"], report["faults"]
    rows = []
    for name in in_order(verdicts):
        verdict, caught = verdicts[name], faults.get(name)
        said = {PASSED: "the same model", "failed": "not the same", "absent": "not installed"}[verdict["status"]]
        rows.append(
            (
                charts.full_name(name, report["versions"]),
                f"{verdict['passed']} of {verdict['checks']}",
                f"{caught['caught']} of {caught['planted']}" if caught else "–",
                f"{said}: {verdict['reason']}" if verdict["reason"] else said,
            )
        )
    passed = [name for name in in_order(verdicts) if verdicts[name]["status"] == PASSED]
    others = [name for name in in_order(verdicts) if name not in passed]
    missed = [name for name, found in faults.items() if found["caught"] < found["planted"]]
    said = f"{conclusions.listed(passed)} passed every parity check: they are the same model." if passed else ""
    if others:
        said += f" {conclusions.listed(others)} did not, so no figure of theirs is shown."
    if faults and not missed:
        said += " The suite caught every fault that was planted in them."
    elif missed:
        said += f" The suite missed faults that were planted in {conclusions.listed(missed)}."
    head = ("framework", "checks passed", "planted faults caught", "verdict")
    return f"{said.strip()}\n\n{folded('The checks as a table', table(head, rows))}"


def _rung(rung: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    budget = found["budget"]
    what, tested = _EXAMPLES[task_of(rung).name]
    amount = f"{budget['examples']:,} training {what}" if budget["examples"] else f"all training {what}"
    amount += f" (each {longest_line(found, rung).removeprefix('lines ')})" if longest_line(found, rung) else ""
    start = f" The stem starts from the framework's own `{budget['start']}` run." if budget.get("start") else ""
    amount = amount[:1].upper() + amount[1:]
    tests = f"tested on {found.get('examples', 0):,} {tested}"
    parts = [f"{amount}, {budget['epochs']} epochs; {tests}.{start}"]
    if charts.shown_rows(report, rung):
        parts.append(_html(charts.figure(panel) for panel in charts.panels(report, rung)))
        words = (
            f(report, rung) for f in (conclusions.score, conclusions.steps, conclusions.target, conclusions.memory)
        )
        parts.append("\n".join(f"- {sentence}" for sentence in words if sentence))
    return "\n\n".join([*parts, folded("The figures as a table", _rung_table(rung, found, report))])


def _rung_table(rung: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    budget, lines = found["budget"], reads_lines(rung)
    scores = {name: field for name, field in _SCORES_OF[task_of(rung).name].items() if name != "case folded"}
    verdicts, rows = report["parity"]["verdicts"], []
    for name in in_order(verdicts):
        row, title = found["rows"].get(name), charts.full_name(name, report["versions"])
        passed = verdicts[name]["status"] == PASSED
        if not passed or row is None:
            rows.append((title, "no result" if passed else _HIDDEN, *[""] * (len(scores) + 4)))
            continue
        rows.append(
            (
                title,
                *_scores(row, scores),
                "not reached" if row["seconds_to_target"] is None else duration(row["seconds_to_target"]),
                significant(row["examples_per_second"]),
                significant(row["step_relative"]),
                charts.megabytes(row["peak_memory_mb"]),
                row["lines_of_rung"],
            )
        )
    head = (
        "framework",
        *scores,
        f"time to {percent(budget['target'], 0)}",
        f"{_EXAMPLES[task_of(rung).name][0]}/s",
        "step, × PyTorch",
        "peak memory",
        f"code lines of {rung}.py" + (" and stem.py" if lines else ""),
    )
    return table(head, rows)


def _interval(bounds: Iterable[float]) -> str:
    return " to ".join(percent(bound, 2) for bound in bounds)
