"""`fourhands compare`: check that the frameworks compute the same model, then compare them in one report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.atomic import write_atomically
from common.data.config import DataConfig
from common.data.dataset import AnyDataset
from common.errors import UserError, unknown_name
from common.formatting import flattened, framework_name
from common.machine import machine, versions
from common.recognizer import implementations
from common.report.budgets import TIERS, data_of, suite_minutes
from common.report.code import fingerprint, package_of
from common.report.first import LeftOut, first_look, read_left_out
from common.report.jobs import Settings, run_folder, run_suite, run_training, train_command
from common.report.parity import Verdict, matrix, read_checks, verdict
from common.report.table import print_tables
from common.spec import RUNGS, new_spec
from common.tasks import task_of
from common.terminal import progress_bar

SETTINGS, REPORT, PAGE = "compare.json", "report.json", "index.html"
PARITY, FAULTS = "parity.json", "faults.json"  # reports of the suite


def compare(
    tier: str = "first", rungs: Sequence[str] = (), frameworks: Sequence[str] = (), *, out: Path, data: str = ""
) -> int:
    """Check parity, train, plant faults, and write the report. Parts that are complete in `out` are not repeated.

    Args:
        tier: a name of `TIERS`.
        rungs: the rungs to compare; by default all that read the data.
        frameworks: the frameworks to compare; by default all that are registered. The report lists those that are not
            installed.
        out: the report folder; an interrupted report is continued.
        data: NAME or NAME:FOLDER; by default each rung gets drawn characters or lines.

    Returns:
        The exit code: 0, or 1 if anything failed or if a framework in `frameworks` is not installed.

    Raises:
        UserError: an unknown name, a rung that does not read the data, or a folder with other content.
    """
    for kind, names, known in (
        ("tier", (tier,), TIERS),
        ("rung", rungs, RUNGS),
        ("framework", frameworks, implementations()),
    ):
        for name in names:
            if name not in known:
                raise unknown_name(kind, name, known)
    settings = _settings(tier, data_of(rungs, data), frameworks or tuple(implementations()))
    return _compare(out, settings, frameworks)


def _settings(tier: str, data: Mapping[str, str], frameworks: Sequence[str]) -> dict[str, Any]:
    frameworks = list(dict.fromkeys(frameworks))
    return {
        "tier": tier,
        "data": " and ".join(dict.fromkeys(data.values())),
        "rungs": list(data),
        "frameworks": frameworks,
        "budgets": {rung: _budget(tier, rung, data) for rung in data},
        "code": _fingerprints(frameworks),
    }


def _budget(tier: str, rung: str, data: Mapping[str, str]) -> dict[str, Any]:
    budget = TIERS[tier][rung]
    return asdict(budget) | {"data": data[rung], "start": budget.start if budget.start in data else ""}


def _fingerprints(frameworks: Sequence[str]) -> dict[str, str]:
    packages = ["common", "conformance", *(package_of(name) for name in frameworks)]
    return {package: fingerprint(package) for package in packages}


def _compare(out: Path, settings: Settings, named: Sequence[str]) -> int:
    _claim(out, settings)
    failures: list[dict[str, str]] = []
    minutes = {rung: TIERS[settings["tier"]][rung].minutes for rung in settings["rungs"]}
    suite = suite_minutes(settings["tier"], settings["rungs"]) / 2  # parity, and as long for the faults
    with _progress(2 * suite + len(settings["frameworks"]) * sum(minutes.values())) as advance:
        verdicts, matrices = _parity(out, settings, failures, advance)
        shown = [name for name in settings["frameworks"] if verdicts[name].status == "passed"]
        for turn, rung in enumerate(settings["rungs"]):
            shift = turn % max(1, len(shown))  # so that each framework runs first, on a cool machine, equally often
            for name in shown[shift:] + shown[:shift]:
                if reason := run_training(out, settings, rung, name):
                    failures.append({"what": f"{rung} in {framework_name(name)}", "reason": reason})
                advance(f"{rung} in {framework_name(name)} trained", minutes[rung])
        faults = _faults(out, settings, failures)
        advance("planted faults tried", suite)
        if _fingerprints(settings["frameworks"]) != settings["code"]:
            failures.append({"what": "code", "reason": "it changed during the comparison; start again in a new folder"})
        failures += [
            {"what": f"framework {framework_name(name)}", "reason": verdicts[name].reason}
            for name in named
            if verdicts[name].status == "absent"
        ]
        report = {
            "settings": settings,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(()),
            "commands": _commands(settings),
            "parity": {"verdicts": {name: asdict(verdicts[name]) for name in verdicts}, "matrices": matrices},
            "faults": faults,
            "rungs": {},
            "failures": failures,
        }
        left_out = read_left_out(out / PARITY, out / FAULTS)
        page = _fill(report, out, shown, left_out)
    write_atomically(out / REPORT, (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    write_atomically(out / PAGE, page.encode())
    print_tables(report, out / PAGE, first_look(report, left_out))
    return 1 if failures else 0


def _claim(out: Path, settings: Settings) -> None:
    """Make the folder, or check that it is a report of the same settings, finished or not."""
    path = out / SETTINGS
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise UserError(f"cannot create {out} ({error.strerror}); give --out a folder that can be created") from None
    if taken:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{out} is not empty and contains no report; give --out a new folder") from None
        # field by field and package by package, so that the error names what differs; the tier decides on the budgets
        was, now = flattened(before), flattened(settings)
        for field in sorted(was.keys() | now.keys(), key=lambda name: (name != "tier", name)):
            if was.get(field) != now.get(field):
                raise UserError(
                    f"the report in {out} was made with {field} {was.get(field)!r}, and now it is {now.get(field)!r}; "
                    "give --out a new folder"
                )
        return
    write_atomically(path, (json.dumps(settings, indent=1) + "\n").encode())


def _parity(
    out: Path, settings: Settings, failures: list[dict[str, str]], advance: Callable[[str, float], None]
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    path, frameworks, rungs = out / PARITY, settings["frameworks"], settings["rungs"]
    if path.exists() and "absent" in {v.status for v in _verdicts(path, settings).values()}:
        path.unlink()  # a framework that was not installed then may be installed now
    if not path.exists() and (reason := run_suite(path, "parity", settings)):
        failures.append({"what": "parity", "reason": reason})
        broken = Verdict(status="failed", passed=0, checks=0, reason=f"the suite did not finish: {reason}")
        return dict.fromkeys(frameworks, broken), {}
    verdicts = _verdicts(path, settings)
    advance("parity checked", suite_minutes(settings["tier"], rungs) / 2)
    failures += [
        {"what": f"parity of {framework_name(name)}", "reason": v.reason}
        for name, v in verdicts.items()
        if v.status == "failed"
    ]
    checks = read_checks(path, rungs, frameworks)
    return verdicts, {rung: matrix(checks, rung, frameworks) for rung in rungs}


def _verdicts(path: Path, settings: Settings) -> dict[str, Verdict]:
    checks = read_checks(path, settings["rungs"], settings["frameworks"])
    return {name: verdict(checks, name, settings["rungs"]) for name in settings["frameworks"]}


def _faults(out: Path, settings: Settings, failures: list[dict[str, str]]) -> dict[str, Any]:
    path = out / FAULTS
    if not path.exists() and (reason := run_suite(path, "faults", settings)):
        failures.append({"what": "planted faults", "reason": reason})
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["faults"]
    faults = {name: n for name, n in found["by_implementation"].items() if name in settings["frameworks"]}
    for name, count in faults.items():
        if count["caught"] < count["planted"]:
            missed = [f for f in found["each"] if f["implementation"] == name and f["outcome"] == "failed"]
            # a fault that could not be planted also counts as missed; the reason says so
            first = f"{missed[0]['fault']!r}: {missed[0]['reason']}"
            reason = f"{len(missed)} of {count['planted']} were not caught, first {first}"
            failures.append({"what": f"planted faults in {framework_name(name)}", "reason": reason.splitlines()[0]})
    return faults


def _commands(settings: Settings) -> list[str]:
    names = f"--rungs {' '.join(settings['rungs'])} --frameworks {' '.join(settings['frameworks'])}"
    data = {budget["data"] for budget in settings["budgets"].values()}
    if len(data) == 1:  # with several data sets each rung has its default
        names = f"--data {data.pop()} {names}"
    trains = [
        " ".join(["fourhands", *train_command(settings, rung, settings["frameworks"][0], Path(f"{rung}-run"))])
        for rung in settings["rungs"]
    ]
    return [f"fourhands compare --tier {settings['tier']} {names} --out report", *trains]


def _fill(report: dict[str, Any], out: Path, shown: Sequence[str], left_out: LeftOut) -> str:
    """Add the figures of the complete runs to the report. Returns the page."""
    from common.report import results
    from common.report.page import pictures_of, render

    settings, pictures = report["settings"], {}
    for rung in settings["rungs"]:
        budget, task = settings["budgets"][rung], task_of(rung)
        folders = {name: run_folder(out, rung, name) for name in shown}
        complete = {name: folder for name, folder in folders.items() if (folder / "result.json").exists()}
        found: dict[str, Any] = {"budget": budget, "rows": {}, "differences": [], "confusions": [], "versions": {}}
        report["rungs"][rung] = found
        if not complete:
            continue
        dataset = _load(rung, budget)
        train = task.texts(dataset.train) if task.name == "lines" else None
        runs = {name: results.open_run(folder, dataset.charset) for name, folder in complete.items()}
        yardstick = runs.get(results.YARDSTICK)
        for name, run in runs.items():
            again, of = (
                (None, 0) if name == results.REFERENCE else results.read_again(run, dataset, task.measure.read_again)
            )
            row = results.row(run, yardstick, budget["target"], train)
            found["rows"][name] = row | {"read_differently": again, "read_again": of}
            report["versions"] |= run.result["versions"]
        result = next(iter(runs.values())).result
        # most of them are for lines or for pages only
        about = ("examples", "characters", "unknown_examples", "buckets", "refused", "lines_true")
        found |= {name: result[name] for name in about if name in result}
        found["differences"] = results.differences(runs, task.measure)
        found["confusions"] = [] if task.name == "pages" else results.confusions(runs)
        pictures[rung] = pictures_of(runs, settings["frameworks"], budget["target"], dataset.test, task)
    return render(report, pictures, first_look(report, left_out))


def _load(rung: str, budget: Mapping[str, Any]) -> AnyDataset:
    """The data of the runs of a rung."""
    spec = new_spec(rung, **({"side": side} if (side := budget.get("side")) else {}))
    config = DataConfig(examples=budget["examples"], max_characters=budget["max_characters"] or 1)
    return task_of(rung).load(budget["data"], spec, config)


@contextmanager
def _progress(minutes: float) -> Iterator[Callable[[str, float], None]]:
    """A function that advances a progress bar on stderr. Its arguments are what was done, and its share in minutes."""
    # the average speed so far instead of the last 30 seconds, because a run may take ten minutes
    with progress_bar("share", speed_seconds=7200) as bar:
        if bar is None:
            yield lambda _said, _minutes: None
            return
        task = bar.add_task("parity", total=minutes)
        yield lambda said, done: bar.update(task, advance=done, description=said)
