"""A reader of pictures: pages, single lines or single characters."""

# H height, W width

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from common.errors import NoWritingError, UserError
from common.reading.lines import LineReading
from common.reading.page import (
    CutLine,
    Found,
    Kind,
    PageReading,
    cut_lines,
    page_of_lines,
    read_images,
    whole_outline,
    whole_picture,
)
from common.reading.search import Search
from common.reading.shipped import BEAM, FINDER, READER, check_shipped
from common.reading.upright import BETTER, SURE, turned_back, writing
from common.recognizer import Device, Recognizer
from common.spec import LineSpec
from common.tasks import task_of
from common.training.reader import Reader, picture_of
from common.training.trained import open_recognizer, open_weights

Picture = UInt8[np.ndarray, "H W"]

_WIDE = 3.0  # a picture of a line has at least this width for its height; pages and their halves have less
_FEW_ROWS = 3  # rows of text, which the count cannot tell reliably from 1 or 2
_LEAST_CONTRAST = 24  # grey levels: JPEG and grain cause about this much
_MOST_OF_PICTURE = 0.35  # share of the height that the only line of a picture of a line fills


@dataclass(frozen=True, kw_only=True)
class PictureReading:
    """What was read from one picture, with the images that it was read from."""

    reading: PageReading
    cut: tuple[CutLine, ...] = ()
    """The lines as they were cut, those without text included; of a page that was upside down, on the turned page."""


Steps = Generator[Sequence[Picture], list[LineReading], PictureReading]
"""See `PageReader.steps`."""


