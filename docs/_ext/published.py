"""The parity and accuracy tables of named runs, from the JSON files in `docs/results`.

`report.json` is what `fourhands compare` writes. The other files are `{"date": ..., "machine": ..., "command": ...,
"results": [...]}`: `machine` as in report.json, `results` the contents of result.json of each run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.report.words import duration, percent, significant

PASSED = "passed"


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
        f"`fourhands compare`, the {settings['tier']} tier on `{settings['data']}`.",
        _circumstances(report["written"], report["machine"], report["commands"][0]),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()) + ".",
        rubric("Parity"),
        _parity(report),
    ]
    for rung, found in report["rungs"].items():
        parts += [rubric(f"{rung} on {settings['data']}"), _rung(rung, found, report)]
    return "\n\n".join(parts)


def runs(folder: Path, name: str) -> str:
    """Accuracies of single runs, of those frameworks whose parity `report.json` shows."""
    content = read_json(folder, f"{name}.json")
    verdicts = read_json(folder, "report.json")["parity"]["verdicts"]
    rows = [
        (
            result["rung"],
            result["framework"],
            percent(result["accuracy"], 2),
            _interval(result["accuracy_interval"]),
            percent(result["accuracy_case_folded"], 2),
            result["epochs"],
            duration(result["seconds"]),
        )
        if verdicts[result["framework"]]["status"] == PASSED
        else (result["rung"], result["framework"], *["not shown: parity did not pass"], *[""] * 4)
        for result in content["results"]
    ]
    head = ("rung", "framework", "accuracy", "95% interval", "case folded", "epochs", "training")
    return "\n\n".join([_circumstances(content["date"], content["machine"], content["command"]), table(head, rows)])


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
    budget, rows = found["budget"], []
    for name, verdict in report["parity"]["verdicts"].items():
        row = found["rows"].get(name)
        if verdict["status"] != PASSED or row is None:
            rows.append(
                (name, "not shown: parity did not pass" if verdict["status"] != PASSED else "no result", *[""] * 6)
            )
            continue
        rows.append(
            (
                name,
                percent(row["accuracy"], 2),
                _interval(row["accuracy_interval"]),
                "not reached" if row["seconds_to_target"] is None else duration(row["seconds_to_target"]),
                significant(row["examples_per_second"]),
                significant(row["step_relative"]),
                "–" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:,.0f} MB",
                row["lines_of_rung"],
            )
        )
    head = (
        "framework",
        "accuracy",
        "95% interval",
        f"time to {percent(budget['target'], 0)}",
        "examples/s",
        "step, × PyTorch",
        "peak memory",
        f"code lines of {rung}.py",
    )
    amount = f"{budget['examples']:,} training examples" if budget["examples"] else "all training examples"
    return f"{amount}, {budget['epochs']} epochs, tested on {found.get('examples', 0):,} images.\n\n{table(head, rows)}"


def _interval(bounds: Iterable[float]) -> str:
    return " to ".join(percent(bound, 2) for bound in bounds)
