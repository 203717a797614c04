"""The fixed set of shapes: no framework compiles after them, and the scores are those of the model itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from common.recognizer import Recognizer, load_implementation
from common.serving import shapes
from common.serving.shapes import FixedShapes, fixed, page_shapes
from common.spec import LSTMCTCSpec, Spec, TransformerSpec, UNetSpec

LINE = {"num_classes": 5, "height": 16, "stem_channels": (4,), "stem_strides": (2,)}
SPECS: dict[str, Spec] = {
    "lstm_ctc": LSTMCTCSpec(**LINE, frame_dim=8, hidden_dim=8),  # type: ignore[arg-type]
    "transformer": TransformerSpec(**LINE, model_dim=8, num_heads=2, num_layers=1, feed_forward_dim=8),  # type: ignore[arg-type]
    "unet": UNetSpec(side=64, channels=(2, 2)),
}


class Listening:
    """A model that remembers the shapes of its batches."""

    def __init__(self, model: Recognizer) -> None:
        self.spec, self._model = model.spec, model
        self.shapes: list[tuple[int, ...]] = []

    def logits(self, images_BHW1: np.ndarray, *more: np.ndarray) -> np.ndarray:
        self.shapes.append(images_BHW1.shape)
        return self._model.logits(images_BHW1, *more)

    def decode(self, images_BHW1: np.ndarray, widths_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.shapes.append(images_BHW1.shape)
        return self._model.decode(images_BHW1, widths_B)  # type: ignore[attr-defined, no-any-return]


def model_of(rung: str) -> Recognizer:
    return load_implementation("numpy")(SPECS[rung], seed=1)


@pytest.mark.parametrize("rung", ["lstm_ctc", "transformer"])
@pytest.mark.parametrize("lines", [1, 3, 8])
def test_lines_have_the_scores_of_the_model_itself(rung: str, lines: int) -> None:
    rng = np.random.default_rng(lines)
    model = model_of(rung)
    listening = Listening(model)
    shaped = FixedShapes(listening)  # type: ignore[arg-type]
    for width in (3, 65, 200):
        images = rng.random((lines, 16, width, 1), np.float32)
        widths = rng.integers(1, width + 1, lines).astype(np.int32)
        labels = np.zeros((lines, 0), np.int32)
        expected, found = (each.logits(images, widths, labels) for each in (model, shaped))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)
        if rung == "transformer":
            (classes, scores), (found_classes, found_scores) = (
                each.decode(images, widths)  # type: ignore[attr-defined]
                for each in (model, shaped)
            )
            steps = min(classes.shape[1], found_classes.shape[1])
            np.testing.assert_array_equal(found_classes[:, :steps], classes[:, :steps])
            np.testing.assert_allclose(found_scores[:, :steps], scores[:, :steps], atol=1e-5)
    assert {(shape[0], shape[2]) for shape in listening.shapes} <= set(shaped.shapes)
    assert shaped.unplanned == 0
    shaped.logits(np.zeros((3, 16, 513, 1), np.float32), np.full(3, 513, np.int32), np.zeros((3, 0), np.int32))
    assert listening.shapes[-1] == (4, 16, 640, 1)
    assert shaped.unplanned == 1


@pytest.mark.parametrize("aspect", [0.51, 0.7071, 1.0, 1.294, 1.4142, 2.35])
def test_pages_have_the_scores_of_the_model_itself(aspect: float) -> None:
    model = model_of("unet")
    listening = Listening(model)
    shaped = FixedShapes(listening)  # type: ignore[arg-type]
    size = np.array([[round(64 * aspect**0.5), round(64 / aspect**0.5)]], np.int32)
    rows, columns = (-(-size[0] // 4) * 4).tolist()
    image = np.zeros((1, rows, columns, 1), np.float32)
    image[0, : size[0, 0], : size[0, 1], 0] = np.random.default_rng(0).random(size[0])
    np.testing.assert_allclose(shaped.logits(image, size), model.logits(image, size), atol=1e-6)
    assert listening.shapes[-1][1:3] in shaped.shapes
    assert shaped.unplanned == 0


def test_a_page_that_is_very_long_is_counted() -> None:
    shaped = FixedShapes(model_of("unet"))
    shaped.logits(np.zeros((1, 256, 16, 1), np.float32), np.array([[256, 16]], np.int32))
    assert shaped.unplanned == 1


def test_pages_are_little_larger_than_themselves() -> None:
    spec = UNetSpec()
    for aspect in np.linspace(0.5, 2.4, 200):
        rows, columns = (int(np.ceil(spec.side * each)) for each in (aspect**0.5, aspect**-0.5))
        fitting = [r * c for r, c in page_shapes(spec) if r >= rows and c >= columns]
        assert fitting, f"no shape for a page of {rows}×{columns}"
        assert min(fitting) <= 1.27 * spec.side**2


def test_numpy_takes_every_batch_as_it_is() -> None:
    model = model_of("lstm_ctc")
    assert fixed(model, "numpy") == (model, ())
    shaped, warm = fixed(model, "jax")
    assert warm == (shaped,)


PROGRAM = """
import sys
import numpy as np
import jax
from common.reading.page import read_images
from common.serving import shapes
from common.serving.loading import Limits, Task, prepare
from common.serving.model_files import ModelFiles
from common.serving.tests.engine_kit import encoded, line_picture, page_picture
from pathlib import Path

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
)
shapes.LINES, shapes.WIDTHS = (1, 8), (8, 64)
shapes._LOWEST, shapes._HIGHEST, shapes._FACTOR = 0.3, 2.0, 8.0
folder = Path(sys.argv[1])
files = ModelFiles.of(folder, folder / "finder.safetensors")
loaded = prepare(Task(files=files, framework="jax", device="cpu", limits=Limits(), signs=True, wait=0.0))
before = len(compiled)
assert before >= 5, compiled
for seed, pictures in enumerate([["a b"], ["some words", "a longer line of words"], ["x y z"] * 11]):
    for i, text in enumerate(pictures):
        loaded.work.add(i, encoded(line_picture(text, seed + i)), "line", float(i))
    loaded.work.add(99, encoded(page_picture(("one", "two more", "three"), seed)), "page", 99.0)
    while loaded.work:
        for job in loaded.work.ready:
            done = loaded.work.step(job)
            assert done is None or done.error is None or "no writing" in str(done.error), done
        if loaded.work.lines:
            assert not list(loaded.work.batch(loaded.work.choose()))
print(len(compiled) - before, sum(each.unplanned for each in loaded.shapes))
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="needs jax: pip install 'fourhands[jax]'")
def test_jax_compiles_nothing_after_the_preparation(small: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(small)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0"], "compiled after the preparation, and unplanned shapes"
    assert shapes.LINES == (1, 4, 8), "the program changed its own process only"