@dataclass(frozen=True, kw_only=True)
class PageReader:
    """Reads pages, and pictures of one line or one character: a model that reads, and a finder of lines."""

    reader: Reader
    """Reads lines, or characters."""
    open_finder: Callable[[], Recognizer]
    """Opens the finder of lines, which is not needed for a picture of one line."""
    device: Device
    shipped: bool
    """Whether the reader is the one that ships."""

    @classmethod
    def open(
        cls, *, run: Path | None, finder: Path | None = None, framework: str | None = "numpy", device: Device = "cpu"
    ) -> PageReader:
        """A reader; see `fourhands.load_pages`.

        With `framework` None, the framework that trained the model computes, or NumPy if that is not installed. The
        reader that ships is computed by NumPy then.
        """
        if run is None:
            reader = Reader.open(check_shipped(READER), framework or "numpy", device)
        else:
            reader = Reader.open(run, framework, device)
        if reader.content.spec.task == "pages":
            raise UserError(
                f"{run} is a {reader.content.spec.rung}, which finds lines and reads none; name it as finder"
            )

        def open_finder() -> Recognizer:
            return open_recognizer(open_weights(finder or check_shipped(FINDER)), reader.framework, device)[0]

        return cls(reader=reader, open_finder=open_finder, device=device, shipped=run is None)

    @classmethod
    def open_for(cls, run: Path | None, framework: str | None, device: Device) -> PageReader:
        """A reader with a person's run in place of the part of the shipped reader that does the same.

        A run of `unet` replaces the finder. A run of any other rung replaces the recognizer.
        """
        if run is not None and open_weights(run).spec.task == "pages":
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
            beam: `lstm_ctc` only: width of the beam search; 0 takes the best path. None: the reader that ships takes
                the search of its model card, so does one that was adapted from it, and another one takes the best path.
            ngram: `lstm_ctc` only: weigh the texts of the beam with the character language model. None: as for `beam`.

        Returns:
            The lines of the page, or the one line or character of the picture.

        Raises:
            UserError: a picture that cannot be read, is blank or has no writing, or a search that the model cannot use.
        """
        beam, ngram = self._search(beam, ngram)
        self._check(kind)
        search = self.reader.search(beam=beam, ngram=ngram)
        try:
            return self.read_by(self.steps(picture_of(picture), kind), search).reading
        except UserError as error:
            said = str(error)
            named = isinstance(picture, str | Path) and not said.startswith(str(picture))
            raise type(error)(f"{picture}: {said}" if named else said) from None

    def steps(self, picture_HW: Picture, kind: Kind | None = None, found: Sequence[Found] | None = None) -> Steps:
        """Read one picture, and leave the reading of lines to the caller.

        The generator yields images of lines, expects their readings, and returns the result. A service can therefore
        read lines of several pictures in one batch.

        Args:
            picture_HW: grey levels, dark on light or light on dark.
            kind: see `read`.
            found: the lines of a page, if they were found before.

        Raises:
            UserError: see `read`.
        """
        self._check(kind)
        if kind is None and found is None:
            kind, found = self._kind(picture_HW)
        if kind == "character":
            return PictureReading(reading=whole_picture(self.reader.read(picture_HW), picture_HW, kind))
        if kind == "line":
            image_HW = task_of(self.reader.content.spec).prepare(picture_HW, self.reader.content.spec)
            (reading,) = yield [image_HW]
            cut = CutLine(image_HW, whole_outline(picture_HW), np.zeros((0, 2)))
            return PictureReading(reading=whole_picture(reading, picture_HW, kind), cut=(cut,))
        return (yield from self._page_steps(picture_HW, found))

    def read_by(self, steps: Steps, search: Search) -> PictureReading:
        """The result of `steps`, with the lines of this picture alone in the batches."""
        recognizer, charset = self.reader.recognizer, self.reader.content.charset
        try:
            images = next(steps)
            while True:
                images = steps.send(read_images(recognizer, charset, images, search))
        except StopIteration as end:
            return cast(PictureReading, end.value)

    def read_document(
        self, path: str | Path, *, kind: Kind | None = None, beam: int | None = None, ngram: bool | None = None
    ) -> Iterator[PageReading]:
        """Read the pages of an image file, a TIFF file or a PDF file, one after another; see `read`."""
        from common.data.documents import open_document

        with open_document(Path(path)) as pages:
            for picture_HW in pages:
                yield self.read(picture_HW, kind=kind, beam=beam, ngram=ngram)

    def search(self, beam: int | None = None, ngram: bool | None = None) -> Search:
        """How CTC's scores become text; see `read`."""
        beam, ngram = self._search(beam, ngram)
        return self.reader.search(beam=beam, ngram=ngram)

    def _search(self, beam: int | None, ngram: bool | None) -> tuple[int, bool]:
        if beam is None and not ngram:
            # `fourhands adapt` notes the search that it was evaluated with
            adapted = self.reader.content.provenance.get("search") is not None
            return (BEAM, True) if ngram is None and (self.shipped or adapted) else (0, False)
        return beam or 0, bool(ngram)

    def _check(self, kind: Kind | None) -> None:
        task, rung = self.reader.content.spec.task, self.reader.content.spec.rung
        if kind is not None and (kind == "character") is not (task == "characters"):
            raise UserError(
                f"--as {kind} does not fit the model, a {rung}, which reads {task}; leave it out or name another run"
            )

    # --- what a picture shows
    def _kind(self, picture_HW: Picture) -> tuple[Kind, Sequence[Found] | None]:
        """What a picture seems to show, and the lines that were found on it, if they were needed to say so."""
        if self.reader.content.spec.task == "characters":
            return "character", None
        if self._is_line(picture_HW):
            return "line", None
        found = self._find(picture_HW)
        if len(found) == 1 and np.ptp(found[0].outline[:, 1]) >= _MOST_OF_PICTURE * len(picture_HW):
            return "line", None
        return "page", found

    def _is_line(self, picture_HW: Picture) -> bool:
        """Whether a picture is surely of one line: it is a prepared line, or wide with few rows of text."""
        from common.data.line_image import rows_of_text

        height, width = picture_HW.shape
        if height == cast(LineSpec, self.reader.content.spec).height and (picture_HW == 0).mean() > 0.5:
            return True
        return width >= _WIDE * height and rows_of_text(picture_HW) < _FEW_ROWS

    # --- pages
    def read_page(self, picture_HW: Picture, found: Sequence[Found] | None, search: Search) -> PageReading:
        """Read a page, whose lines may have been found before.

        Raises:
            UserError: no writing was found.
        """
        return self.read_by(self._page_steps(picture_HW, found), search).reading

    def _page_steps(self, picture_HW: Picture, found: Sequence[Found] | None) -> Steps:
        height = cast(LineSpec, self.reader.content.spec).height
        cut = cut_lines(self._find(picture_HW) if found is None else found, picture_HW, height)
        reading = page_of_lines(cut, (yield [line.image_HW for line in cut]), picture_HW)
        if reading.confidence < SURE:  # perhaps it is upside down: finding and reading it again is the surest test
            turned_HW = np.ascontiguousarray(picture_HW[::-1, ::-1])
            turned_cut = cut_lines(self._find(turned_HW), turned_HW, height)
            turned = page_of_lines(turned_cut, (yield [line.image_HW for line in turned_cut]), turned_HW)
            if turned.confidence > reading.confidence + BETTER:
                reading, cut = turned_back(turned), turned_cut
        if not writing(reading.lines):
            raise NoWritingError(
                "no writing was found; expected a page with lines of handwriting, so use another picture, or --as line "
                "for a picture of one line"
            )
        return PictureReading(reading=reading, cut=tuple(cut))

    def _find(self, picture_HW: Picture) -> Sequence[Found]:
        if int(picture_HW.max()) - int(picture_HW.min()) < _LEAST_CONTRAST:
            height, width = picture_HW.shape
            raise NoWritingError(
                f"the image ({height}×{width} pixels) is blank; expected a page in ink darker or lighter than the "
                "paper, so use another image"
            )
        from common.reading.finding import find_lines  # imports SciPy

        return find_lines(self.finder, picture_HW)

    @cached_property
    def finder(self) -> Recognizer:
        """The finder of lines."""
        return self.open_finder()
