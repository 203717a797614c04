"""The figures of finished runs, side by side: of characters and of lines."""

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
from common.data.dataset import Dataset
from common.data.lines import LineDataset
from common.evaluation.characters import evenly
from common.evaluation.evaluation import judge
from common.metrics import bootstrap_interval, count_edits, error_rate
from common.recognizer import load_implementation
from common.report.code import lines_by_file
from common.report.figures import read_metrics
from common.spec import reads_lines
from common.weights import load_weights

YARDSTICK = "pytorch"  # step times are told relative to this framework's
REFERENCE = "numpy"  # reads every run's weights once more

_COPIED = ("parameters", "examples_per_second", "step_seconds", "compile_seconds", "peak_memory_mb", "seconds")
_OF_CHARACTERS = ("accuracy", "accuracy_interval", "accuracy_case_folded")
_OF_LINES = ("cer", "cer_interval", "wer", "wer_interval", "substitutions", "insertions", "deletions")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """By what the runs of a rung are judged."""

    metric: str
    """Its name in the results, and after `validation/` in metrics.jsonl."""
    name: str
    """What to call it."""
    examples: str
    """What to call the test examples."""
    lower_is_better: bool
    read_again: int
    """At most so many test examples are read by the reference too, which takes its time."""

    def reached(self, value: float, target: float) -> bool:
        """Whether the value is as good as the target; NaN never is."""
        return value <= target if self.lower_is_better else value >= target


ACCURACY = Measure(metric="accuracy", name="accuracy", examples="images", lower_is_better=False, read_again=1000)
CER = Measure(metric="cer", name="CER", examples="lines", lower_is_better=True, read_again=200)


