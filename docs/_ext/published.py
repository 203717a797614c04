"""The tables of parity, accuracy and error rates of named runs, from the JSON files in `docs/results`.

`report.json` is what `fourhands compare` writes. The other files are `{"date": ..., "machine": ..., "command": ...,
"results": [...]}`: `machine` as in report.json, `results` the contents of result.json of each run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.formatting import duration, percent, significant
from common.tasks import task_of

PASSED = "passed"
_HIDDEN = "not shown: parity did not pass"
# the columns that say how well a run reads, and the fields that they show
_SCORES = {"accuracy": "accuracy", "95% interval": "accuracy_interval", "case folded": "accuracy_case_folded"}
_LINE_SCORES = {
    "CER": "cer",
    "CER, 95% interval": "cer_interval",
    "WER": "wer",
    "WER, 95% interval": "wer_interval",
}


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def rubric(title: str) -> str:
    """A heading that may stand anywhere; a directive cannot open a section."""
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


def comparison(folder: Path) -> str:
    """The run of `fourhands compare`: what it was, parity, and each rung's figures."""
    report = read_json(folder, "report.json")
    settings = report["settings"]
    parts = [
        f"`fourhands compare`, the {settings['tier']} tier on {settings['data']}.",
        _circumstances(report["written"], report["machine"], report["commands"][0]),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()) + ".",
        rubric("Parity"),
        _parity(report),
    ]
    for rung, found in report["rungs"].items():
        # reports of before each rung had its own data tell it of all
        data = found["budget"].get("data", settings["data"])
        parts += [rubric(f"{rung} on {data}"), _rung(rung, found, report)]
    return "\n\n".join(parts)


def runs(folder: Path, name: str) -> str:
    """Scores of single runs, of those frameworks whose parity `report.json` shows; characters and lines apart."""
    content = read_json(folder, f"{name}.json")
    verdicts = read_json(folder, "report.json")["parity"]["verdicts"]
    parts = [_circumstances(content["date"], content["machine"], content["command"])]
    for lines in (False, True):
        results = [result for result in content["results"] if (task_of(result["rung"]).name == "lines") == lines]
        if results:
            parts.append(_runs(results, verdicts, _LINE_SCORES if lines else _SCORES))
    return "\n\n".join(parts)


def _runs(results: Iterable[Mapping[str, Any]], verdicts: Mapping[str, Any], scores: Mapping[str, str]) -> str:
    rows = [
        (
            result["rung"],
            result["framework"],
            *_scores(result, scores),
            result["epochs"],
            duration(result["seconds"]),
        )
        if verdicts[result["framework"]]["status"] == PASSED
        else (result["rung"], result["framework"], _HIDDEN, *[""] * (len(scores) + 1))
        for result in results
    ]
    return table(("rung", "framework", *scores, "epochs", "training"), rows)


def _scores(result: Mapping[str, Any], scores: Mapping[str, str]) -> list[str]:
    found = (result[name] for name in scores.values())
    return [_interval(value) if isinstance(value, list) else percent(value, 2) for value in found]


def _circumstances(date: str, machine: Mapping[str, Any], command: str) -> str:
    processor = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    return f"Run of {date} on {processor}:\n\n```text\n{command}\n```"


def _parity(report: Mapping[str, Any]) -> str:
    rows = []
    for name, verdict in report["parity"]["verdicts"].items():
        caught = report["faults"].get(name)
        said = {PASSED: "the same model", "failed": "not the same", "absent": "not installed"}[verdict["status"]]
        rows.append(
            (
                name,
                f"{verdict['passed']} of {verdict['checks']}",
                f"{caught['caught']} of {caught['planted']}" if caught else "–",
                f"{said}: {verdict['reason']}" if verdict["reason"] else said,
            )
        )
    return table(("framework", "checks passed", "planted faults caught", "verdict"), rows)


def _rung(rung: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    budget, lines = found["budget"], task_of(rung).name == "lines"
    scores = _LINE_SCORES if lines else {name: field for name, field in _SCORES.items() if name != "case folded"}
    rows = []
    for name, verdict in report["parity"]["verdicts"].items():
        row = found["rows"].get(name)
        if verdict["status"] != PASSED or row is None:
            rows.append((name, _HIDDEN if verdict["status"] != PASSED else "no result", *[""] * (len(scores) + 4)))
            continue
        rows.append(
            (
                name,
                *_scores(row, scores),
                "not reached" if row["seconds_to_target"] is None else duration(row["seconds_to_target"]),
                significant(row["examples_per_second"]),
                significant(row["step_relative"]),
                "–" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:,.0f} MB",
                row["lines_of_rung"],
            )
        )
    what, tested = ("lines", "lines") if lines else ("examples", "images")
    head = (
        "framework",
        *scores,
        f"time to {percent(budget['target'], 0)}",
        f"{what}/s",
        "step, × PyTorch",
        "peak memory",
        f"code lines of {rung}.py" + (" and stem.py" if lines else ""),
    )
    amount = f"{budget['examples']:,} training {what}" if budget["examples"] else f"all training {what}"
    best = " Of CER and WER, less is better." if lines else ""
    tested = f"tested on {found.get('examples', 0):,} {tested}"
    return f"{amount}, {budget['epochs']} epochs, {tested}.{best}\n\n{table(head, rows)}"


def _interval(bounds: Iterable[float]) -> str:
    return " to ".join(percent(bound, 2) for bound in bounds)
