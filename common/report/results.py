"""The figures of finished runs, side by side."""

# N examples, K classes, F frameworks

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from common.charset import Charset
from common.data.dataset import Dataset
from common.evaluation import evaluate
from common.metrics import bootstrap_interval, confusion_counts, most_confused
from common.recognizer import load_implementation
from common.report.code import lines_by_file
from common.report.figures import read_metrics
from common.weights import load_weights

YARDSTICK = "pytorch"  # step times are told relative to this framework's
REFERENCE = "numpy"  # reads every run's weights once more


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A complete run."""

    folder: Path
    result: dict[str, Any]
    metrics: list[dict[str, float]]
    labels_N: Int[np.ndarray, "N"]
    read_N: Int[np.ndarray, "N"]
    confidence_N: Float[np.ndarray, "N"]
    writers_N: Int[np.ndarray, "N"] | None

    @property
    def correct_N(self) -> Bool[np.ndarray, "N"]:
        """Which test examples were read right."""
        return np.asarray(self.labels_N == self.read_N)


def open_run(folder: Path) -> Finished:
    """Read a complete run folder."""
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        predictions = dict(arrays)
    return Finished(
        folder=folder,
        result=json.loads((folder / "result.json").read_text(encoding="utf-8")),
        metrics=read_metrics(folder / "metrics.jsonl"),
        labels_N=predictions["labels"],
        read_N=predictions["predicted"],
        confidence_N=predictions["confidence"],
        writers_N=predictions.get("writers"),
    )


def seconds_to_target(metrics: Sequence[Mapping[str, float]], target: float) -> float | None:
    """Seconds of training until validation accuracy first reached the target; None if it never did."""
    reached = (row["seconds"] for row in metrics if row.get("validation/accuracy", 0) >= target)
    return next(reached, None)


def row(run: Finished, yardstick: Finished | None, target: float) -> dict[str, Any]:
    """A framework's line in the table."""
    result, lines = run.result, lines_by_file(run.result["framework"])
    relative = None
    if yardstick and yardstick.result["step_seconds"] and result["step_seconds"]:
        relative = result["step_seconds"] / yardstick.result["step_seconds"]
    copied = (
        "accuracy",
        "accuracy_interval",
        "accuracy_case_folded",
        "parameters",
        "examples_per_second",
        "step_seconds",
    )
    return {name: result[name] for name in (*copied, "compile_seconds", "peak_memory_mb", "seconds")} | {
        "seconds_to_target": seconds_to_target(run.metrics, target),
        "step_relative": relative,
        "lines_of_rung": lines.get(f"{result['rung']}.py"),
        "lines_in_all": sum(lines.values()),
    }


def differences(runs: Mapping[str, Finished]) -> list[dict[str, Any]]:
    """Accuracy of each framework less that of each other, on the same test examples.

    The interval is a paired bootstrap: what is resampled (whole writers, where they are known) is the difference on
    each example. Source: Koehn 2004, paired by writer.
    """
    rows = []
    for (first, a), (second, b) in combinations(runs.items(), 2):
        assert np.array_equal(a.labels_N, b.labels_N), f"{first} and {second} were tested on different examples"
        difference_N = a.correct_N.astype(np.float64) - b.correct_N
        low, high = bootstrap_interval(difference_N, a.writers_N)
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": float(difference_N.mean()),
                "interval": [low, high],
                "measurable": not low <= 0 <= high,
                "read_differently": int((a.read_N != b.read_N).sum()),
            }
        )
    return rows


def confusions(runs: Mapping[str, Finished], charset: Charset, limit: int = 12) -> list[dict[str, Any]]:
    """The most frequent mistakes of all frameworks together, with each one's share in them."""
    counts = {name: confusion_counts(run.labels_N, run.read_N, len(charset)) for name, run in runs.items()}
    total_KK = np.sum(list(counts.values()), axis=0)
    return [
        {
            "truth": charset.characters[i],
            "read": charset.characters[j],
            "times": {name: int(counts_KK[i, j]) for name, counts_KK in counts.items()},
            "examples": int(total_KK[i].sum()) // len(runs),
        }
        for i, j, _ in most_confused(total_KK, limit)
    ]


def gallery(runs: Mapping[str, Finished], limit: int = 8) -> dict[str, list[int]]:
    """Test examples worth looking at: a sample, the worst mistakes, and where the frameworks disagree."""
    read_FN = np.stack([run.read_N for run in runs.values()])
    confidence_FN = np.stack([run.confidence_N for run in runs.values()])
    wrong_FN = ~np.stack([run.correct_N for run in runs.values()])
    # the worst: all are wrong, and sure of it
    blame_N = np.where(wrong_FN, confidence_FN, -1).sum(axis=0)
    split_N: np.ndarray = (read_FN != read_FN[0]).any(axis=0)
    count = read_FN.shape[1]

    def largest(score_N: np.ndarray, among_N: np.ndarray) -> list[int]:
        order = np.argsort(-score_N, kind="stable")
        return [int(i) for i in order[among_N[order]][:limit]]

    return {
        "sample": [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, limit + 2)).round())][1:-1],
        "worst": largest(blame_N, np.asarray(wrong_FN.any(axis=0))),
        "disagreement": largest(confidence_FN.sum(axis=0), np.asarray(split_N)),
    }


def read_again(run: Finished, dataset: Dataset) -> int:
    """How many test images the reference reads differently with the weights of this run."""
    content = load_weights(run.folder / "weights.safetensors")
    recognizer = load_implementation(REFERENCE)(content.spec)
    recognizer.load_weights(content.weights)
    seen = evaluate(recognizer, content.charset, dataset.test, dataset.charset)
    return int((seen.read_N != run.read_N).sum())
