"""The command `fourhands evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import fourhands
from common.formatting import percent, visible
from common.recognizer import Device
from common.tasks import task_of


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a trained model on a split, in any framework. Without RUN, evaluate the page reader that ships."""

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder or a weights file. A run of unet finds the lines of pages, and the recognizer that ships reads them.
    Without RUN, the reader that ships finds and reads them."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The framework that computes; by default the one that trained the model, and NumPy for pages."""
    data: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """NAME or NAME:FOLDER; by default the data that the model was trained on. For pages: pages:FOLDER."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """The split, which is read whole. all: the three together, for pages only."""
    beam: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """lstm_ctc only: width of the beam search; 0 takes the best path. By default 0, and for pages the default of the
    reader that ships."""
    ngram: bool = False
    """lstm_ctc only: weigh the texts of the beam with the character language model."""
    writer_pattern: Annotated[str | None, tyro.conf.arg(metavar="REGEX")] = None
    """Pages only: regular expression whose group 1 is the writer in a page's name. By default that of the run, on its
    own data."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """Print every figure as JSON."""

    def __call__(self) -> int:
        """Print how well the model reads; the run folder does not change."""
        result = fourhands.evaluate(
            self.run,
            framework=self.framework,
            data=self.data,
            split=self.split,
            device=self.device,
            beam=self.beam,
            ngram=self.ngram or None,
            writer_pattern=self.writer_pattern,
        )
        if self.json:
            print(json.dumps(result, ensure_ascii=False))
            return 0
        if "note" in result:
            print(f"fourhands: {result['note']}", file=sys.stderr)
        task = task_of(result["rung"])
        if task.name == "pages":
            what = "the reader that ships" if self.run is None else result["rung"]
            print(f"{what} in {result['framework']} on {result['data']}, {_pages(result)}")
            for sentence in page_sentences(result):
                print(sentence)
            for name, figures in result.get("collections", {}).items():
                print(f"\n{name or 'the folder itself'}, {_pages(figures)}")
                for sentence in page_sentences(figures):
                    print(sentence)
            return 0
        print(f"{result['rung']} in {result['framework']} on {result['data']}: {task.measure.sentence(result)}")
        if result.get("accuracy_case_folded") is not None:
            print(f"with upper and lower case counted as the same: {result['accuracy_case_folded']:.2%}")
        if unknown := result["unknown_examples"]:
            what = task.measure.examples
            print(f"{unknown:,} {what} hold characters that the model does not know; they count as wrong")
        if characters := result.get("unknown_characters"):
            print("not known: " + ", ".join(f"{visible(c)} ({n:,})" for c, n in characters.items()))
        return 0


def page_sentences(figures: Mapping[str, Any]) -> list[str]:
    """The figures of pages in words: how well their lines were found, how well they were read, and why not better."""

    def rate(name: str) -> str:
        low, high = figures[f"{name}_interval"]
        return f"{percent(figures[name], 2)} (95% interval {percent(low)} to {percent(high)})"

    parts = {
        "missed lines": "cer_missed",
        "invented lines": "cer_invented",
        "wrong outlines": "cer_outlines",
        "misreading": "cer_misreading",
        "order": "cer_order",
    }
    points = ", ".join(f"{name} {100 * figures[field]:.2f}".replace("-", "−") for name, field in parts.items())
    return [
        f"lines found: F1 {rate('f1')}, precision {percent(figures['precision'], 2)}, recall "
        f"{percent(figures['recall'], 2)}; IoU of outlines {percent(figures['outline_iou'])}",
        f"page CER {rate('cer')}, WER {rate('wer')}",
        f"with lines matched whatever their order: CER {percent(figures['cer_matched'], 2)}, "
        f"WER {percent(figures['wer_matched'], 2)}",
        f"with the outlines of the file: CER {percent(figures['cer_own_lines'], 2)}, "
        f"WER {percent(figures['wer_own_lines'], 2)}",
        f"percentage points of the page CER: {points}",
    ]


def _pages(figures: Mapping[str, Any]) -> str:
    split = f"{figures['split']} " if figures.get("split") not in (None, "all") else ""
    left_out = figures["lines_left_out"]
    unknown = f", {left_out:,} lines of unknown text left out" if left_out else ""
    return f"{figures['pages']:,} {split}pages with {figures['lines_true']:,} lines{unknown}:"
