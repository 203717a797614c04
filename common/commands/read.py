"""The command `fourhands read`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import fourhands
from common.errors import UserError
from common.reading.result import Reading
from common.recognizer import Device


@dataclass(frozen=True, kw_only=True)
class Read:
    """Read image files of one character each, or of one line each."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder or a weights file."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE ...")]
    """Image files of any size, dark on light or light on dark."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The framework that computes; by default the one that trained the model."""
    beam: Annotated[int, tyro.conf.arg(metavar="INT")] = 0
    """lstm_ctc only: width of the beam search; 0 takes the best path."""
    ngram: bool = False
    """lstm_ctc only: weigh the texts of the beam with the run's character language model."""
    device: Device = "cpu"
    """Where to compute. No GPU has run this project yet."""
    json: bool = False
    """Print the readings as JSON."""

    def __call__(self) -> int:
        """Print a line per image: the text, its probability, and the file."""
        if not self.images:
            raise UserError("no image to read; name at least one image file after the run")
        reader = fourhands.load(self.run, self.framework, self.device)
        if reader.note:
            print(f"fourhands: {reader.note}", file=sys.stderr)
        readings = reader.read_all(self.images, beam=self.beam, ngram=self.ngram)
        rows = [_row(path, reading) for path, reading in zip(self.images, readings, strict=True)]
        if self.json:
            print(json.dumps(rows, ensure_ascii=False))
            return 0
        for row in rows:
            print(f"{row['text']}  {row['confidence']:6.1%}  {row['image']}")
        return 0


def _row(path: Path, reading: Reading) -> dict[str, Any]:
    row = {"image": str(path), "text": reading.text, "confidence": reading.confidence}
    if reading.character_confidences is None:
        return row
    return row | {"character_confidences": list(reading.character_confidences)}
