"""The engine with the reader that ships: readings as without it, whatever is read beside them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fourhands
from common.errors import UserError
from common.serving.engine import Engine, EngineConfig

MODELS = Path(fourhands.__file__).parent


def png(picture_HW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture_HW).save(buffer, "PNG")
    return buffer.getvalue()


def serve(config: EngineConfig, use: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = Engine(config)
        await engine.start()
        try:
            async with asyncio.timeout(60):
                while not engine.ready:
                    await asyncio.sleep(0.01)
                await use(engine)
        finally:
            await engine.close()

    asyncio.run(run())


def test_a_picture_that_is_none_is_refused() -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(UserError, match="not an image"):
            await engine.read(b"hello")
        assert engine.model is not None
        assert engine.state()["workers_alive"] == 1

    serve(EngineConfig(), use)
