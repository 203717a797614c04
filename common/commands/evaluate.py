"""The command `fourhands evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import fourhands
from common.formatting import visible
from common.recognizer import Device
from common.tasks import task_of


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a trained model on a split, in any framework."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder or a weights file."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The framework that computes; by default the one that trained the model."""
    data: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """NAME or NAME:FOLDER; by default the data that the model was trained on."""
    split: Literal["train", "validation", "test"] = "test"
    """The split, which is read whole."""
    beam: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """lstm_ctc only: width of the beam search; 0 takes the best path."""
    ngram: bool = False
    """lstm_ctc only: weigh the texts of the beam with the run's character language model."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """Print the result as JSON."""

    def __call__(self) -> int:
        """Print how well the model reads; the run folder does not change."""
        result = fourhands.evaluate(
            self.run,
            framework=self.framework,
            data=self.data,
            split=self.split,
            device=self.device,
            beam=self.beam,
            ngram=self.ngram,
        )
        if self.json:
            print(json.dumps(result, ensure_ascii=False))
            return 0
        if "note" in result:
            print(f"fourhands: {result['note']}", file=sys.stderr)
        task = task_of(result["rung"])
        print(f"{result['rung']} in {result['framework']} on {result['data']}: {task.measure.sentence(result)}")
        if result.get("accuracy_case_folded") is not None:
            print(f"with upper and lower case counted as the same: {result['accuracy_case_folded']:.2%}")
        if unknown := result["unknown_examples"]:
            what = task.measure.examples
            print(f"{unknown:,} {what} hold characters that the model does not know; they count as wrong")
        if characters := result.get("unknown_characters"):
            print("not known: " + ", ".join(f"{visible(c)} ({n:,})" for c, n in characters.items()))
        return 0
