"""TEMPORARY: answers until the engine is there."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

from common.serving.reply import ModelInfo, PageReply, Reply


class Standin:
    """Answers in a thread."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.ready = False
        self.model: ModelInfo | None = None
        self._lock = asyncio.Lock()
        self._depth = 0

    async def start(self) -> None:
        import fourhands

        self._reader = await asyncio.to_thread(fourhands.load)
        self.model = ModelInfo(
            identity=hashlib.sha256(b"standin").hexdigest()[:12],
            rung="lstm_ctc",
            framework="numpy",
            charset=self._reader.charset,
            parameters=0,
            card="",
            provenance={},
        )
        self.ready = True

    async def close(self) -> None:
        self.ready = False

    def state(self) -> dict[str, float]:
        return {"depth": self._depth, "capacity": 64, "workers_alive": 1}

    async def read(self, data: bytes, *, kind: Any = None, seconds: float | None = None) -> Reply:
        start = time.perf_counter()
        self._depth += 1
        try:
            async with self._lock:
                pages = await asyncio.to_thread(self._read, data, kind)
        finally:
            self._depth -= 1
        total = time.perf_counter() - start
        return Reply(pages=tuple(pages), seconds={"read": total, "total": total}, model="standin")

    def _read(self, data: bytes, kind: Any) -> list[PageReply]:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return [PageReply(reading=each) for each in self._reader.read_document(Path(file.name), kind=kind)]

    async def swap(self) -> None:
        pass
