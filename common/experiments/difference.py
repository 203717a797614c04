"""Runs beside each other: the fields that differ, and the paired intervals of their test figures."""

# N examples

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from common.charset import Charset
from common.errors import UserError
from common.experiments.found import COMPLETE, FoundRun
from common.report.results import Finished, differences, open_run
from common.weights import load_weights

_NOT_SETTINGS = ("name", "path", "note", "state", "reason")


def differing(runs: Sequence[FoundRun]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs: those of config.json, the commit and the data.

    Returns:
        Field to its value in each run, None where a run lacks it.
    """
    from common.formatting import flattened

    settings = []
    for run in runs:
        own = flattened(run.config)
        for name in ("commit", "uncommitted", "data_hash", "machine.processor", "machine.cores", "machine.gpu"):
            own[name] = run.fields.get(name)
        own |= {name: value for name, value in run.fields.items() if name.startswith("versions.")}
        settings.append(own)
    names = dict.fromkeys(name for own in settings for name in own)
    table = {name: [own.get(name) for own in settings] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def figures(runs: Sequence[FoundRun]) -> dict[str, list[Any]]:
    """The figures of each run: validation, test with its interval, sizes and times. None where a run lacks it."""
    names: dict[str, None] = {}
    for run in runs:
        names |= {f"validation.{name}": None for name in run.validation}
    for run in runs:
        if run.measure is not None:
            names |= {name: None for name in run.measure.figures if name in run.result}
    names |= dict.fromkeys(("best_epoch", "epochs", "steps", "parameters", "seconds", "step_seconds"))
    names |= dict.fromkeys(("examples_per_second", "compile_seconds", "peak_memory_mb"))
    table = {name: [run.fields.get(name) for run in runs] for name in names}
    return {name: values for name, values in table.items() if any(value is not None for value in values)}


def paired(runs: Sequence[FoundRun]) -> tuple[list[dict[str, Any]], list[str]]:
    """The difference between each pair of runs on the same test examples, with its paired interval.

    Returns:
        A row per pair, as `common.report.results.differences` makes them, with the `metric`; and a sentence for each
        run or pair that cannot be compared, with the reason.
    """
    said: list[str] = []
    opened: dict[int, Finished] = {}
    for i, run in enumerate(runs):
        try:
            opened[i] = _open(run)
        except UserError as error:
            said.append(str(error))
    rows = []
    for i, j in combinations(opened, 2):
        measure, other = runs[i].measure, runs[j].measure
        if measure is None or measure != other:
            said.append(f"{runs[i].name} and {runs[j].name} read different things, so they have no common figure")
            continue
        if not _same_examples(opened[i], opened[j]):
            said.append(
                f"{runs[i].name} and {runs[j].name} were tested on different examples; "
                "evaluate both on the same data with `fourhands evaluate RUN --data NAME` to compare their figures"
            )
            continue
        (row,) = differences({runs[i].name: opened[i], runs[j].name: opened[j]}, measure)
        rows.append({"metric": measure.metric, **row})
    return rows, said


def _open(run: FoundRun) -> Finished:
    if run.state != COMPLETE:
        raise UserError(f"{run.name} is {run.state}, so it has no test figures")
    if not (run.path / "predictions.npz").is_file():
        raise UserError(
            f"{run.name} keeps no result per example (no predictions.npz), so no interval of a difference can be "
            "computed; `fourhands evaluate RUN` gives its figure with an interval of its own"
        )
    try:
        charset = Charset(())
        if run.measure is not None and run.measure.examples == "images":
            charset = load_weights(run.path / "weights.safetensors").charset
        return open_run(run.path, charset)
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise UserError(f"{run.name} has a file that cannot be read, so it is left out of the pairs: {error}") from None


def _same_examples(a: Finished, b: Finished) -> bool:
    if a.writers_N is None or b.writers_N is None:
        return a.truths == b.truths and (a.writers_N is None) == (b.writers_N is None)
    return a.truths == b.truths and np.array_equal(a.writers_N, b.writers_N)


def comparison(runs: Sequence[FoundRun]) -> dict[str, Any]:
    """Everything that `fourhands runs compare` says, ready for JSON."""
    pairs, notes = paired(runs)
    return {
        "runs": [run.name for run in runs],
        "states": [run.state for run in runs],
        "differing": differing(runs),
        "figures": figures(runs),
        "pairs": pairs,
        "not_compared": notes,
    }


def sentence(pair: Mapping[str, Any], name: str) -> str:
    """A pair in words."""
    low, high = (100 * bound for bound in pair["interval"])
    what = f"{pair['first']} minus {pair['second']}: {100 * pair['difference']:+.2f} points of {name} on the test split"
    finding = f"{pair['better']} is better" if pair["measurable"] else "no measurable difference"
    return f"{what} (95% interval {low:+.2f} to {high:+.2f}): {finding}"
