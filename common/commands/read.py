"""The command `fourhands read`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from common.commands.model import open_model, open_weights
from common.data.images import load_image, to_character
from common.errors import UserError
from common.evaluation import read_images
from common.recognizer import Device


@dataclass(frozen=True, kw_only=True)
class Read:
    """Read image files of one character each."""

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
        """Print a line per image: the character, how sure it is, and the file."""
        if not self.images:
            raise UserError("no image to read; name at least one image file after the run")
        content = open_weights(self.run)
        height, width = content.spec.height, content.spec.width
        images_NHW = np.stack([self._character(path, height, width) for path in self.images])
        recognizer = open_model(content, self.framework, self.device)
        readings = read_images(recognizer, content.charset, images_NHW)
        rows = [
            {"image": str(path), "text": reading.text, "confidence": reading.confidence}
            for path, reading in zip(self.images, readings, strict=True)
        ]
        if self.json:
            print(json.dumps(rows, ensure_ascii=False))
            return 0
        for row in rows:
            print(f"{row['text']}  {row['confidence']:6.1%}  {row['image']}")
        return 0

    @staticmethod
    def _character(path: Path, height: int, width: int) -> np.ndarray:
        image_HW = load_image(path)
        try:
            return to_character(image_HW, height, width)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
