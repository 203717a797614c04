"""Make the files of the reader that ships from two run folders: `python -m common.reading.ship FINDER_RUN READER_RUN`.

The kernels are rounded to float16. The golden examples are computed anew with the rounded weights, by NumPy. The
shortcut head, which only training uses, is left out, and so is what only concerns the machine that trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from common.errors import UserError
from common.metrics import log_softmax
from common.reading.decoding import ctc_greedy
from common.reading.ngram import load_prior, save_prior
from common.reading.shipped import FINDER, MODELS, PRIOR, READER
from common.recognizer import load_implementation
from common.spec import LSTMCTCSpec
from common.weights import WeightsFile, load_weights, rounded, save_weights

LARGEST = 12_000_000
"""Bytes of the three files together, at most."""
MOST_FLIPPED = 0.002
"""Share of the golden pixels whose score may change its side, at most."""
_KEPT = ("framework", "epoch", "train", "versions", "validation_cer", "validation_wer", "validation_iou")


@dataclass(frozen=True)
class Shipped:
    """The result of `ship`."""

    bytes_of: dict[str, int]
    """Size of each file."""
    finder_change: float
    """Largest change of a golden logit of the finder by rounding."""
    reader_change: float
    """The same of the reader."""


def ship(finder_run: Path, reader_run: Path, out: Path = MODELS) -> Shipped:
    """Write the three files.

    Args:
        finder_run: a run folder of `unet`.
        reader_run: a run folder of `lstm_ctc`, with its character language model.
        out: the folder to write to.

    Raises:
        UserError: a run of another rung, or without its language model; rounding changes a golden example's text or
            more than `MOST_FLIPPED` of its pixels; or the files are larger than `LARGEST`. Nothing is written then.
    """
    finder, reader = _content(finder_run, "unet"), _content(reader_run, "lstm_ctc")
    folder = reader_run if reader_run.is_dir() else reader_run.parent
    prior = load_prior(folder / "prior.safetensors", reader.charset)
    finder_half, finder_change = _rounded(finder)
    flipped = np.mean((finder_half.golden.logits > 0) != (finder.golden.logits > 0))
    if flipped > MOST_FLIPPED:
        raise UserError(
            f"float16 changes the side of {flipped:.2%} of the finder's golden scores, more than {MOST_FLIPPED:.2%}; "
            "ship another run"
        )
    reader_half, reader_change = _rounded(_without_shortcut(reader))
    before, after = (_texts(content) for content in (reader, reader_half))
    if before != after:
        raise UserError(f"float16 changes the reader's golden texts from {before} to {after}; ship another run")
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / path.name for path in (FINDER, READER, PRIOR)]
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        save_weights(parts[0], finder_half, half=True)
        save_weights(parts[1], reader_half, half=True)
        save_prior(parts[2], prior, reader.charset)
        sizes = {path.name: part.stat().st_size for path, part in zip(paths, parts, strict=True)}
        if sum(sizes.values()) > LARGEST:
            raise UserError(
                f"the files have {sum(sizes.values()):,} bytes, more than {LARGEST:,}; ship a smaller model"
            )
        for path, part in zip(paths, parts, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Shipped(bytes_of=sizes, finder_change=finder_change, reader_change=reader_change)


def _content(run: Path, rung: str) -> WeightsFile:
    content = load_weights(run / "weights.safetensors" if run.is_dir() else run)
    if content.spec.rung != rung:
        raise UserError(f"{run} is of {content.spec.rung}; expected {rung}: first the finder's run, then the reader's")
    return content


def _without_shortcut(content: WeightsFile) -> WeightsFile:
    spec = replace(cast(LSTMCTCSpec, content.spec), shortcut_weight=0.0)
    return replace(content, spec=spec, weights={name: content.weights[name] for name in spec.parameters()})


def _rounded(content: WeightsFile) -> tuple[WeightsFile, float]:
    """The content with rounded weights and their golden example, and the largest change of a golden logit."""
    weights = rounded(content.weights)
    recognizer = load_implementation("numpy")(content.spec)
    recognizer.load_weights(weights)
    logits = recognizer.logits(*content.golden.inputs)
    change = float(np.abs(logits - content.golden.logits).max())
    provenance = {name: content.provenance[name] for name in _KEPT if name in content.provenance}
    golden = replace(content.golden, logits=logits)
    return replace(content, weights=weights, golden=golden, provenance=provenance | {"kernels": "float16"}), change


def _texts(content: WeightsFile) -> list[str]:
    golden = content.golden
    assert golden.widths_G is not None, "a golden example of lines has widths"
    frames_G = cast(LSTMCTCSpec, content.spec).frames(golden.widths_G)
    return [content.charset.decode(line) for line in ctc_greedy(log_softmax(golden.logits), frames_G)[0]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit code is 2 for an error that the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m common.reading.ship", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("finder", type=Path, metavar="FINDER_RUN", help="run folder of unet")
    parser.add_argument("reader", type=Path, metavar="READER_RUN", help="run folder of lstm_ctc")
    parser.add_argument("--out", type=Path, default=MODELS, metavar="FOLDER", help="default: %(default)s")
    given = parser.parse_args(arguments)
    try:
        shipped = ship(given.finder, given.reader, given.out)
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    for name, size in shipped.bytes_of.items():
        sys.stdout.write(f"{name}: {size:,} bytes\n")
    sys.stdout.write(
        f"float16 changes the golden logits by at most {shipped.finder_change:.2g} (finder) and "
        f"{shipped.reader_change:.2g} (reader); their texts and {1 - MOST_FLIPPED:.1%} of the pixels stay the same\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
