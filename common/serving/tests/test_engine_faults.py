"""The engine when a process ends, hangs or is killed by a picture, when a client leaves, and with new weights."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from common.errors import UserError
from common.serving import engine as engine_module
from common.serving.engine import Engine, EngineConfig
from common.serving.fleet import Worker
from common.serving.reply import Reply, TooLateError, WorkerLostError
from common.serving.tests.engine_kit import TEXTS, Serve, encoded, line_picture, write_changed

LINE = encoded(line_picture(TEXTS[1], 1))
OTHER = encoded(line_picture(TEXTS[2], 2))


def workers(engine: Engine) -> list[Worker]:
    assert engine._fleet is not None
    return engine._fleet.workers


async def until(true: Callable[[], object], seconds: float = 300) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


def stop(worker: Worker) -> None:
    """Make a process hang."""
    os.kill(worker.process.pid, signal.SIGSTOP)


@pytest.fixture
def run(small: Path, tmp_path: Path) -> Path:
    """A run folder of its own."""
    shutil.copytree(small, tmp_path / "run")
    return tmp_path / "run"


def config(run: Path, **settings: object) -> EngineConfig:
    defaults: dict[str, object] = {"seconds": 600, "grace": 300, "patience": 300}
    return EngineConfig(run=run, finder=run / "finder.safetensors", **{**defaults, **settings})  # type: ignore[arg-type]


def text(reply: Reply) -> str:
    return reply.pages[0].reading.text


# --- processes
def test_documents_of_a_killed_worker_are_read_by_the_next_one(serve: Serve, run: Path) -> None:
    async def use(engine: Engine) -> None:
        expected = [text(await engine.read(data, kind="line")) for data in (LINE, OTHER)]
        (worker,) = workers(engine)
        stop(worker)
        reading = [asyncio.create_task(engine.read(data, kind="line")) for data in (LINE, OTHER)]
        await until(lambda: len(worker.requests) == 2)
        os.kill(worker.process.pid, signal.SIGKILL)
        await until(lambda: not engine.ready)
        await until(lambda: engine.ready)
        assert [text(reply) for reply in await asyncio.gather(*reading)] == expected
        state = engine.state()
        assert (state["restarts"], state["retries"], state["workers_alive"], state["in_flight"]) == (1, 2, 1, 0)

    serve(config(run), use)


def test_a_picture_that_kills_its_workers_is_given_up_and_the_others_are_read(serve: Serve, run: Path) -> None:
    async def use(engine: Engine) -> None:
        expected = text(await engine.read(OTHER, kind="line"))
        (worker,) = workers(engine)
        stop(worker)
        poison = asyncio.create_task(engine.read(LINE, kind="line"))
        await until(lambda: worker.requests)
        (number,) = worker.requests
        others = [asyncio.create_task(engine.read(OTHER, kind="line")) for _ in range(3)]
        await until(lambda: len(worker.requests) == 4)
        worker.at = [number]  # as the process says before it works on a document
        os.kill(worker.process.pid, signal.SIGKILL)

        def has_it() -> bool:
            return any(number in each.requests for each in workers(engine) if each is not worker)

        await until(has_it)
        (second,) = workers(engine)
        assert list(second.requests) == [number], "it is alone, so that no other document is lost with it"
        os.kill(second.process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="processes that read it ended"):
            await poison
        assert [text(reply) for reply in await asyncio.gather(*others)] == [expected] * 3
        assert engine.state()["restarts"] == 2

    serve(config(run), use)


def test_a_worker_that_hangs_is_replaced_and_its_other_documents_are_read(serve: Serve, run: Path) -> None:
    async def use(engine: Engine) -> None:
        (worker,) = workers(engine)
        stop(worker)
        patient = asyncio.create_task(engine.read(OTHER, kind="line"))
        start = monotonic()
        with pytest.raises(TooLateError, match=r"0\.2 seconds"):
            await engine.read(LINE, kind="line", seconds=0.2)
        assert monotonic() - start >= 0.2
        assert engine.state()["in_flight"] == 1
        assert text(await patient)
        assert worker not in workers(engine)
        assert engine.state()["restarts"] == 1

    serve(config(run, patience=0.5), use)


def test_a_document_whose_client_leaves_is_dropped(serve: Serve, run: Path) -> None:
    async def use(engine: Engine) -> None:
        (worker,) = workers(engine)
        stop(worker)
        reading = [asyncio.create_task(engine.read(LINE, kind="line")) for _ in range(10)]
        await until(lambda: len(worker.requests) == 8)
        assert engine.state()["depth"] == 2
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        assert (engine.state()["depth"], engine.state()["in_flight"]) == (0, 0)
        os.kill(worker.process.pid, signal.SIGCONT)
        assert text(await engine.read(LINE, kind="line"))
        assert not worker._left
        assert engine.state()["restarts"] == 0

    serve(config(run), use)


def test_workers_share_the_documents(serve: Serve, run: Path) -> None:
    async def use(engine: Engine) -> None:
        for worker in workers(engine):
            stop(worker)
        reading = [asyncio.create_task(engine.read(LINE, kind="line")) for _ in range(6)]
        await until(lambda: engine.state()["in_flight"] == 6)
        assert [len(worker.requests) for worker in workers(engine)] == [3, 3]
        for worker in workers(engine):
            os.kill(worker.process.pid, signal.SIGCONT)
        assert len({text(reply) for reply in await asyncio.gather(*reading)}) == 1

    serve(config(run, workers=2), use)


# --- new weights
def test_new_weights_replace_the_old_ones_without_a_lost_request(serve: Serve, run: Path, small: Path) -> None:
    async def use(engine: Engine) -> None:
        before = await engine.read(LINE, kind="line")
        assert engine.model is not None
        assert before.model == engine.model.identity
        await engine.swap()
        assert engine.state()["swaps"] == 0, "the files are the same"
        write_changed(small, run, golden=True)
        swapping = asyncio.create_task(engine.swap())
        replies = []
        while not swapping.done():
            replies.append(await engine.read(LINE, kind="line"))
        await swapping
        after = await engine.read(LINE, kind="line")
        assert after.model == engine.model.identity != before.model
        assert text(after) != text(before), "this test needs models that read differently"
        for reply in replies:
            assert text(reply) == text(before if reply.model == before.model else after)
        assert (engine.state()["swaps"], engine.state()["restarts"]) == (1, 0)
        # a lost worker is replaced by one with the weights that serve, whatever the run holds now
        write_changed(small, run, golden=False, seed=2)
        os.kill(workers(engine)[0].process.pid, signal.SIGKILL)
        await until(lambda: engine.state()["restarts"])
        assert (await engine.read(LINE, kind="line")).model == after.model

    serve(config(run), use)


def test_new_weights_that_fail_their_proof_never_serve(serve: Serve, run: Path, small: Path) -> None:
    async def use(engine: Engine) -> None:
        before = engine.model
        write_changed(small, run, golden=False)
        with pytest.raises(UserError, match="the reader does not give the logits of its golden example"):
            await engine.swap()
        (run / "weights.safetensors").write_bytes(b"none")
        with pytest.raises(UserError, match="not a safetensors file"):
            await engine.swap()
        assert engine.failure is None, "the service goes on"
        assert engine.refusal is not None
        assert "not a safetensors file" in engine.refusal
        assert engine.ready
        assert engine.model == before
        assert before is not None
        assert (await engine.read(LINE, kind="line")).model == before.identity
        assert (engine.state()["swaps"], engine.state()["refused_swaps"]) == (0, 2)

    serve(config(run), use)


def test_files_that_change_are_noticed(serve: Serve, run: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_TICK", 0.05)

    async def use(engine: Engine) -> None:
        before = engine.model
        (run / "weights.safetensors").write_bytes(b"none")
        await until(lambda: engine.state()["refused_swaps"] == 1)
        await asyncio.sleep(0.3)
        assert engine.state()["refused_swaps"] == 1, "the same files are not tried again"
        write_changed(small, run, golden=True)
        await until(lambda: engine.state()["swaps"] == 1)
        assert engine.model != before

    serve(config(run, watch=True), use)
