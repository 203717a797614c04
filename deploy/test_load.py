"""The load generator tells right answers from wrong, refused, late, failed and lost ones."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason='needs httpx: pip install "fourhands[dev]"')


def module(path: Path) -> ModuleType:
    """A module of a folder that is no package."""
    spec = importlib.util.spec_from_file_location("fourhands_load", path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look their module up
    spec.loader.exec_module(found)
    return found


load = module(Path(__file__).with_name("load.py"))


def said(*texts: str) -> dict[str, Any]:
    """The answer of a service that read these lines."""
    return {"lines": [{"text": text} for text in texts]}


def offered(answer: Callable[[Any], Any]) -> dict[str, Any]:
    """The figures of about 50 requests to a service that answers like this; the right lines are a and b."""

    async def run() -> dict[str, Any]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            picture = load.Picture("one.png", b"picture", ("a", "b"))
            figures: dict[str, Any] = await load.Load(client, [picture], random.Random(0)).offer(500, 0.1)
            return figures

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, said("a", "b"), "right"),
        (200, {"pages": [said("a"), said("b")]}, "right"),
        (200, said("a"), "wrong"),
        (200, said("b", "a"), "wrong"),
        (503, {}, "refused"),
        (504, {}, "late"),
        (500, {}, "failed"),
    ],
)
def test_answers_are_counted_by_kind(status: int, content: dict[str, Any], kind: str) -> None:
    figures = offered(lambda _: httpx.Response(status, json=content))
    assert figures[kind] == figures["requests"] > 20
    right = kind == "right"
    assert figures["lines_per_second"] == (2 * figures["requests_per_second"] if right else 0)
    assert (figures["p99_ms"] is not None) == right
    assert ("mistakes" in figures) == (kind in ("wrong", "failed"))


def test_a_request_without_an_answer_is_lost() -> None:
    def lose(request: Any) -> Any:
        raise httpx.ReadError("the connection was closed")

    figures = offered(lose)
    assert figures["lost"] == figures["requests"] > 20


def test_memory_is_that_of_a_process_and_its_descendants() -> None:
    mine = load.resident(os.getpid())
    assert 10 < mine < 10_000
    assert load.resident(1 << 22) == 0  # no such process
