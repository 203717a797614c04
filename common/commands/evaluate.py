"""The command `fourhands evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.commands.model import framework_of, open_model, open_weights
from common.data.lines import LineDataset
from common.reading.decoding import BEAM_WIDTH
from common.errors import UserError
from common.evaluation.characters import evaluate
from common.evaluation.evaluation import Judgement
from common.evaluation.lines import ctc_search, evaluate_lines
from common.machine import versions
from common.reading.ngram import CharacterNgram
from common.recognizer import Device
from common.formatting import reached, visible
from common.spec import LineSpec, LSTMCTCSpec, Spec
from common.weights import WeightsFile


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
    beam: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """Of lstm_ctc: search the text with a beam of this width; 0 takes the best path."""
    ngram: bool = False
    """Of lstm_ctc: weigh the beam's texts by how probable their characters are in the training split."""
    device: Device = "cpu"
    """Where to compute."""
    json: bool = False
    """Print the result as JSON."""

    def __call__(self) -> int:
        """Print how well the model reads; the run folder stays as it is."""
        content = open_weights(self.run)
        self._check_search(content.spec)
        recognizer = open_model(content, self.framework, self.device)
        from common.data import sources  # after the cheap checks: it imports Pillow

        data = self.data or content.provenance.get("data")
        if data is None:
            raise UserError(f"{self.run} does not say what it was trained on; give --data")
        # the splits of the run itself, if it is judged on its own data
        train = content.provenance.get("train", {}) if data == content.provenance.get("data") else {}
        if isinstance(content.spec, LineSpec):
            options = {name: train[name] for name in ("examples", "max_characters", "writer_pattern") if name in train}
            lines = sources.load_lines(data, height=content.spec.height, frames=content.spec.frames, **options)
            search = ctc_search(self.beam, self._prior(lines, content))
            seen: Judgement = evaluate_lines(recognizer, content.charset, lines.split(self.split), search)
        else:
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
        print(f"{result['rung']} in {result['framework']} on {data}: {reached(result)}")
        if result.get("accuracy_case_folded") is not None:
            print(f"with upper and lower case counted as the same: {result['accuracy_case_folded']:.2%}")
        if unknown := result["unknown_examples"]:
            what = "lines" if isinstance(content.spec, LineSpec) else "images"
            print(f"{unknown:,} {what} hold characters that the model does not know; they count as wrong")
        if characters := result.get("unknown_characters"):
            print("not known: " + ", ".join(f"{visible(c)} ({n:,})" for c, n in characters.items()))
        return 0

    def _check_search(self, spec: Spec) -> None:
        if self.beam < 0:
            raise UserError(f"--beam is {self.beam}; it must be at least 1, or 0 for the best path")
        if (self.beam or self.ngram) and not isinstance(spec, LSTMCTCSpec):
            raise UserError(f"--beam and --ngram are for lstm_ctc, and this model is a {spec.rung}; leave them out")
        if self.ngram and not self.beam:
            raise UserError(f"--ngram weighs the texts of a beam; give --beam as well, such as --beam {BEAM_WIDTH}")

    def _prior(self, lines: LineDataset, content: WeightsFile) -> CharacterNgram | None:
        """The n-gram of the training split's texts; characters that the model does not know are left out."""
        if not self.ngram:
            return None
        texts = (content.charset.encode(text) for text in lines.train.texts)
        return CharacterNgram.estimate((text[text > 0] for text in texts), content.spec.num_classes)
