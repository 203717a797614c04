"""A fixed set of shapes, so that no framework compiles while the service reads.

JAX and Keras compile once per shape, and PyTorch prepares its kernels per shape. A model in one of these frameworks
therefore gets batches of a few shapes only, and each shape is run once before the service is ready. Scores do not
depend on the padding. NumPy compiles nothing: it takes every batch as it is.
"""

# B batch, H height, W width, L label length, T frames, K classes, h and w half of H and W, M maps

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from common.recognizer import Decoder, Recognizer
from common.spec import LineSpec, Spec, UNetSpec

LINES = (1, 4, 8)
"""Lines of a batch."""
WIDTHS = (4, 8, 12, 16, 24, 32)
"""Width of a batch of lines, in heights of a line. The widest line of a person's picture has 32 at height 64."""
_WIDER = 8  # a wider batch has a multiple of this
# pages: rows per column from the lowest to the highest, and the factor between two shapes. A page then has at most 12%
# more pixels than its own, and up to a multiple of the model's more rows and columns
_LOWEST, _HIGHEST, _FACTOR = 0.5, 2.4, 1.25


class FixedShapes:
    """A model of lines or pages that computes in a fixed set of shapes; elsewhere it is the model itself.

    What exceeds the largest shape is computed in a shape of its own, for which a framework may compile. Such shapes are
    counted.
    """

    def __init__(self, model: Recognizer) -> None:
        self._model = model
        self.spec: Spec = model.spec
        self.unplanned = 0
        """Batches that exceeded the largest shape."""
        self.is_page = model.spec.task == "pages"
        self.shapes = page_shapes(cast(UNetSpec, self.spec)) if self.is_page else line_shapes(cast(LineSpec, self.spec))
        """Pages: (rows, columns) of one page. Lines: (lines, columns)."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def warm(self) -> None:
        """Run every shape once."""
        for first, columns in self.shapes:
            if self.is_page:
                self._model.logits(np.zeros((1, first, columns, 1), np.float32), np.array([[first, columns]], np.int32))
                continue
            images = np.zeros((first, cast(LineSpec, self.spec).height, columns, 1), np.float32)
            widths = np.full(first, columns, np.int32)
            self._model.logits(images, widths, np.zeros((first, 0), np.int32))
            if cast(LineSpec, self.spec).decodes:
                cast(Decoder, self._model).decode(images, widths)

    def logits(
        self,
        images_BHW1: Float[np.ndarray, "B H W 1"],
        sizes: Int[np.ndarray, "B"] | Int[np.ndarray, "B 2"] | None = None,
        labels_BL: Int[np.ndarray, "B L"] | None = None,
    ) -> Float[np.ndarray, "B T K"] | Float[np.ndarray, "B h w M"]:
        """See `Recognizer.logits`."""
        batch, height, width, _ = images_BHW1.shape
        assert sizes is not None
        if self.is_page:
            rows, columns = self._shape(height, width)
            padded = np.pad(images_BHW1, ((0, 0), (0, rows - height), (0, columns - width), (0, 0)))
            return self._model.logits(padded, sizes)[:, : height // 2, : width // 2]
        images, widths = self._padded(images_BHW1, sizes)
        labels = None if labels_BL is None else np.pad(labels_BL, ((0, len(images) - batch), (0, 0)))
        logits = self._model.logits(images, widths, labels)[:batch]
        spec = cast(LineSpec, self.spec)
        return logits if spec.decodes else logits[:, : spec.frames(width)]

    def decode(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"]
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        """See `Decoder.decode`."""
        classes_BT, log_probs_BT = cast(Decoder, self._model).decode(*self._padded(images_BHW1, widths_B))
        return classes_BT[: len(widths_B)], log_probs_BT[: len(widths_B)]

    def _padded(
        self, images_BHW1: Float[np.ndarray, "B H W 1"], widths_B: Int[np.ndarray, "B"]
    ) -> tuple[Float[np.ndarray, "_ H _ 1"], Int[np.ndarray, "_"]]:
        batch, _, width, _ = images_BHW1.shape
        lines, columns = self._shape(batch, width)
        images = np.pad(images_BHW1, ((0, lines - batch), (0, 0), (0, columns - width), (0, 0)))
        return images, np.pad(widths_B, (0, lines - batch), mode="edge")

    def _shape(self, first: int, columns: int) -> tuple[int, int]:
        """The smallest shape with room for `first` rows or lines, and for `columns`."""
        fitting = [shape for shape in self.shapes if shape[0] >= first and shape[1] >= columns]
        if fitting:
            return min(fitting, key=lambda shape: shape[0] * shape[1])
        self.unplanned += 1
        if self.is_page:
            return first, columns
        step = _WIDER * cast(LineSpec, self.spec).height
        lines = [shape[0] for shape in self.shapes if shape[0] >= first]
        return min(lines, default=first), -(-columns // step) * step


def line_shapes(spec: LineSpec) -> list[tuple[int, int]]:
    """(lines, columns) of the batches of lines."""
    return [(lines, spec.height * width) for lines in LINES for width in WIDTHS]


def page_shapes(spec: UNetSpec) -> list[tuple[int, int]]:
    """(rows, columns) of the images of pages, whose number of pixels is always about the same."""

    def up(length: float) -> int:
        return int(-(-(length + 1) // spec.multiple) * spec.multiple)  # 1: sizes are rounded to whole pixels

    shapes, low = [], _LOWEST
    while low < _HIGHEST:
        high = low * _FACTOR
        shapes.append((up(spec.side * high**0.5), up(spec.side / low**0.5)))
        low = high
    return shapes


def fixed(model: Recognizer, framework: str) -> tuple[Recognizer, Sequence[FixedShapes]]:
    """The model with fixed shapes, and the list of what must be warmed; NumPy's model as it is."""
    if framework == "numpy" or model.spec.task == "characters":
        return model, ()
    shaped = FixedShapes(model)
    return cast(Recognizer, shaped), (shaped,)
