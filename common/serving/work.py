"""The work of one process: several documents at once, whose lines share batches."""

# H height, W width

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from time import perf_counter
from traceback import format_exception

import numpy as np

from common.data.line_batches import line_batch
from common.data.lines import Image
from common.errors import UserError
from common.reading.lines import LineReading, read_batch
from common.reading.page import BATCH_SIZE, Kind
from common.reading.search import Search
from common.serving.document import Clock, DocumentSteps, document_steps
from common.serving.reply import PageReply
from common.serving.settings import Limits
from common.training.page_reader import PageReader

_LINE = 0.04
"""Seconds that a line takes, about. Only the order of the documents depends on it."""
_WIDER = 1.5
"""Width of the widest line that joins a batch, in widths of the line that the batch is for."""
_LEAST = 2
"""Heights of a line: the least width of a batch, as in `common.reading.page.read_images`."""


@dataclass
class Job:
    """One document that is being read."""

    number: int
    steps: DocumentSteps
    clock: Clock
    arrived: float
    images: Sequence[Image] = ()
    """Lines that wait to be read, or were read since the last step."""
    readings: dict[int, LineReading] = field(default_factory=dict)
    spent: float = 0.0
    """Seconds of computing, its share of batches included."""
    started: bool = False

    @property
    def waiting(self) -> list[int]:
        """The lines that were not read yet."""
        return [i for i in range(len(self.images)) if i not in self.readings]

    @property
    def rank(self) -> float:
        """The smallest is first. A short document comes before a long one that arrived a little earlier."""
        return self.arrived + _LINE * len(self.waiting)


class BrokenError(Exception):
    """An error of this program and not of the picture."""


@dataclass(frozen=True)
class Done:
    """A document that was read, or that failed."""

    number: int
    pages: tuple[PageReply, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0
    error: Exception | None = None


class Work:
    """Reads documents in small portions, so that their lines share batches and none waits for a whole other one."""

    def __init__(self, reader: PageReader, limits: Limits, *, signs: bool = True) -> None:
        self._reader = reader
        self._search: Search = reader.search()
        self._limits, self._signs = limits, signs
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def warm(self) -> None:
        """Read a line, so that the first document does not pay for what is loaded and made at the first use."""
        from PIL import Image as pillow

        from common.reading import finding  # noqa: F401  # for what it imports

        if self._search.prior is not None:
            self._search.prior.ngram  # noqa: B018  # it is estimated at the first use
        buffer = BytesIO()
        pillow.fromarray(_dashes()).save(buffer, "PNG")
        self.add(0, buffer.getvalue(), None, 0.0)
        while self:
            for job in self.ready:
                self.step(job)
            if self.lines:
                list(self.batch(self.choose()))

    def add(self, number: int, data: bytes, kind: Kind | None, arrived: float) -> None:
        """Take a document."""
        clock = Clock()
        steps = document_steps(self._reader, data, kind, self._limits, clock, signs=self._signs)
        self._jobs[number] = Job(number=number, steps=steps, clock=clock, arrived=arrived)

    def drop(self, number: int) -> None:
        """Forget a document, whether it was begun or not."""
        job = self._jobs.pop(number, None)
        if job is not None:
            job.steps.close()

    @property
    def ready(self) -> list[Job]:
        """The documents that need no line to go on, the first one first."""
        return sorted((job for job in self._jobs.values() if not job.waiting), key=lambda job: job.arrived)

    @property
    def lines(self) -> int:
        """The lines that wait to be read."""
        return sum(len(job.waiting) for job in self._jobs.values())

    def step(self, job: Job) -> Done | None:
        """Go on with one document until it needs lines to be read; the result if it is complete."""
        start = perf_counter()
        try:
            if job.started:
                readings = [job.readings[i] for i in range(len(job.images))]
                job.images, job.readings = job.steps.send(readings), {}
            else:
                job.started = True
                job.images = next(job.steps)
        except StopIteration as end:
            return self._done(job, start, pages=end.value)
        except Exception as error:  # noqa: BLE001  # of any document: the process goes on with the others
            return self._done(job, start, error=_portable(error))
        job.spent += perf_counter() - start
        return None

    def _done(self, job: Job, start: float, pages: tuple[PageReply, ...] = (), error: Exception | None = None) -> Done:
        del self._jobs[job.number]
        spent = job.spent + perf_counter() - start
        return Done(job.number, pages=pages, seconds=job.clock.seconds, spent=spent, error=error)

    def choose(self) -> list[tuple[Job, int]]:
        """The lines of the next batch: the widest line of the first document, and those of all whose width is nearest.

        Lines that are much wider are left out, because every line of a batch costs as much as the widest.
        """
        jobs = [job for job in self._jobs.values() if job.waiting]
        first = min(jobs, key=lambda job: job.rank)
        width = max(first.images[i].shape[1] for i in first.waiting)
        most = _WIDER * width
        lines = [(job, i) for job in jobs for i in job.waiting if job.images[i].shape[1] <= most]
        lines.sort(key=lambda line: (abs(line[0].images[line[1]].shape[1] - width), line[0] is not first))
        return lines[:BATCH_SIZE]

    def batch(self, lines: Sequence[tuple[Job, int]]) -> Iterator[Done]:
        """Read the lines of one batch; the documents that fail by it."""
        start = perf_counter()
        images = [job.images[i] for job, i in lines]
        try:
            readings = self._read(images)
        except Exception as error:  # noqa: BLE001
            for number in {job.number for job, _ in lines}:
                yield self._done(self._jobs[number], start, error=_portable(error))
            return
        share = (perf_counter() - start) / len(lines)
        for (job, i), reading in zip(lines, readings, strict=True):
            job.readings[i] = reading
            job.spent += share

    def _read(self, images: Sequence[Image]) -> list[LineReading]:
        content = self._reader.reader
        # tiny products take other routines of BLAS, whose last bits differ
        width = max(image.shape[1] for image in images)
        batch = line_batch(images, [np.zeros(0, np.int32)] * len(images), max(width, _LEAST * images[0].shape[0]))
        return read_batch(content.recognizer, content.content.charset, batch, self._search)


def _dashes() -> Image:
    """A picture of dashes, which resembles one of a line."""
    picture_HW = np.full((60, 300), 230, np.uint8)
    for left in range(20, 280, 12):
        picture_HW[20:40, left : left + 3] = 40
    return picture_HW


def _portable(error: Exception) -> Exception:
    """The error in a form that another process can load."""
    if isinstance(error, UserError):
        return error
    return BrokenError("".join(format_exception(error)))