def measure_of(rung: str) -> Measure:
    """CER of the rungs that read lines, accuracy of the others."""
    return CER if reads_lines(rung) else ACCURACY


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A complete run. A character counts as a text of one character."""

    folder: Path
    result: dict[str, Any]
    metrics: list[dict[str, float]]
    truths: Sequence[str]
    texts: Sequence[str]
    """What was read."""
    confidence_N: Float[np.ndarray, "N"]
    edits_N: Int[np.ndarray, "N"]
    """Mistakes in each reading."""
    characters_N: Int[np.ndarray, "N"]
    """Length of each truth."""
    writers_N: Int[np.ndarray, "N"] | None

    @property
    def wrong_N(self) -> Bool[np.ndarray, "N"]:
        """Which test examples were not read right."""
        return np.asarray(self.edits_N > 0)


def open_run(folder: Path, charset: Charset) -> Finished:
    """Read a complete run folder.

    Args:
        folder: of the run.
        charset: of the data; gives the classes in a run of characters their names.
    """
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    if "texts" in found:
        truths, texts = found["truths"].tolist(), found["texts"].tolist()
        edits_N, characters_N = found["edits"], found["characters"]
    else:
        truths = [charset.characters[k] for k in found["labels"]]
        texts = [charset.characters[k] for k in found["predicted"]]
        edits_N, characters_N = (found["labels"] != found["predicted"]).astype(np.int64), np.ones(len(truths), np.int64)
    return Finished(
        folder=folder,
        result=json.loads((folder / "result.json").read_text(encoding="utf-8")),
        metrics=read_metrics(folder / "metrics.jsonl"),
        truths=truths,
        texts=texts,
        confidence_N=found["confidence"],
        edits_N=edits_N,
        characters_N=characters_N,
        writers_N=found.get("writers"),
    )


def seconds_to_target(metrics: Sequence[Mapping[str, float]], target: float, measure: Measure) -> float | None:
    """Seconds of training until validation first reached the target; None if it never did."""
    name = f"validation/{measure.metric}"
    return next((row["seconds"] for row in metrics if name in row and measure.reached(row[name], target)), None)


def row(run: Finished, yardstick: Finished | None, target: float, train: Sequence[str] | None = None) -> dict[str, Any]:
    """A framework's line in the table.

    Args:
        run: of the framework.
        yardstick: the run whose steps are 1.
        target: for the time to it.
        train: of a run of lines, the texts that it was trained on.
    """
    result, code = run.result, lines_by_file(run.result["framework"])
    rung = result["rung"]
    relative = None
    if yardstick and yardstick.result["step_seconds"] and result["step_seconds"]:
        relative = result["step_seconds"] / yardstick.result["step_seconds"]
    figures = {
        "seconds_to_target": seconds_to_target(run.metrics, target, measure_of(rung)),
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
    copied = _OF_CHARACTERS if train is None else _OF_LINES
    return {name: result[name] for name in (*copied, *_COPIED)} | figures


def differences(runs: Mapping[str, Finished], measure: Measure) -> list[dict[str, Any]]:
    """Accuracy or CER of each framework less that of each other, on the same test examples.

    The interval is a paired bootstrap: what is resampled (whole writers, where they are known) is the difference in
    mistakes on each example. Source: Koehn 2004, paired by writer.
    """
    rows = []
    for (first, a), (second, b) in combinations(runs.items(), 2):
        assert a.truths == b.truths, f"{first} and {second} were tested on different examples"
        more_N = a.edits_N - b.edits_N
        if not measure.lower_is_better:
            more_N = -more_N
        difference = error_rate(more_N, a.characters_N)
        low, high = bootstrap_interval(more_N, a.writers_N, lengths_N=a.characters_N)
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


def confusions(runs: Mapping[str, Finished], limit: int = 12) -> list[dict[str, Any]]:
    """The most frequent mistakes of all frameworks together, with each one's share in them.

    `truth` is "" where nothing stands, `read` where nothing was read; `examples` is how often the true character stands
    in the test texts, None for nothing.
    """
    mistakes = {name: count_edits(run.truths, run.texts).pairs for name, run in runs.items()}
    stands = Counter(c for text in next(iter(runs.values())).truths for c in text)
    total: Counter[tuple[str, str]] = sum(mistakes.values(), Counter())
    return [
        {
            "truth": truth,
            "read": read,
            "times": {name: pairs[truth, read] for name, pairs in mistakes.items()},
            "examples": stands[truth] if truth else None,
        }
        for (truth, read), _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:limit]
    ]


def gallery(runs: Mapping[str, Finished], limit: int = 8) -> dict[str, list[int]]:
    """Test examples worth looking at: a sample, the worst mistakes, and where the frameworks disagree."""
    confidence_FN = np.stack([run.confidence_N for run in runs.values()])
    edits_FN = np.stack([run.edits_N for run in runs.values()])
    # the worst: most mistakes in all; of as many, those that were made most confidently
    blame_N = edits_FN.sum(axis=0) + np.where(edits_FN > 0, confidence_FN, 0).mean(axis=0)
    split_N = np.array([len(set(texts)) > 1 for texts in zip(*(run.texts for run in runs.values()), strict=True)])
    count = edits_FN.shape[1]

    def largest(score_N: np.ndarray, among_N: np.ndarray) -> list[int]:
        order = np.argsort(-score_N, kind="stable")
        return [int(i) for i in order[among_N[order]][:limit]]

    return {
        "sample": [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, limit + 2)).round())][1:-1],
        "worst": largest(blame_N, np.asarray(blame_N > 0)),
        "disagreement": largest(confidence_FN.sum(axis=0), split_N),
    }


def read_again(run: Finished, dataset: Dataset | LineDataset, limit: int) -> tuple[int, int]:
    """How many test examples the reference reads differently with the weights of this run, and of how many it reads."""
    content = load_weights(run.folder / "weights.safetensors")
    recognizer = load_implementation(REFERENCE)(content.spec)
    recognizer.load_weights(content.weights)
    chosen = evenly(len(dataset.test), limit)
    seen = judge(recognizer, content.charset, dataset.test.take(np.array(chosen)), dataset.charset)
    return sum(seen.reading(place).text != run.texts[i] for place, i in enumerate(chosen)), len(chosen)
