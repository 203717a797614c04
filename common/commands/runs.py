"""The commands `fourhands runs list`, `show`, `compare`, `note` and `best`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from common.errors import UserError
from common.experiments.choice import best
from common.experiments.command import train_command
from common.experiments.difference import comparison
from common.experiments.found import FoundRun, find_runs, known_fields, open_one
from common.experiments.notes import add_note
from common.experiments.query import chosen, ordered, resolve
from common.experiments.table import print_comparison, print_list, print_run
from common.formatting import percent

Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
Run = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
Where = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="CONDITION")]
Page = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class List:
    """List the runs in a folder and its subfolders, whatever their state."""

    folder: Folder
    """The folder to search."""
    where: Where = ()
    """Show only runs that meet a condition, such as rung=lstm_ctc, "cer<0.1" or "note~stem". Repeat it for several."""
    sort: Annotated[str, tyro.conf.arg(metavar="FIELD")] = "name"
    """Order by a field: of config.json, of result.json, or one such as validation.cer, commit or machine.cores."""
    reverse: bool = False
    """Order from the largest to the smallest."""
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD ...")] = ()
    """More fields to show, such as train.learning_rate."""
    json: bool = False
    """Print all fields of the runs as JSON."""
    html: Page = None
    """Write the list to a page of its own, with the curves of its first runs."""

    def __call__(self) -> int:
        """Print the list."""
        found = find_runs(self.folder)
        runs = ordered(chosen(found, self.where), self.sort, reverse=self.reverse)
        columns = [resolve(name, known_fields(runs)) for name in self.columns] if runs else []
        if self.html is not None:
            from common.experiments.page import write_list  # imports Jinja2

            write_list(self.html, runs, columns, title=f"Runs in {self.folder}")
        if self.json:
            print(json.dumps([_for_json(run) for run in runs], ensure_ascii=False))
            return 0
        if runs:
            print_list(runs, columns)
        elif found:
            print(f"none of the {len(found)} runs in {self.folder} meets the conditions")
        else:
            print(f"no run in {self.folder}")
        if self.html is not None:
            print(f"written: {self.html}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show everything of one run, and the command that trains it again."""

    run: Run
    """The run folder."""
    json: bool = False
    """Print all fields as JSON."""

    def __call__(self) -> int:
        """Print the run."""
        run = open_one(self.run)
        if self.json:
            print(json.dumps(_for_json(run) | {"each_epoch": run.epochs}, ensure_ascii=False))
            return 0
        print_run(run)
        return 0


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare runs: the settings that differ, the figures, and the interval of each difference."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN RUN ...")]
    """The run folders, two or more."""
    json: bool = False
    """Print the comparison as JSON."""
    html: Page = None
    """Write the comparison to a page of its own, with curves."""

    def __call__(self) -> int:
        """Print the comparison."""
        if len(self.runs) < 2:
            raise UserError("a comparison needs two runs or more; give two run folders")
        runs = named([open_one(path) for path in self.runs])
        found = comparison(runs)
        if self.html is not None:
            from common.experiments.page import write_comparison  # imports Jinja2

            write_comparison(self.html, runs, found)
        if self.json:
            print(json.dumps(found, ensure_ascii=False))
            return 0
        print_comparison(runs, found)
        if self.html is not None:
            print(f"written: {self.html}")
        return 0


@dataclass(frozen=True, kw_only=True)
class NoteDown:
    """Add a dated note to a run."""

    run: Run
    """The run folder."""
    text: tyro.conf.Positional[str]
    """The note, in quotes."""

    def __call__(self) -> int:
        """Append the note."""
        run = open_one(self.run)
        note = add_note(run.path, self.text)
        print(f"noted in {run.path}: {note.text}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Best:
    """Print the run with the best validation figure. The test figure plays no part."""

    folder: Folder
    """The folder to search."""
    by: Annotated[str | None, tyro.conf.arg(metavar="FIGURE")] = None
    """The validation figure: cer, wer, accuracy, f1, ... By default the measure of the runs."""
    where: Where = ()
    """Choose among the runs that meet a condition, such as rung=lstm_ctc. Repeat it for several."""
    json: bool = False
    """Print the choice as JSON."""

    def __call__(self) -> int:
        """Print the path of the best run."""
        runs = chosen(find_runs(self.folder), self.where)
        if not runs:
            raise UserError(f"no run in {self.folder} to choose from; see `fourhands runs list {self.folder}`")
        choice = best(runs, self.by)
        if choice.data > 1:
            print(
                f"fourhands: the runs were validated on {choice.data} different data sets, so their figures are not "
                "comparable; choose one with --where, such as --where data=NAME or --where data_hash=...",
                file=sys.stderr,
            )
        if self.json:
            fields = {"path": str(choice.run.path), "by": f"validation.{choice.by}", "value": choice.value}
            counts = {"compared": choice.compared, "left_out": choice.left_out, "data_sets": choice.data}
            print(json.dumps(fields | counts | {"command": train_command(choice.run.config)}, ensure_ascii=False))
            return 0
        print(choice.run.path)
        others = f", {choice.left_out} left out (not complete, or without this figure)" if choice.left_out else ""
        value = f"{choice.value:.4g}" if choice.by == "loss" else percent(choice.value, 2)
        print(
            f"best validation {choice.by} of {choice.compared} runs: {value}{others}; its test figure played no part",
            file=sys.stderr,
        )
        return 0


def named(runs: list[FoundRun]) -> list[FoundRun]:
    """The runs with different names: the shortest ends of their paths that differ."""
    from dataclasses import replace

    for length in range(1, 1 + max(len(run.path.parts) for run in runs)):
        names = ["/".join(run.path.parts[-length:]) for run in runs]
        if len(set(names)) == len(runs):
            break
    else:
        raise UserError("the same run is given twice; give different run folders")
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _for_json(run: FoundRun) -> dict[str, Any]:
    notes = [asdict(note) for note in run.notes]
    return run.fields | {"notes": notes, "command": train_command(run.config)}
