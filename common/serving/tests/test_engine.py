"""The engine: what it answers while all goes well."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fourhands
from common.errors import TooLargeError, UserError
from common.reading.page import PageReading
from common.serving.document import Clock, document_steps
from common.serving.engine import Engine, EngineConfig, Limits
from common.serving.model_files import ModelFiles
from common.serving.reply import QueueFullError, WorkerLostError
from common.serving.tests.engine_kit import TEXTS, Serve, encoded, line_picture, page_picture, write_changed
from common.serving.work import Done, Work

LINE = line_picture(TEXTS[1], 1)


@pytest.fixture(scope="module")
def shipped() -> fourhands.PageReader:
    """The reader that ships."""
    return fourhands.load()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Lines of different widths, a page, a page that is upside down."""
    lines = [line_picture(text, 10 + i) for i, text in enumerate(TEXTS)]
    return [lines[0], page_picture(TEXTS[:3], 30), *lines[1:], page_picture(TEXTS[1:], 50, turned=True)]


@pytest.fixture(scope="module")
def alone(shipped: fourhands.PageReader, pictures: list[np.ndarray]) -> list[PageReading]:
    """The readings of the pictures without the service."""
    return [shipped.read(picture_HW) for picture_HW in pictures]


def same(a: PageReading, b: PageReading) -> bool:
    """Whether two readings are the same to the last bit."""
    plain = [
        (
            replace(r, lines=()),
            [(x.text, x.confidence, x.characters, x.outline.tolist(), x.baseline.tolist()) for x in r.lines],
        )
        for r in (a, b)
    ]
    return plain[0] == plain[1]


# --- the same readings
def test_the_pictures_differ(alone: list[PageReading]) -> None:
    assert [reading.kind for reading in alone] == ["line", "page", "line", "line", "line", "page"]
    assert [reading.upside_down for reading in alone] == [False] * 5 + [True]
    assert len({reading.text for reading in alone}) == len(alone)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_picture_has_the_same_reading_whatever_is_read_beside_it(
    seed: int, shipped: fourhands.PageReader, pictures: list[np.ndarray], alone: list[PageReading]
) -> None:
    work = Work(shipped, Limits())
    order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
    late = order[:seed]  # come when the others were begun
    for number in order[seed:]:
        work.add(number, encoded(pictures[number]), None, float(number))
    done: dict[int, Done] = {}
    shared = 0
    while work:
        for result in [work.step(job) for job in work.ready]:
            if result is not None:
                done[result.number] = result
        if work.lines:
            chosen = work.choose()
            shared += len({job.number for job, _ in chosen}) > 1
            assert list(work.batch(chosen)) == []
        while late:
            work.add(number := late.pop(), encoded(pictures[number]), None, 9.0)
    assert shared, "this test needs batches with lines of several pictures"
    for number, reading in enumerate(alone):
        (page,) = done[number].pages
        assert same(page.reading, reading), f"picture {number}: {page.reading} where {reading} was expected"


def test_requests_that_come_together_share_batches_and_get_their_own_answers(
    serve: Serve, pictures: list[np.ndarray], alone: list[PageReading]
) -> None:
    files = ModelFiles.of(None, None)

    async def use(engine: Engine) -> None:
        numbers = [0, 2, 3, 4, 1, 4, 3, 2, 0]
        replies = await asyncio.gather(*(engine.read(encoded(pictures[i])) for i in numbers))
        for number, reply in zip(numbers, replies, strict=True):
            assert same(reply.pages[0].reading, alone[number])
            assert reply.model == files.identity
            assert set(reply.seconds) == {"queue", "decode", "find", "read", "total"}
            assert 0 < reply.seconds["read"] < reply.seconds["total"]
        state = engine.state()
        assert state["lines"] == 8 + len(alone[1].lines)
        assert state["batches"] < state["lines"], "lines of several requests were read together"
        assert (state["depth"], state["in_flight"], state["workers_alive"], state["restarts"]) == (0, 0, 1, 0)
        assert engine.model is not None
        assert engine.model.rung == "lstm_ctc"
        assert engine.model.charset == fourhands.load().charset
        assert engine.model.card.startswith("# The reader that ships")

    serve(EngineConfig(seconds=600, wait_ms=300), use)


# --- documents
def run_alone(reader: fourhands.PageReader, data: bytes, limits: Limits) -> list[PageReading]:
    work = Work(reader, limits)
    work.add(1, data, None, 0.0)
    while True:
        for job in work.ready:
            done = work.step(job)
            if done is not None:
                if done.error is not None:
                    raise done.error
                return [page.reading for page in done.pages]
        list(work.batch(work.choose()))


@pytest.fixture(scope="module")
def small_reader(small: Path) -> fourhands.PageReader:
    """A small reader of lines."""
    return fourhands.load_pages(small, finder=small / "finder.safetensors")


def test_a_document_with_several_pages_may_have_one_without_writing(small_reader: fourhands.PageReader) -> None:
    line_HW, blank_HW = LINE, np.full((300, 200), 240, np.uint8)
    readings = run_alone(small_reader, encoded(line_HW, blank_HW, line_HW), Limits())
    assert [len(reading.lines) for reading in readings] == [1, 0, 1]
    assert readings[1].size == (200, 300)
    with pytest.raises(UserError, match="is blank"):
        run_alone(small_reader, encoded(blank_HW), Limits())


