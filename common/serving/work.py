"""The work of one process: several documents at once, whose lines share batches."""

# H height, W width

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from common.data.line_batches import line_batch
from common.data.lines import Image
from common.reading.lines import LineReading, read_batch
from common.reading.page import BATCH_SIZE, Kind
from common.reading.search import Search
from common.serving.document import Clock, DocumentSteps, document_steps
from common.serving.reply import PageReply
from common.serving.settings import Limits
from common.training.page_reader import PageReader

STEPPING = 0.02
"""Seconds of decoding and finding, after which waiting lines have their turn."""
_LINE = 0.04
"""Seconds that a line takes, about. Only the order of the documents depends on it."""


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

    def __init__(self, reader: PageReader, search: Search, limits: Limits) -> None:
        self._reader = reader
        self._search = search
        self._limits = limits
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, number: int, data: bytes, kind: Kind | None, arrived: float) -> None:
        """Take a document."""
        clock = Clock()
        steps = document_steps(self._reader, data, kind, self._limits, clock)
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
            return self._done(job, start, error=error)
        job.spent += perf_counter() - start
        return None

    def _done(self, job: Job, start: float, pages: tuple[PageReply, ...] = (), error: Exception | None = None) -> Done:
        del self._jobs[job.number]
        spent = job.spent + perf_counter() - start
        return Done(job.number, pages=pages, seconds=job.clock.seconds, spent=spent, error=error)

    def choose(self) -> list[tuple[Job, int]]:
        """The lines of the next batch: the widest line of the first document, and the next narrower ones of all."""
        jobs = [job for job in self._jobs.values() if job.waiting]
        first = min(jobs, key=lambda job: job.rank)
        widest = max(first.images[i].shape[1] for i in first.waiting)
        fitting = [(job, i) for job in jobs for i in job.waiting if job.images[i].shape[1] <= widest]
        fitting.sort(key=lambda line: (-line[0].images[line[1]].shape[1], line[0].rank))
        return fitting[:BATCH_SIZE]

    def batch(self, lines: Sequence[tuple[Job, int]]) -> Iterator[Done]:
        """Read the lines of one batch; the documents that fail by it."""
        start = perf_counter()
        images = [job.images[i] for job, i in lines]
        try:
            readings = self._read(images)
        except Exception as error:  # noqa: BLE001
            for number in {job.number for job, _ in lines}:
                yield self._done(self._jobs[number], start, error=error)
            return
        share = (perf_counter() - start) / len(lines)
        for (job, i), reading in zip(lines, readings, strict=True):
            job.readings[i] = reading
            job.spent += share

    def _read(self, images: Sequence[Image]) -> list[LineReading]:
        content = self._reader.reader
        batch = line_batch(images, [np.zeros(0, np.int32)] * len(images))
        return read_batch(content.recognizer, content.content.charset, batch, self._search)
