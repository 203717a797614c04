"""The measure by which the models of a task are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of merit, and how a report names it."""

    metric: str
    """Field of result.json; in metrics.jsonl it follows `validation/`."""
    name: str
    """Its name in a sentence."""
    examples: str
    """The name of the test examples in a sentence."""
    lower_is_better: bool
    figures: tuple[str, ...]
    """The fields of result.json that a report copies."""
    shown: tuple[tuple[str, str], ...]
    """Heading and field of each score in a table; a field that ends in `_interval` holds a pair."""
    sentence: Callable[[Mapping[str, Any]], str]
    """The main figures of a result.json in words."""
    read_again: int
    """Test examples that a report reads again with the reference implementation, at most: it takes time."""

    def reached(self, value: float, target: float) -> bool:
        """Whether the value is as good as the target; NaN never is."""
        return value <= target if self.lower_is_better else value >= target


def _accuracy(result: Mapping[str, Any]) -> str:
    low, high = result["accuracy_interval"]
    return (
        f"{result['accuracy']:.2%} of {result['examples']:,} {result['split']} images read right "
        f"(95% interval {low:.2%} to {high:.2%})"
    )


def _error_rates(result: Mapping[str, Any]) -> str:
    (low, high), (word_low, word_high) = result["cer_interval"], result["wer_interval"]
    return (
        f"CER {result['cer']:.2%} (95% interval {low:.2%} to {high:.2%}) and WER {result['wer']:.2%} "
        f"({word_low:.2%} to {word_high:.2%}) of {result['examples']:,} {result['split']} lines"
    )


def _lines_found(result: Mapping[str, Any]) -> str:
    low, high = result["f1_interval"]
    return (
        f"F1 {result['f1']:.2%} (95% interval {low:.2%} to {high:.2%}), precision {result['precision']:.2%} and recall "
        f"{result['recall']:.2%} of the lines on {result['examples']:,} {result['split']} pages"
    )


ACCURACY = Measure(
    metric="accuracy",
    name="accuracy",
    examples="images",
    lower_is_better=False,
    figures=("accuracy", "accuracy_interval", "accuracy_case_folded"),
    shown=(("accuracy", "accuracy"), ("95% interval", "accuracy_interval")),
    sentence=_accuracy,
    read_again=1000,
)
CER = Measure(
    metric="cer",
    name="CER",
    examples="lines",
    lower_is_better=True,
    figures=("cer", "cer_interval", "wer", "wer_interval", "substitutions", "insertions", "deletions"),
    shown=(("CER", "cer"), ("95% interval", "cer_interval"), ("WER", "wer")),
    sentence=_error_rates,
    read_again=200,
)
F1 = Measure(
    metric="f1",
    name="F1",
    examples="pages",
    lower_is_better=False,
    figures=("f1", "f1_interval", "precision", "recall", "iou", "iou_interval", "outline_iou"),
    shown=(("F1", "f1"), ("95% interval", "f1_interval"), ("precision", "precision"), ("recall", "recall")),
    sentence=_lines_found,
    read_again=4,
)