def test_limits_hold_at_and_over_them(shipped: fourhands.PageReader, small_reader: fourhands.PageReader) -> None:
    line_HW = LINE
    pixels = line_HW.size
    assert run_alone(small_reader, encoded(line_HW, line_HW), Limits(pages=2, pixels=pixels))
    with pytest.raises(TooLargeError, match="at most 1 are read"):
        run_alone(small_reader, encoded(line_HW, line_HW), Limits(pages=1))
    with pytest.raises(TooLargeError, match=f"more than {pixels - 1:,} pixels"):
        run_alone(small_reader, encoded(line_HW), Limits(pixels=pixels - 1))
    page_HW = page_picture(TEXTS, 3)
    lines = len(run_alone(shipped, encoded(page_HW), Limits())[0].lines)
    assert lines > 2
    assert run_alone(shipped, encoded(page_HW), Limits(lines=lines))
    with pytest.raises(TooLargeError, match=f"{lines} lines of text; at most {lines - 1} are read"):
        run_alone(shipped, encoded(page_HW), Limits(lines=lines - 1))


def test_what_no_decoder_expects_is_the_fault_of_the_bytes(
    small_reader: fourhands.PageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.data import images

    for error, expected in ((KeyError("x"), "cannot be read \\(KeyError\\)"), (MemoryError(), "needs more memory")):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(images, "_grey", fail)
        with pytest.raises(UserError, match=expected):
            run_alone(small_reader, encoded(LINE), Limits())


def test_seconds_of_a_document_are_those_of_its_parts(small_reader: fourhands.PageReader) -> None:
    clock = Clock()
    steps = document_steps(small_reader, encoded(LINE), "line", Limits(), clock)
    next(steps)
    assert clock.seconds["decode"] > 0
    assert clock.seconds["find"] > 0
    assert clock.seconds["read"] == 0
    steps.close()


@pytest.mark.parametrize("signs", [True, False])
def test_signs_are_measured_for_who_watches_them(small_reader: fourhands.PageReader, signs: bool) -> None:
    work = Work(small_reader, Limits(), signs=signs)
    work.add(0, encoded(LINE), "line", 0.0)
    done = None
    while done is None:
        done = work.step(work.ready[0]) if work.ready else next(iter(work.batch(work.choose())), None)
    (page,) = done.pages
    assert (page.signs is not None) is signs


# --- life
def test_a_picture_that_is_none_is_refused_and_the_next_one_is_read(serve: Serve, small: Path) -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(UserError, match="not an image that can be read"):
            await engine.read(b"hello")
        with pytest.raises(UserError, match="--as character does not fit"):
            await engine.read(encoded(LINE), kind="character")
        assert (await engine.read(encoded(LINE))).pages

    serve(EngineConfig(run=small, finder=small / "finder.safetensors", seconds=600), use)


def test_a_closing_engine_finishes_what_it_has_and_takes_nothing_new(small: Path) -> None:
    data = encoded(*[LINE] * 4)

    async def main() -> None:
        engine = Engine(EngineConfig(run=small, finder=small / "finder.safetensors", grace=600, seconds=600))
        await engine.start()
        await engine.wait_ready()
        reading = [asyncio.create_task(engine.read(data)) for _ in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        assert not engine.ready
        with pytest.raises(WorkerLostError, match="closing"):
            await engine.read(data)
        assert [len((await task).pages) for task in reading] == [4] * 10
        await closing

    asyncio.run(main())


def test_weights_that_cannot_be_used_are_reported(small: Path, tmp_path: Path) -> None:
    write_changed(small, tmp_path, golden=False)

    async def main() -> None:
        engine = Engine(EngineConfig(run=tmp_path, finder=small / "finder.safetensors"))
        with pytest.raises(UserError, match="does not exist"):
            await Engine(EngineConfig(run=tmp_path / "none")).start()
        await engine.start()
        with pytest.raises(UserError, match="the reader does not give the logits of its golden example in numpy"):
            await engine.wait_ready()
        assert not engine.ready
        with pytest.raises(WorkerLostError, match="golden example"):
            await engine.read(b"")
        assert engine.failure is not None
        await engine.close()

    asyncio.run(main())


def test_a_full_queue_refuses_and_says_when_to_come_back(small: Path) -> None:
    async def main() -> None:
        engine = Engine(EngineConfig(run=small, finder=small / "finder.safetensors", queue=3, seconds=600))
        await engine.start()  # no worker is ready yet, so that everything waits
        tasks = [asyncio.create_task(engine.read(encoded(LINE))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as caught:
            await engine.read(b"")
        assert caught.value.retry_after == 1
        engine._spent = 4.0  # seconds of a document, as if measured
        assert engine._retry_after() == 12, "three documents, one worker"
        assert engine.state()["depth"] == engine.state()["capacity"] == 3
        await engine.wait_ready()
        await asyncio.gather(*tasks)
        assert engine.ready
        await engine.close()

    asyncio.run(main())


def test_work_of_a_process_is_prepared_without_slow_packages() -> None:
    program = """
import sys
from common.serving.model_files import ModelFiles
from common.serving.loading import Limits, Task, prepare
prepare(Task(files=ModelFiles.of(None, None), framework="numpy", device="cpu", limits=Limits(), signs=True, wait=0.0))
print([name for name in SLOW if name in sys.modules])
"""
    slow = ["skimage", "matplotlib", "rich", "tyro", "fastapi", "torch", "jax"]
    done = subprocess.run(
        [sys.executable, "-c", f"SLOW = {slow}\n{program}"], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
