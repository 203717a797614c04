"""Pages whose lines are rows of bars, and models that read them: the text of a line is the number of its bars.

The first bar of a line is tall and the last one is short. Upside down it is the reverse, and the model then reads with
less confidence. Nine bars represent what is no writing: the model reads them with little confidence both ways.

Only the models are replaced: pages are opened, cut, normalised, read in batches and written by the code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.batch import LineBatch, to_float
from common.charset import Charset
from common.reading import finding, lines, page
from common.reading.lines import LineReading
from common.reading.ngram import NgramCounts, Prior, save_prior
from common.recognizer import load_implementation
from common.spec import LSTMCTCSpec, UNetSpec
from common.training import page_reader
from common.weights import Golden, WeightsFile, initial_weights, save_weights

BAR, GAP, ROW = 12, 18, 90  # width of a bar, between bars, from a line to the next; pixels
CHARSET = Charset(tuple("0123456789"))


def page_of(counts: Sequence[int], size: tuple[int, int] = (600, 700)) -> np.ndarray:
    """A light page of (width, height) pixels with a line for each number of bars."""
    picture_HW = np.full(size[::-1], 235, np.uint8)
    for i, count in enumerate(counts):
        for bar in range(count):
            top = 60 + ROW * i + (30 if bar == count - 1 else 0)
            left = 40 + bar * (BAR + GAP)
            picture_HW[top : 110 + ROW * i, left : left + BAR] = 30
    return picture_HW


def find(_: object, picture_HW: np.ndarray) -> list[finding.FoundLine]:
    """The lines of such a page: its bands of rows with ink."""
    dark_HW = picture_HW < 128
    edges = np.diff(dark_HW.any(axis=1).astype(int), prepend=0, append=0)
    found = []
    for top, bottom in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        columns = np.flatnonzero(dark_HW[top:bottom].any(axis=0))
        left, right = float(columns[0]), float(columns[-1])
        outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
        baseline = np.array([(left, bottom), (right, bottom)], np.float64)
        found.append(finding.FoundLine(baseline=baseline, outline=outline, score=1.0))
    return found


def read(_: object, __: Charset, batch: LineBatch, ___: object = None) -> list[LineReading]:
    """The number of bars of each line."""
    return [_read(image[:, :width, 0]) for image, width in zip(batch.images_BHW1, batch.widths_B, strict=True)]


def _read(line_HW: np.ndarray) -> LineReading:
    ink_W = line_HW.sum(axis=0) > 0.2 * line_HW.sum(axis=0).max()
    starts = np.flatnonzero(np.diff(ink_W.astype(int), prepend=0) == 1)
    text = str(len(starts))
    ends = np.flatnonzero(np.diff(ink_W.astype(int), append=0) == -1)
    first, last = (line_HW[:, a : b + 1].sum() for a, b in ((starts[0], ends[0]), (starts[-1], ends[-1])))
    confidence = 0.3 if len(starts) == 9 else 0.95 if first >= last else 0.6
    return LineReading(text=text, confidence=confidence, character_confidences=(confidence,) * len(text))


def models(folder: Path) -> None:
    """Write a finder, a reader and a character language model; their weights are random."""
    spec = LSTMCTCSpec(num_classes=11, height=16, stem_channels=(4,), stem_strides=(2,), frame_dim=4, hidden_dim=4)
    rng = np.random.default_rng(0)
    golden = {"widths_G": np.array([24, 20], np.int32), "labels_GL": np.array([[1, 2], [3, 0]], np.int32)}
    _save(folder / "reader.safetensors", spec, CHARSET, rng.integers(0, 256, (2, 16, 24), np.uint8), golden)
    sizes = {"sizes_G2": np.array([[20, 30]], np.int32)}
    images = np.pad(rng.integers(0, 256, (1, 20, 30), np.uint8), ((0, 0), (0, 12), (0, 2)))
    _save(folder / "finder.safetensors", UNetSpec(side=64, channels=(2, 2)), Charset(()), images, sizes)
    counts = NgramCounts.of([CHARSET.encode("12")], 11)
    save_prior(folder / "prior.safetensors", Prior(counts=counts, weight=0.1, length_bonus=0.0), CHARSET)


def _save(path: Path, spec: Any, charset: Charset, images_GHW: np.ndarray, golden: dict[str, np.ndarray]) -> None:
    weights = initial_weights(spec, 0)
    recognizer = load_implementation("numpy")(spec)
    recognizer.load_weights(weights)
    logits = recognizer.logits(to_float(images_GHW), *golden.values())
    example = Golden(images_GHW=images_GHW, logits=logits, **golden)  # type: ignore[arg-type]
    provenance = {"framework": "numpy"}
    content = WeightsFile(spec=spec, charset=charset, weights=weights, golden=example, provenance=provenance)
    save_weights(path, content)


def ship(folder: Path, patched: pytest.MonkeyPatch) -> None:
    """Replace the reader that ships by one that reads bars."""
    models(folder)
    patched.setattr(page_reader, "FINDER", folder / "finder.safetensors")
    patched.setattr(page_reader, "READER", folder / "reader.safetensors")
    patched.setattr(finding, "find_lines", find)
    patched.setattr(lines, "read_batch", read)
    patched.setattr(page, "read_batch", read)
