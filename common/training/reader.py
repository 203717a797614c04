"""A trained model that reads images."""

# H height, W width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from common.errors import UserError
from common.reading.ngram import Prior, load_prior
from common.reading.result import Reading
from common.reading.search import Search
from common.recognizer import Device, Recognizer
from common.tasks import task_of
from common.training.trained import open_recognizer, open_weights, prior_path
from common.weights import WeightsFile


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A trained model in one framework, ready to read images of one character or one line each."""

    content: WeightsFile
    recognizer: Recognizer
    framework: str
    """Name of the framework that computes."""
    note: str
    """What a person should know about that choice; usually empty."""
    prior: Path | bytes
    """Where the character language model is, if there is one: the path of its file, or its content."""

    @classmethod
    def open(cls, run: Path, framework: str | None, device: Device) -> Reader:
        """A reader of a run folder or a weights file; see `fourhands.load`.

        With `framework` None, the framework that trained the model computes, or NumPy if that is not installed.
        """
        return cls.of(open_weights(run), prior_path(run), framework, device)

    @classmethod
    def of(cls, content: WeightsFile, prior: Path | bytes, framework: str | None, device: Device) -> Reader:
        """A reader of weights that were loaded; see `open`."""
        recognizer, name, note = open_recognizer(content, framework, device)
        return cls(content=content, recognizer=recognizer, framework=name, note=note, prior=prior)

    @property
    def charset(self) -> str:
        """The characters that the model knows."""
        return "".join(self.content.charset.characters)

    def read(self, image: Any, *, beam: int = 0, ngram: bool = False) -> Reading:
        """Read one image.

        Args:
            image: a path, the bytes of an image file, an array of grey levels (uint8, height × width), or a Pillow
                image; of any size, dark on light or light on dark.
            beam: `lstm_ctc` only: width of the beam search; 0 takes the best path.
            ngram: `lstm_ctc` only: weigh the texts of the beam with the run's character language model.

        Returns:
            The text, its probability and, for a line, the probability of each character.

        Raises:
            UserError: an image that cannot be read, is blank or is not what the model reads, or a search that the
                model cannot use.
        """
        return self.read_all([image], beam=beam, ngram=ngram)[0]

    def read_all(self, images: Sequence[Any], *, beam: int = 0, ngram: bool = False) -> list[Reading]:
        """Read several images, in batches; see `read`."""
        if not images:
            return []
        search = self.search(beam=beam, ngram=ngram)
        prepared = [self._prepared(image) for image in images]
        return task_of(self.content.spec).read(self.recognizer, self.content.charset, prepared, search)

    def search(self, *, beam: int, ngram: bool) -> Search:
        """How CTC's scores become text; see `read`.

        Raises:
            UserError: a search that the model cannot use.
        """
        task_of(self.content.spec).check_search(self.content.spec, beam=beam, ngram=ngram)
        return Search(beam=beam, prior=self._prior if ngram else None)

    @cached_property
    def _prior(self) -> Prior:
        return load_prior(self.prior, self.content.charset)  # once: its estimation takes a second

    def _prepared(self, image: Any) -> UInt8[np.ndarray, "H W"]:
        picture_HW = picture_of(image)
        try:
            return task_of(self.content.spec).prepare(picture_HW, self.content.spec)
        except UserError as error:
            named = isinstance(image, str | Path)
            raise UserError(f"{image}: {error}" if named else str(error)) from None


def picture_of(image: Any) -> UInt8[np.ndarray, "H W"]:
    """The grey levels of a path, the bytes of an image file, an array of grey levels, or a Pillow image.

    Raises:
        UserError: it is something else, or it cannot be read.
    """
    from PIL.Image import Image

    from common.data.images import grey_levels, load_image  # imports Pillow

    if isinstance(image, str | Path):
        return load_image(Path(image))
    if isinstance(image, bytes):
        return load_image(image)
    if not isinstance(image, np.ndarray | Image):
        raise UserError(
            f"an image of type {type(image).__name__} cannot be read; give a path, the bytes of an image file, an "
            "array of grey levels, or a Pillow image"
        )
    return grey_levels(image)
