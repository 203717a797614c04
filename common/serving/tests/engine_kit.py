"""Pictures and small models for the tests of the engine."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.ink_lines import draw_lines
from common.recognizer import load_implementation
from common.serving.engine import Engine, EngineConfig
from common.tests import bars
from common.weights import initial_weights, load_weights, save_weights

TEXTS = ("a few letters", "some words in a row", "one more", "the last line of it")
Use = Callable[[Engine], Awaitable[None]]
Serve = Callable[[EngineConfig, Use], None]


def line_picture(text: str, seed: int) -> np.ndarray:
    """A picture of a line, dark on light."""
    (ink_HW,) = draw_lines([text], 48, np.random.default_rng(seed))
    return np.pad(235 - ink_HW // 2 - ink_HW // 3, 12, constant_values=235)


def page_picture(texts: tuple[str, ...], seed: int, *, turned: bool = False) -> np.ndarray:
    """A picture of a page with these lines."""
    lines = [line_picture(text, seed + i) for i, text in enumerate(texts)]
    width = max(line.shape[1] for line in lines) + 40
    rows = [np.pad(line, ((8, 8), (20, width - 20 - line.shape[1])), constant_values=235) for line in lines]
    picture_HW = np.pad(np.concatenate(rows), ((30, 30), (0, 0)), constant_values=235)
    return np.ascontiguousarray(picture_HW[::-1, ::-1]) if turned else picture_HW


def encoded(*pictures: np.ndarray) -> bytes:
    """The pictures as the pages of a TIFF file; one alone as a PNG file."""
    first, *rest = map(Image.fromarray, pictures)
    buffer = io.BytesIO()
    if rest:
        first.save(buffer, "TIFF", save_all=True, append_images=rest)
    else:
        first.save(buffer, "PNG")
    return buffer.getvalue()


def write_changed(small: Path, folder: Path, *, golden: bool, seed: int = 1) -> None:
    """Write the small reader with other weights into a folder.

    Args:
        small: the folder of the small reader.
        folder: where to write, as `weights.safetensors`, in place of such a file.
        golden: whether the golden example is that of the new weights.
        seed: of the weights.
    """
    content = load_weights(small / "weights.safetensors")
    content = replace(content, weights=initial_weights(content.spec, seed))
    if golden:
        model = load_implementation("numpy")(content.spec)
        model.load_weights(content.weights)
        content = replace(content, golden=replace(content.golden, logits=model.logits(*content.golden.inputs)))
    save_weights(folder / "weights.safetensors", content)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small reader of lines, `weights.safetensors`, and a small finder, `finder.safetensors`."""
    folder = tmp_path_factory.mktemp("small")
    bars.models(folder)
    (folder / "reader.safetensors").rename(folder / "weights.safetensors")
    return folder


@pytest.fixture
def serve() -> Serve:
    """Start an engine, wait until it is ready, use it, and close it."""

    def run(config: EngineConfig, use: Use) -> None:
        async def main() -> None:
            engine = Engine(config)
            await engine.start()
            try:
                async with asyncio.timeout(600):  # the machine may be busy
                    await engine.wait_ready()
                    assert engine.ready
                    await use(engine)
            finally:
                await engine.close()
            assert not engine._fleets, "every worker has ended"

        asyncio.run(main())

    return run
