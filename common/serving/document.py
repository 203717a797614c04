"""Reading one document: its pages one after another, with the reading of lines left to the caller."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from common.data.documents import open_document
from common.data.lines import Image
from common.errors import NoWritingError, TooLargeError, UserError
from common.evaluation.signs import signs_of
from common.reading.lines import LineReading
from common.reading.page import Kind, PageReading
from common.serving.reply import PageReply
from common.serving.settings import Limits
from common.training.page_reader import PageReader, PictureReading, Steps

DocumentSteps = Generator[Sequence[Image], list[LineReading], tuple[PageReply, ...]]
"""Yields images of lines, expects their readings, and returns the pages."""


@dataclass
class Clock:
    """Seconds that the parts of a document took."""

    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "find": 0.0, "read": 0.0})
    last: float = field(default_factory=perf_counter)

    def lap(self, part: str) -> None:
        """Count the time since the last lap for a part."""
        now = perf_counter()
        self.seconds[part] += now - self.last
        self.last = now


def document_steps(
    reader: PageReader, data: bytes, kind: Kind | None, limits: Limits, clock: Clock, *, signs: bool = True
) -> DocumentSteps:
    """Read a document.

    A page without writing is an empty page if the document has several pages, because such pages are common there.

    Args:
        reader: the models.
        data: the content of an image file, a TIFF file or a PDF file.
        kind: what each page shows; None finds out.
        limits: what the document may have.
        clock: counts the seconds.
        signs: whether to measure the signs of each page.

    Raises:
        TooLargeError: the document has more pages, pixels or lines.
        NoWritingError: its only page has no writing.
        UserError: it cannot be read.
    """
    read: list[PageReply] = []
    with ExitStack() as stack:
        with _decoding():
            pages = stack.enter_context(open_document(data, pages=limits.pages, pixels=limits.pixels))
        for index in range(len(pages)):
            with _decoding():
                picture_HW = pages[index]
            clock.lap("decode")
            try:
                result = yield from _limited(reader.steps(picture_HW, kind), limits.lines, clock)
                measured = signs_of(picture_HW, result.cut, result.reading) if signs else None
                read.append(PageReply(reading=result.reading, signs=measured))
            except NoWritingError as error:
                measured = error.signs = signs_of(picture_HW, [], None) if signs else None
                if len(pages) == 1:
                    raise
                nothing = PageReading(size=picture_HW.shape[::-1], lines=(), confidence=0.0)
                read.append(PageReply(reading=nothing, signs=measured))
            except UserError as error:
                if len(pages) == 1:
                    raise
                raise type(error)(f"page {index + 1}: {error}") from None
            clock.lap("find")
    return tuple(read)


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder raises for bytes that it cannot read is the fault of the bytes."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise TooLargeError("the document needs more memory than the service has; reduce its size") from None
    except Exception as error:
        raise UserError(
            f"the document cannot be read ({type(error).__name__}); expected a complete image or PDF, so save it again"
        ) from error


def _limited(steps: Steps, most: int, clock: Clock) -> Steps:
    """The same steps, refused if they have more than `most` lines. The clock counts their seconds."""
    try:
        images = next(steps)
        while True:
            if len(images) > most:
                raise TooLargeError(
                    f"the picture seems to have {len(images):,} lines of text; at most {most:,} are read, so cut it in "
                    "parts"
                )
            clock.lap("find")
            readings = yield images
            clock.lap("read")
            images = steps.send(readings)
    except StopIteration as end:
        result: PictureReading = end.value
        return result
