"""The command `fourhands evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.commands.model import framework_of, open_model, open_weights
from common.errors import UserError
from common.evaluation import evaluate
from common.machine import versions
from common.recognizer import Device


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Hold a trained model against a split, in any framework."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder or a weights file."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Where to run the model; the one that trained it unless given."""
    data: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """NAME or NAME:FOLDER; what it was trained on unless given."""
    split: Literal["train", "validation", "test"] = "test"
    """What to read, all of it."""
    device: Device = "cpu"
    """Where to compute."""
    json: bool = False
    """Print the result as JSON."""

    def __call__(self) -> int:
        """Print how well the model reads; the run folder stays as it is."""
        content = open_weights(self.run)
        recognizer = open_model(content, self.framework, self.device)
        from common.data import sources  # after the cheap checks: it imports Pillow

        data = self.data or content.provenance.get("data")
        if data is None:
            raise UserError(f"{self.run} does not say what it was trained on; give --data")
        # the splits of the run itself, if it is judged on its own data
        train = content.provenance.get("train", {}) if data == content.provenance.get("data") else {}
        dataset = sources.load(data, examples=train.get("examples", 0), balance=train.get("balance", False))
        seen = evaluate(recognizer, content.charset, dataset.split(self.split), dataset.charset)
        result = {
            "rung": content.spec.rung,
            "framework": self.framework or framework_of(content),
            "device": self.device,
            "trained_in": framework_of(content),
            "data": data,
            "split": self.split,
            **seen.figures(),
            "versions": versions(recognizer.packages),
        }
        if self.json:
            print(json.dumps(result, ensure_ascii=False))
            return 0
        low, high = result["accuracy_interval"]
        print(
            f"{result['rung']} in {result['framework']} on {data}: {result['accuracy']:.2%} of {result['examples']:,} "
            f"{self.split} images read right (95% interval {low:.2%} to {high:.2%})"
        )
        if result["accuracy_case_folded"] is not None:
            print(f"with upper and lower case counted as the same: {result['accuracy_case_folded']:.2%}")
        if seen.unknown:
            print(f"{seen.unknown:,} images hold characters that the model does not know; they count as wrong")
        return 0
