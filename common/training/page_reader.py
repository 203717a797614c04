"""A reader of pictures: pages, single lines or single characters."""

# H height, W width

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from common.errors import UserError
from common.reading.page import Kind, PageReading, read_page, whole_picture
from common.reading.search import Search
from common.reading.shipped import FINDER, READER, check_shipped
from common.recognizer import Device, Recognizer
from common.spec import RUNGS
from common.training.reader import Reader, picture_of
from common.training.trained import open_recognizer, open_weights

Picture = UInt8[np.ndarray, "H W"]


@dataclass(frozen=True, kw_only=True)
class PageReader:
    """Reads pages, or pictures of one line or one character: a model that reads, and a finder of lines."""

    reader: Reader
    """Reads lines, or characters."""
    finder_run: Path | None
    """A run folder or a weights file of `unet`; None for the finder that ships."""
    device: Device

    @classmethod
    def open(
        cls, *, run: Path | None, finder: Path | None = None, framework: str | None = "numpy", device: Device = "cpu"
    ) -> PageReader:
        """A reader; see `fourhands.load_pages`.

        With `framework` None, the framework that trained the model computes, or NumPy if that is not installed.
        """
        if run is None:
            run, framework = check_shipped(READER), framework or "numpy"
        reader = Reader.open(run, framework, device)
        return cls(reader=reader, finder_run=finder, device=device)

    @classmethod
    def open_for(cls, run: Path | None, framework: str | None, device: Device) -> PageReader:
        """A reader with a person's run in place of the part of the shipped reader that does the same.

        A run of `unet` replaces the finder. A run of any other rung replaces the recognizer.
        """
        finds_lines = run is not None and RUNGS[open_weights(run).spec.rung].task == "pages"
        if finds_lines:
            return cls.open(run=None, finder=run, framework=framework, device=device)
        return cls.open(run=run, framework=framework, device=device)

    @property
    def framework(self) -> str:
        """Name of the framework that computes."""
        return self.reader.framework

    @property
    def note(self) -> str:
        """What a person should know about that choice; usually empty."""
        return self.reader.note

    @property
    def charset(self) -> str:
        """The characters that the model knows."""
        return self.reader.charset

    def read(
        self, picture: Any, *, kind: Kind | None = None, beam: int | None = None, ngram: bool | None = None
    ) -> PageReading:
        """Read one picture.

        Args:
            picture: a path, the bytes of an image file, an array of grey levels (uint8, height × width), or a Pillow
                image; dark on light or light on dark.
            kind: what the picture shows: page, line or character. None finds out.
            beam: `lstm_ctc` only: width of the beam search; 0 takes the best path. None takes the reader's default.
            ngram: `lstm_ctc` only: weigh the texts of the beam with the character language model. None takes the
                reader's default.

        Returns:
            The lines of the page, or the one line or character of the picture.

        Raises:
            UserError: a picture that cannot be read, is blank or has no writing, or a search that the model cannot use.
        """
        self._check(kind)
        picture_HW = picture_of(picture)
        kind = kind or self.kind_of(picture_HW)
        if kind == "page":
            return self._page(picture_HW, self.search(beam, ngram))
        reading = self.reader.read(picture_HW, beam=beam or 0, ngram=bool(ngram))
        return whole_picture(reading, picture_HW, kind)

    def kind_of(self, picture_HW: Picture) -> Kind:
        """What a picture seems to show: a page or a line; a character if the model reads characters."""
        if not self._reads_lines:
            return "character"
        from common.data.line_image import rows_of_text

        return "page" if rows_of_text(picture_HW) >= 3 else "line"

    @property
    def _reads_lines(self) -> bool:
        return RUNGS[self.reader.content.spec.rung].task == "lines"

    def _check(self, kind: Kind | None) -> None:
        rung = self.reader.content.spec.rung
        if kind is not None and (kind == "character") is self._reads_lines:
            what = "lines and pages" if self._reads_lines else "single characters"
            raise UserError(f"--as {kind} does not fit the model: it is a {rung}, which reads {what}")

    def search(self, beam: int | None, ngram: bool | None) -> Search:
        """How CTC's scores become text; see `read`."""
        return self.reader.search(beam=beam or 0, ngram=bool(ngram))

    def _page(self, picture_HW: Picture, search: Search) -> PageReading:
        reader = self.reader
        return read_page(self.finder, reader.recognizer, reader.content.charset, picture_HW, search)

    @cached_property
    def finder(self) -> Recognizer:
        """The finder of lines."""
        content = open_weights(self.finder_run or check_shipped(FINDER))
        return open_recognizer(content, self.framework, self.device)[0]
