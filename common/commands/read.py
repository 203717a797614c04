"""The command `fourhands read`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from common.commands.model import open_model, open_weights
from common.data.images import load_image, to_character
from common.data.lines import Image
from common.errors import UserError
from common.evaluation.characters import read_images
from common.evaluation.lines import read_lines
from common.recognizer import Device
from common.spec import LineSpec
from common.reading.result import Reading


@dataclass(frozen=True, kw_only=True)
class Read:
    """Read image files of one character each, or of one line each."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run folder or a weights file."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE ...")]
    """Image files: any size, dark on light or light on dark."""
    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Where to run the model; the one that trained it unless given."""
    device: Device = "cpu"
    """Where to compute."""
    json: bool = False
    """Print the readings as JSON."""

    def __call__(self) -> int:
        """Print a line per image: the text, how sure it is, and the file."""
        if not self.images:
            raise UserError("no image to read; name at least one image file after the run")
        content = open_weights(self.run)
        spec = content.spec
        if isinstance(spec, LineSpec):
            lines = [self._prepared(path, lambda image_HW: _line(image_HW, spec.height)) for path in self.images]
            recognizer = open_model(content, self.framework, self.device)
            readings = read_lines(recognizer, content.charset, lines)
        else:
            images = [self._prepared(path, lambda i: to_character(i, spec.height, spec.width)) for path in self.images]
            recognizer = open_model(content, self.framework, self.device)
            readings = read_images(recognizer, content.charset, np.stack(images))
        rows = [_row(path, reading) for path, reading in zip(self.images, readings, strict=True)]
        if self.json:
            print(json.dumps(rows, ensure_ascii=False))
            return 0
        for row in rows:
            print(f"{row['text']}  {row['confidence']:6.1%}  {row['image']}")
        return 0

    @staticmethod
    def _prepared(path: Path, prepare: Callable[[Image], Image]) -> Image:
        image_HW = load_image(path)
        try:
            return prepare(image_HW)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _line(image_HW: Image, height: int) -> Image:
    from common.data.line_image import to_line
    from common.data.sources import WIDEST

    line_HW = to_line(image_HW, height)
    if line_HW.shape[1] > WIDEST:
        raise UserError(
            f"the line is {line_HW.shape[1]:,} pixels wide once scaled to the height of {height}; "
            f"at most {WIDEST:,} are read, so cut it in parts"
        )
    return line_HW


def _row(path: Path, reading: Reading) -> dict[str, Any]:
    row = {"image": str(path), "text": reading.text, "confidence": reading.confidence}
    if reading.character_confidences is None:
        return row
    return row | {"character_confidences": list(reading.character_confidences)}
