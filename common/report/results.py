"""The figures of complete runs, side by side."""

# N examples, F frameworks

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from common.charset import Charset
from common.data.dataset import AnyDataset
from common.evaluation.measure import Measure
from common.metrics import bootstrap_difference, bootstrap_interval, count_edits, error_rate
from common.recognizer import load_implementation
from common.report.code import lines_by_file
from common.report.series import read_metrics
from common.sampling import evenly
from common.tasks import task_of
from common.weights import load_weights

YARDSTICK = "pytorch"  # step times are relative to this framework's
REFERENCE = "numpy"  # reads some test examples again with the weights of every run

_COPIED = ("parameters", "examples_per_second", "step_seconds", "compile_seconds", "peak_memory_mb", "seconds")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A complete run.

    In a rung that reads characters, each text is one character. In one that finds the lines of pages, each text holds
    the baselines of a page as JSON: a list of points [x, y] per line, in whole pixels of the page image.
    """

    folder: Path
    result: dict[str, Any]
    metrics: list[dict[str, float]]
    truths: Sequence[str]
    texts: Sequence[str]
    """The texts that the model read."""
    confidence_N: Float[np.ndarray, "N"]
    edits_N: Int[np.ndarray, "N"]
    """Edits of each reading. Pages: lines that are missed, and lines that are none."""
    characters_N: Int[np.ndarray, "N"]
    """Characters of each true text. Pages: true lines and found lines together, so that 1 - Σ edits ÷ Σ characters is
    F1."""
    writers_N: Int[np.ndarray, "N"] | None

    @property
    def wrong_N(self) -> Bool[np.ndarray, "N"]:
        """Whether each test example was read wrong."""
        return np.asarray(self.edits_N > 0)


def open_run(folder: Path, charset: Charset) -> Finished:
    """Read a complete run folder.

    Args:
        folder: the run folder.
        charset: of the data; the characters of the classes, for a rung that reads characters.
    """
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    if "texts" in found:
        truths, texts = found["truths"].tolist(), found["texts"].tolist()
        edits_N, characters_N, confidence_N = found["edits"], found["characters"], found["confidence"]
    elif "found_lines" in found:
        truths, texts = found["true_lines"].tolist(), found["found_lines"].tolist()
        characters_N = found["true"] + found["found"]
        edits_N = characters_N - 2 * found["matched"]
        confidence_N = 1 - edits_N / np.maximum(1, characters_N)
    else:
        truths = [charset.characters[k] for k in found["labels"]]
        texts = [charset.characters[k] for k in found["predicted"]]
        edits_N, characters_N = (found["labels"] != found["predicted"]).astype(np.int64), np.ones(len(truths), np.int64)
        confidence_N = found["confidence"]
    return Finished(
        folder=folder,
        result=json.loads((folder / "result.json").read_text(encoding="utf-8")),
        metrics=read_metrics(folder / "metrics.jsonl"),
        truths=truths,
        texts=texts,
        confidence_N=confidence_N,
        edits_N=edits_N,
        characters_N=characters_N,
        writers_N=found.get("writers"),
    )


def seconds_to_target(metrics: Sequence[Mapping[str, float]], target: float, measure: Measure) -> float | None:
    """Seconds of training until validation first reached the target; None if it never did."""
    name = f"validation/{measure.metric}"
    return next((row["seconds"] for row in metrics if name in row and measure.reached(row[name], target)), None)


def row(run: Finished, yardstick: Finished | None, target: float, train: Sequence[str] | None = None) -> dict[str, Any]:
    """A framework's row in the table.

    Args:
        run: the run of the framework.
        yardstick: the run that step times are divided by.
        target: the score in validation; the time until it was reached is shown.
        train: the texts of the training split; lines only.
    """
    result, code = run.result, lines_by_file(run.result["framework"])
    rung = result["rung"]
    relative = None
    if yardstick and yardstick.result["step_seconds"] and result["step_seconds"]:
        relative = result["step_seconds"] / yardstick.result["step_seconds"]
    figures = {
        "seconds_to_target": seconds_to_target(run.metrics, target, task_of(rung).measure),
        "step_relative": relative,
        "lines_of_rung": code.get(f"{rung}.py"),
        "lines_in_all": sum(code.values()),
    }
    if train is not None:
        speed = result["examples_per_second"]
        figures |= {
            "lines_of_rung": sum(code.get(name, 0) for name in (f"{rung}.py", "stem.py")),
            "characters_per_second": speed and speed * sum(map(len, train)) / len(train),
        }
    copied = task_of(rung).measure.figures
    return {name: result[name] for name in (*copied, *_COPIED)} | figures


def differences(runs: Mapping[str, Finished], measure: Measure) -> list[dict[str, Any]]:
    """The difference in accuracy, CER or F1 of each pair of frameworks, on the same test examples.

    The interval is a paired bootstrap: the differences in mistakes on each example are resampled, by whole writers
    where writers are known. Source: Koehn 2004, paired by writer.
    """
    rows = []
    for (first, a), (second, b) in combinations(runs.items(), 2):
        assert a.truths == b.truths, f"{first} and {second} were tested on different examples"
        difference, (low, high) = _difference(*((a, b) if measure.lower_is_better else (b, a)))
        measurable = not low <= 0 <= high
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": difference,
                "interval": [low, high],
                "measurable": measurable,
                "better": (second if (difference > 0) == measure.lower_is_better else first) if measurable else None,
                "read_differently": sum(x != y for x, y in zip(a.texts, b.texts, strict=True)),
            }
        )
    return rows


def _difference(a: Finished, b: Finished) -> tuple[float, tuple[float, float]]:
    """The error rate of a run less that of another one, and its interval."""
    if np.array_equal(a.characters_N, b.characters_N):
        more_N = a.edits_N - b.edits_N
        return error_rate(more_N, a.characters_N), bootstrap_interval(more_N, a.writers_N, lengths_N=a.characters_N)
    pair = (a.edits_N, a.characters_N), (b.edits_N, b.characters_N)  # the number of found lines differs
    return error_rate(*pair[0]) - error_rate(*pair[1]), bootstrap_difference(*pair, a.writers_N)


def confusions(runs: Mapping[str, Finished], limit: int = 12) -> list[dict[str, Any]]:
    """The most frequent mistakes of all frameworks together, with the count of each framework.

    `truth` is "" for an insertion, `read` is "" for a deletion. `examples` is the number of times that the true
    character occurs in the test texts, None for an insertion.
    """
    mistakes = {name: count_edits(run.truths, run.texts).pairs for name, run in runs.items()}
    occurrences = Counter(c for text in next(iter(runs.values())).truths for c in text)
    total: Counter[tuple[str, str]] = sum(mistakes.values(), Counter())
    return [
        {
            "truth": truth,
            "read": read,
            "times": {name: pairs[truth, read] for name, pairs in mistakes.items()},
            "examples": occurrences[truth] if truth else None,
        }
        for (truth, read), _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:limit]
    ]


def gallery(runs: Mapping[str, Finished], limit: int = 8, *, by_spread: bool = False) -> dict[str, list[int]]:
    """The indices of test examples to show: a sample, the worst mistakes, and disagreements of the frameworks.

    Args:
        runs: framework to run.
        limit: most indices of each kind.
        by_spread: whether the frameworks disagree most where their numbers of mistakes differ most, as on pages, of
            which no two frameworks find the same baselines to the pixel. Else, where their texts differ.
    """
    confidence_FN = np.stack([run.confidence_N for run in runs.values()])
    edits_FN = np.stack([run.edits_N for run in runs.values()])
    # the worst have the most edits; among equals, the most confident readings come first
    blame_N = edits_FN.sum(axis=0) + np.where(edits_FN > 0, confidence_FN, 0).mean(axis=0)
    split_N = np.array([len(set(texts)) > 1 for texts in zip(*(run.texts for run in runs.values()), strict=True)])
    doubt_N = confidence_FN.sum(axis=0)
    if by_spread:
        doubt_N = np.ptp(edits_FN, axis=0)
        split_N = doubt_N > 0
    count = edits_FN.shape[1]

    def largest(score_N: np.ndarray, among_N: np.ndarray) -> list[int]:
        order = np.argsort(-score_N, kind="stable")
        return [int(i) for i in order[among_N[order]][:limit]]

    return {
        "sample": evenly(count, limit),
        "worst": largest(blame_N, np.asarray(blame_N > 0)),
        "disagreement": largest(doubt_N, split_N),
    }


def read_again(run: Finished, dataset: AnyDataset, limit: int) -> tuple[int, int]:
    """Read test examples again with the reference implementation and the weights of a run.

    Returns:
        The number of examples that the reference reads differently, and the number of examples that it read.
    """
    content = load_weights(run.folder / "weights.safetensors")
    recognizer = load_implementation(REFERENCE)(content.spec)
    recognizer.load_weights(content.weights)
    chosen = evenly(len(dataset.test), limit)
    test = dataset.test.take(np.array(chosen))
    evaluation = task_of(content.spec).evaluate(recognizer, content.charset, test, dataset.charset)
    predictions = evaluation.predictions()
    if "found_lines" in predictions:
        again = predictions["found_lines"].tolist()
    else:
        again = [evaluation.reading(place).text for place in range(len(chosen))]
    return sum(text != run.texts[i] for text, i in zip(again, chosen, strict=True)), len(chosen)
